"""The owner of a lock or of a trial: a process, named so that others can tell whether it still runs.

Notable:
- On Linux a process is the same one if boot, PID namespace, number and start ticks are the same. Host names and clocks
  do not count: containers share the one and change the other.
- Owners that an earlier version recorded, and those of other systems, are judged by host name and start time.
"""

import os
import socket
from functools import cache
from pathlib import Path
from typing import Annotated, TypedDict

import msgspec
import psutil

from ..io.console import printable_values
from ..io.formats import read_json

MOST_BYTES = 2**16


class Owner(TypedDict, total=False):
    """A process, and when it took the lock."""

    pid: Annotated[int, msgspec.Meta(gt=0, lt=2**31)]
    host: str
    process_started: Annotated[float, msgspec.Meta(ge=0, lt=1e12)]
    boot: str
    pid_namespace: int
    start_ticks: int
    locked: str
    os_lock: bool  # whether it also holds the lock of the operating system


def _start_ticks(pid: int) -> int | None:
    """When a process started, in ticks since the boot; None where the system does not say."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(stat.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


@cache
def _machine() -> dict[str, object]:
    """Boot and PID namespace of this process; empty on other systems than Linux."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return {"boot": boot, "pid_namespace": os.stat("/proc/self/ns/pid").st_ino}
    except OSError:
        return {}


def this_process() -> Owner:
    """Identity of this process."""
    pid = os.getpid()
    found: Owner = {"pid": pid, "host": socket.gethostname(), "process_started": psutil.Process().create_time()}
    ticks = _start_ticks(pid)
    return found if ticks is None or not _machine() else found | _machine() | {"start_ticks": ticks}


def is_this_process(owner: Owner) -> bool:
    """Whether the owner is this process; the clock may have been set since it was recorded."""
    return all(owner.get(name) == value for name, value in this_process().items() if name != "process_started")


def read_owner(path: Path) -> Owner | None:
    """The owner in a lock file; empty if it cannot be read; None without a lock."""
    if not path.exists() and not path.is_symlink():
        return None
    try:
        return printable_values(read_json(path, "", Owner, most_bytes=MOST_BYTES))
    except ValueError:
        return {} if path.exists() or path.is_symlink() else None


def is_same_boot(owner: Owner) -> bool:
    """Whether the owner is a process of this machine, since it was started last."""
    if "boot" in owner and _machine():
        return owner["boot"] == _machine()["boot"]
    return owner.get("host") == socket.gethostname()


def is_gone(owner: Owner) -> bool:
    """Whether the owner was a process that this one could see, and has ended; others cannot be checked."""
    pid = owner.get("pid")
    if pid is None:
        return False
    if "boot" in owner and _machine():
        if any(owner.get(name) != value for name, value in _machine().items()):
            return False
        ticks = _start_ticks(pid)
        return not psutil.pid_exists(pid) or (ticks is not None and ticks != owner.get("start_ticks"))
    if owner.get("host") != socket.gethostname():
        return False
    try:
        started = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False
    return abs(started - owner.get("process_started", started)) > 1.0  # the number belongs to another process now
