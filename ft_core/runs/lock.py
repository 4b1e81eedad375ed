"""One run per folder: a lock of the operating system, beside a file that names its owner.

Notable:
- `.lock.held` is locked by the operating system until its process ends, however it ends. A lock that can be taken is
  free: no host name, process number or clock decides.
- `.lock` names the owner for messages. It also keeps out earlier versions, which know this file alone.
- File systems without such locks, or whose locks may not reach other machines, are left to the owner's identity.
"""

import contextlib
import errno
import json
import logging
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from filelock import FileLock, Timeout

from ..io.files import write_text
from .folder import HELD_FILE, LOCK_FILE, check_writable
from .owner import Owner, is_gone, is_same_boot, is_this_process, read_owner, this_process

if TYPE_CHECKING:
    from accelerate import PartialState

logger = logging.getLogger(__name__)

WAIT = 0.5  # seconds; a report that asks whether a run is alive has the lock for a moment
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)
LOCAL = (
    "ext2",
    "ext3",
    "ext4",
    "xfs",
    "btrfs",
    "zfs",
    "f2fs",
    "tmpfs",
    "overlay",
    "apfs",
    "hfs",
    "ntfs",
    "ntfs3",
    "vfat",
)

_held: set[Path] = set()


def _os_lock(run: Path, wait: float) -> FileLock | None:
    """The lock of the operating system on a folder, taken; None on a file system without such locks.

    Raises:
        Timeout: another process has it.
    """
    lock = FileLock(run / HELD_FILE, timeout=wait, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire(poll_interval=0.05)
    except Timeout:
        raise
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return None
    return lock


def _reaches_other_machines(run: Path) -> bool:
    """Whether the file system shares its locks with other machines, or is a local disk."""
    place = run.resolve()
    with contextlib.suppress(OSError, psutil.Error):
        mounts = [one for one in psutil.disk_partitions(all=True) if place.is_relative_to(one.mountpoint)]
        found = max(mounts, key=lambda one: len(one.mountpoint))
        is_nfs = found.fstype.startswith("nfs") and "local_lock=none" in found.opts
        return is_nfs or found.fstype.lower() in LOCAL
    return False


def _is_abandoned(run: Path, owner: Owner, can_be_taken: bool) -> bool:
    """Whether the owner that a lock names has ended, as far as this process can tell."""
    if owner.get("os_lock") and can_be_taken:
        return is_same_boot(owner) or _reaches_other_machines(run)
    return is_gone(owner)


def is_held(run: Path) -> bool:
    """Whether a process uses the folder, or a process that cannot be checked might use it."""
    if run.resolve() in _held:
        return True
    owner = read_owner(run / LOCK_FILE)
    if owner is None:
        return False
    lock = None
    if owner.get("os_lock") and (run / HELD_FILE).is_file():
        try:
            lock = _os_lock(run, 0)
        except Timeout:
            return True
        except OSError:  # may not be written here
            return not is_gone(owner)
    try:
        return not _is_abandoned(run, owner, lock is not None or not (run / HELD_FILE).is_file())
    finally:
        if lock is not None:
            lock.release()


def _name(owner: Owner | None) -> str:
    known = owner or {}
    return f"process {known.get('pid', '?')} on {known.get('host', 'an unknown host')}"


def _in_use(run: Path, owner: Owner | None, is_certain: bool) -> ValueError:
    since = (owner or {}).get("locked", "an unknown time")
    remedy = (
        "wait until it ends, stop it, or choose another folder"
        if is_certain
        else "whether it still runs cannot be checked from here"
    )
    return ValueError(
        f"{run} is in use by {_name(owner)} since {since}; {remedy}; if it does not train in this folder, pass "
        "--overwrite_lock"
    )


def _take_os_lock(run: Path, overwrite_lock: bool) -> FileLock | None:
    try:
        return _os_lock(run, WAIT)
    except Timeout:
        if not overwrite_lock:
            raise _in_use(run, read_owner(run / LOCK_FILE), is_certain=True) from None
    (run / HELD_FILE).unlink(missing_ok=True)  # its owner keeps the lock of a file without a name
    return _os_lock(run, WAIT)


def _settle_owner(run: Path, overwrite_lock: bool, can_be_taken: bool) -> None:
    """Removes the name of an owner that has ended or is to be overwritten.

    Raises:
        ValueError: it uses the folder, or cannot be checked and might use it.
    """
    path = run / LOCK_FILE
    owner = read_owner(path)
    if owner is None:
        return
    if overwrite_lock:
        logger.warning(f"overwriting the lock of {_name(owner)} on {run}")
    elif _is_abandoned(run, owner, can_be_taken):
        logger.warning(f"{_name(owner)} has ended: its lock on {run} is removed")
    else:
        raise _in_use(run, owner, is_certain=is_same_boot(owner))
    _take_away(path, owner)


def _take_away(path: Path, owner: Owner) -> None:
    """Removes the lock that was judged, but not one that another process has set in the meantime."""
    aside = path.with_name(f"{LOCK_FILE}.{os.getpid()}.stale")
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
        if read_owner(aside) != owner:
            os.link(aside, path)
        aside.unlink()


def _write_owner(run: Path, has_os_lock: bool) -> None:
    """Names this process as the owner.

    Raises:
        ValueError: another process did so first.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    text = json.dumps(this_process() | {"locked": now, "os_lock": has_os_lock}) + "\n"
    mine = run / f"{LOCK_FILE}.{os.getpid()}"
    try:
        write_text(mine, text)
        os.link(mine, run / LOCK_FILE)  # atomic: complete when it appears, and only if there is no lock
    except FileExistsError:
        raise _in_use(run, read_owner(run / LOCK_FILE), is_certain=True) from None
    except OSError:  # a file system without links
        try:
            with open(run / LOCK_FILE, "x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            raise _in_use(run, read_owner(run / LOCK_FILE), is_certain=True) from None
    finally:
        mine.unlink(missing_ok=True)


def _acquire(run: Path, overwrite_lock: bool) -> FileLock | None:
    check_writable(run)
    run.mkdir(parents=True, exist_ok=True)
    lock = _take_os_lock(run, overwrite_lock)
    try:
        _settle_owner(run, overwrite_lock, lock is not None)
        _write_owner(run, lock is not None)
    except BaseException:
        _drop(run, lock)
        raise
    return lock


def _drop(run: Path, lock: FileLock | None) -> None:
    if lock is None:
        return
    if os.name != "nt":  # while it is held: whoever waits for it notices that the file has lost its name
        (run / HELD_FILE).unlink(missing_ok=True)
    lock.release()
    if os.name == "nt":
        with contextlib.suppress(OSError):
            (run / HELD_FILE).unlink(missing_ok=True)


def _release(run: Path, lock: FileLock | None) -> None:
    if is_this_process(read_owner(run / LOCK_FILE) or {}):
        (run / LOCK_FILE).unlink(missing_ok=True)
        _drop(run, lock)
    elif lock is not None:  # another process has overwritten the lock
        lock.release()


LAUNCHED = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")  # set by torchrun and MPI


def launched_processes() -> int:
    """Processes that the launcher has started; 1 without a launcher."""
    return max(int(os.environ.get(name) or 1) for name in LAUNCHED)


def _launch_state() -> "PartialState | None":
    """The process group of this launch; None for a single process that has not imported accelerate (with torch)."""
    if "accelerate" not in sys.modules and launched_processes() == 1:
        return None
    from accelerate import PartialState

    return PartialState()


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
    state = _launch_state()
    made = [folder for folder in (run, *run.parents) if not folder.exists()]
    problem, lock = [None], None
    if state is None or state.is_main_process:
        try:
            lock = _acquire(run, overwrite_lock)
        except ValueError as error:
            problem = [str(error)]
        except OSError as error:
            problem = [f"output_dir={run} cannot be written ({error.strerror or error}); choose another folder"]
    if state is not None and state.num_processes > 1:
        from accelerate.utils import broadcast_object_list

        problem = broadcast_object_list(problem)
    if problem[0] is not None:
        raise ValueError(problem[0])
    _held.add(key)
    try:
        yield
    finally:
        _held.discard(key)
        if state is None or state.is_main_process:
            _release(run, lock)
            for folder in made:
                if not folder.is_dir() or any(folder.iterdir()):
                    break
                folder.rmdir()
