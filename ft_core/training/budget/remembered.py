"""Measurements of this machine, kept in the user's cache folder, so that a second dry run measures nothing.

A measurement is found again for the same machine (processor, threads, device, version of torch) and the same shape of a
run (model, batch, lengths, precision, optimizer). The file may be deleted at any time.
"""

import contextlib
import hashlib
import json
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict
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

Found = TypeVar("Found")


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
        kind: dataclass of numbers that are not negative.
        shape (`Mapping`): all that decides the numbers besides the machine.
        device: that the run uses.
        measure: measures.
    """
    facts = plain({"kind": kind.__name__, "machine": machine(device), "shape": dict(shape)})
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    path = own_cache() / FILE
    # one process decides: the others may have another cache, and measuring is a work of all of them
    (found,) = broadcast_object_list([_values_of(_read(path).get(key), kind)])
    if found is not None:
        return found
    (found,) = broadcast_object_list([measure()])
    if is_main_process():
        entries = {**_read(path), key: {**facts, "seconds": asdict(found)}}  # read again: another run may have written
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, dict(list(entries.items())[-MOST_ENTRIES:]))
    return found
