"""One run per folder: a lock that names its owner, so that a stale lock is detected."""

import contextlib
import json
import logging
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from ..io.files import write_text
from .folder import LOCK_FILE, check_writable, remove_leftovers

logger = logging.getLogger(__name__)

_held: set[Path] = set()


def this_process() -> dict[str, object]:
    """Identity of this process (host, PID, start time), with which others can check whether it still runs."""
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "process_started": psutil.Process().create_time(),
    }


def _owner() -> dict[str, object]:
    return this_process() | {"locked": datetime.now(UTC).isoformat(timespec="seconds")}


def _read(path: Path) -> dict | None:
    """The owner in a lock file; empty if it cannot be read; None without a lock."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def is_gone(owner: dict) -> bool:
    """Whether the owner was a process of this host that has ended; processes of other hosts cannot be checked."""
    if owner.get("host") != socket.gethostname() or not isinstance(owner.get("pid"), int):
        return False
    try:
        started = psutil.Process(owner["pid"]).create_time()
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False
    return abs(started - owner.get("process_started", started)) > 1.0  # the number belongs to another process now


def is_held(run: Path) -> bool:
    """Whether a process uses the folder, or a process of another host might use it."""
    owner = _read(run / LOCK_FILE)
    return owner is not None and not is_gone(owner)


def check_unlocked(run: Path, overwrite_lock: bool) -> None:
    """Removes a lock that is stale or to be overwritten.

    Raises:
        ValueError: another process uses the folder, or a process that cannot be checked might use it.
    """
    path = run / LOCK_FILE
    owner = _read(path)
    if owner is None:
        return
    name = f"process {owner.get('pid', '?')} on {owner.get('host', 'an unknown host')}"
    if overwrite_lock:
        logger.warning(f"overwriting the lock of {name} on {run}")
    elif is_gone(owner):
        logger.warning(f"{name} has ended: its lock on {run} is removed")
    else:
        here = owner.get("host") == socket.gethostname()
        raise ValueError(
            f"{run} is in use by {name} since {owner.get('locked', 'an unknown time')}; "
            + (
                "wait until it ends, stop it, or choose another folder"
                if here
                else "whether it still runs cannot be checked from here"
            )
            + "; if it does not train in this folder, pass --overwrite_lock"
        )
    _take_away(path, owner)


def _take_away(path: Path, owner: dict) -> None:
    """Removes the lock that was judged, but not one that another process has set in the meantime."""
    aside = path.with_name(f"{LOCK_FILE}.{os.getpid()}.stale")
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
        if _read(aside) != owner:
            os.link(aside, path)
        aside.unlink()


def _acquire(run: Path, overwrite_lock: bool) -> None:
    check_writable(run)
    check_unlocked(run, overwrite_lock)
    run.mkdir(parents=True, exist_ok=True)
    mine = run / f"{LOCK_FILE}.{os.getpid()}"
    try:
        write_text(mine, json.dumps(_owner()) + "\n")
        os.link(mine, run / LOCK_FILE)  # atomic: complete when it appears, and only if there is no lock
    except FileExistsError:
        check_unlocked(run, False)
        raise ValueError(f"{run} was just locked by another process; choose another folder") from None
    except OSError:  # a file system without links
        try:
            with open(run / LOCK_FILE, "x", encoding="utf-8") as file:
                file.write(json.dumps(_owner()) + "\n")
        except FileExistsError:
            raise ValueError(f"{run} was just locked by another process; choose another folder") from None
    finally:
        mine.unlink(missing_ok=True)
    remove_leftovers(run)


@contextlib.contextmanager
def run_lock(run: Path, overwrite_lock: bool = False) -> Iterator[None]:
    """Holds the folder of a run for all ranks together, for as long as the context lasts; may be nested.

    The main process holds the lock and all ranks learn whether it could. Folders made for it go again when nothing
    was written.

    Raises:
        ValueError: on every rank, when another process holds it or it cannot be written.
    """
    key = run.resolve()
    if key in _held:
        yield
        return
    state = PartialState()
    made = [folder for folder in (run, *run.parents) if not folder.exists()]
    problem = [None]
    if state.is_main_process:
        try:
            _acquire(run, overwrite_lock)
        except ValueError as error:
            problem = [str(error)]
        except OSError as error:
            problem = [f"output_dir={run} cannot be written ({error.strerror or error}); choose another folder"]
    if state.num_processes > 1:
        problem = broadcast_object_list(problem)
    if problem[0] is not None:
        raise ValueError(problem[0])
    _held.add(key)
    try:
        yield
    finally:
        _held.discard(key)
        if state.is_main_process:
            if (_read(run / LOCK_FILE) or {}).get("pid") == os.getpid():  # not another's, who has overwritten it
                (run / LOCK_FILE).unlink(missing_ok=True)
            for folder in made:
                if not folder.is_dir() or any(folder.iterdir()):
                    break
                folder.rmdir()
