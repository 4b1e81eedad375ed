"""Measurements of this machine, kept in the user's cache folder, so that a second dry run measures nothing.

A measurement is found again for the same machine (processor, threads, device, version of torch) and the same shape of a
run (model, batch, lengths, precision, optimizer), unless other programs disturbed it and do so no longer. The file may
be deleted at any time.
"""

import contextlib
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import torch
from accelerate.utils import broadcast_object_list
from transformers import PreTrainedConfig

from ...io.cache_folder import own_cache
from ...io.console import is_main_process
from ...io.files import plain, write_json
from ...io.formats import convert, is_number, read_json

FILE = "measured_steps.json"
MOST_ENTRIES = 500
CPU_FACTS = Path("/proc/cpuinfo")

BUSY = 1.25  # programs that wanted a core, for each core, above which they disturbed a measurement
_again: ContextVar[bool] = ContextVar("measured again", default=False)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What all measurements say of themselves.

    Attributes:
        at (`float`): when it was made, in seconds since 1970; 0 if that is not known.
        load (`float`): programs that wanted a core then, for each core of the machine; 0 if that is not known.
    """

    at: float = 0.0
    load: float = 0.0

    @property
    def is_disturbed(self) -> bool:
        """Whether other programs used the cores too."""
        return self.load > BUSY

    def circumstances(self) -> str:
        """When it was made and, if that mattered, how busy the machine was; empty if it is not known."""
        if not self.at:
            return ""
        when = f"{datetime.fromtimestamp(self.at, UTC):%Y-%m-%d %H:%M} UTC"
        busy = f" with {self.load:.1f} programs waiting for each core" if self.is_disturbed else ""
        return f"measured {when}{busy}"


UNKNOWN = Measurement()
Found = TypeVar("Found", bound=Measurement)


def load_of_cores() -> float:
    """Programs that wanted a core in the last minute, for each core; 0 where the system does not tell."""
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except (AttributeError, OSError):  # Windows
        return 0.0


@contextmanager
def measuring_again() -> Iterator[None]:
    """Inside of it nothing is remembered: measurements are made again, and replace the kept ones."""
    token = _again.set(True)
    try:
        yield
    finally:
        _again.reset(token)


def _is_usable(found: Measurement | None) -> bool:
    """Whether a kept measurement is taken: not while all are made again, nor if it can now be made undisturbed."""
    if found is None or not found.at or _again.get():
        return False
    return not found.is_disturbed or load_of_cores() > BUSY


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in CPU_FACTS.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine(device: torch.device) -> dict[str, object]:
    """What of this machine decides how long a step takes."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "memory": torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None,
        "torch": torch.__version__,
    }


def architecture(config: PreTrainedConfig) -> dict[str, object]:
    """The configuration of a model without the folder that it was read from."""
    return {name: value for name, value in config.to_dict().items() if name != "_name_or_path"}


def _read(path: Path) -> dict[str, dict]:
    try:
        return read_json(path, "remove it", dict[str, dict])
    except ValueError:  # absent, or damaged: measured again
        return {}


def _values_of(entry: Mapping[str, object] | None, kind: type[Found]) -> Found | None:
    values = (entry or {}).get("seconds")
    if not isinstance(values, dict) or not all(is_number(one) and one >= 0 for one in values.values()):
        return None
    try:
        return convert(values, kind)
    except ValueError:
        return None


def remembered(
    kind: type[Found], shape: Mapping[str, object], device: torch.device, measure: Callable[[], Found]
) -> Found:
    """What was measured before for this machine and shape, or else what `measure` finds now, which is kept.

    A cache file that cannot be read or written is not an error. All processes get the values of the first one.

    Args:
        kind: subclass of [`Measurement`] whose values are numbers that are not negative.
        shape (`Mapping`): all that decides the numbers besides the machine.
        device: that the run uses.
        measure: measures.
    """
    facts = plain({"kind": kind.__name__, "machine": machine(device), "shape": dict(shape)})
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    path = own_cache() / FILE
    # one process decides: the others may have another cache, and measuring is a work of all of them
    kept = _values_of(_read(path).get(key), kind)
    (found,) = broadcast_object_list([kept if _is_usable(kept) else None])
    if found is not None:
        return found
    load = load_of_cores()
    (found,) = broadcast_object_list([replace(measure(), at=round(time.time()), load=round(load, 2))])
    if is_main_process():
        entries = {**_read(path), key: {**facts, "seconds": asdict(found)}}  # read again: another run may have written
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, dict(list(entries.items())[-MOST_ENTRIES:]))
    return found
