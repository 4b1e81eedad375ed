"""Integrity of weights: of a model folder's files, from their headers, and of the numbers of a loaded model.

Imports nothing heavy.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import msgspec

from ..io.formats import convert, parse_json, read_json
from ..io.pickles import is_pickle

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = re.compile(r"(model|adapter_model)(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?")
NOT_WEIGHTS = ("training_args.bin", "optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state")
BUFFERS = (".inv_freq", ".basis", ".group_basis")  # saved beside the parameters, never trained
MOST_HEADER = 100_000_000  # bytes; the limit of safetensors itself
CONFIGS = ("config.json", "adapter_config.json")
NAMES_SHOWN = 3


class _Tensor(TypedDict):
    shape: list[Annotated[int, msgspec.Meta(ge=0, lt=2**53)]]
    data_offsets: tuple[int, int]


class _Index(TypedDict):
    weight_map: dict[str, str]


def _tensors(path: Path) -> tuple[dict[str, _Tensor], int] | None:
    """Entries of a safetensors file's header and where its data begins, or None for a file without such a header."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MOST_HEADER or 8 + length > size:
            return None
        try:
            header = parse_json(file.read(length), dict)
            header.pop("__metadata__", None)
            return convert(header, dict[str, _Tensor]), 8 + length
        except ValueError:
            return None


def _is_complete(path: Path) -> bool:
    """Whether a safetensors file has all bytes that its header declares."""
    found = _tensors(path)
    if found is None:
        return False
    ends = [entry["data_offsets"][1] for entry in found[0].values()]
    return found[1] + max(ends, default=0) == path.stat().st_size


def count_parameters(folder: Path) -> int:
    """Parameters in a model folder's weights, from their headers alone; buffers do not count."""
    files = [path for path in folder.glob("*.safetensors") if WEIGHTS.fullmatch(path.name)]
    headers = [found[0] for path in files if (found := _tensors(path))]
    found = [(name, entry) for header in headers for name, entry in header.items()]
    return sum(math.prod(entry["shape"]) for name, entry in found if not name.endswith(BUFFERS))


def _parts(index: Path) -> set[str]:
    """Files that an index of weights in several parts names; one that cannot be read names none that is there."""
    try:
        return set(read_json(index, "", _Index)["weight_map"].values())
    except ValueError:
        return {"a part of the weights"}


def defect_of_weights(folder: Path) -> str | None:
    """Describes a defect of the weights of a model folder, or None."""
    weights = sorted(folder.glob("*.safetensors"))
    cut = [path.name for path in weights if not _is_complete(path)]
    if cut:
        return f"{cut[0]} is truncated or damaged"
    for index in sorted(folder.glob("*.safetensors.index.json")):
        missing = sorted(_parts(index) - {path.name for path in weights})
        if missing:
            return f"{missing[0]} is missing, although {index.name} lists it"
    if weights:
        return None
    pickles = sorted(
        path.name for path in folder.iterdir() if is_pickle(path) and not path.name.startswith(NOT_WEIGHTS)
    )
    if pickles:
        return f"it holds only pickled weights ({pickles[0]}), which are never loaded"
    return "it contains no *.safetensors file"


def holds_complete_model(folder: Path) -> bool:
    """Whether a folder contains a configuration and complete weights."""
    if not folder.is_dir() or not any((folder / name).is_file() for name in CONFIGS):
        return False
    return defect_of_weights(folder) is None


def list_names(names: Sequence[str]) -> str:
    """The first names of tensors, and how many more there are."""
    more = f" and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def check_finite(model: "nn.Module", source: str | Path) -> None:
    """Rejects weights with NaN or infinity; outputs may look normal, since e.g. a tokenizer's signs hide them.

    Args:
        model (`torch.nn.Module`): its floating-point parameters and saved buffers are checked; tied ones once.
        source (`str` or `Path`): names the model in the message.

    Raises:
        ValueError: names the first such tensors.
    """
    import torch

    tensors = {id(tensor): (name, tensor.detach()) for name, tensor in model.state_dict(keep_vars=True).items()}
    checked = [
        (name, tensor)
        for name, tensor in tensors.values()
        if tensor.is_floating_point() and tensor.numel() and not tensor.is_meta
    ]
    damaged = [name for name, tensor in checked if not torch.isfinite(torch.stack(tensor.aminmax())).all()]
    if damaged:
        raise ValueError(
            f"{source} has NaN or infinite numbers in {len(damaged):,} of {len(checked):,} tensors "
            f"({list_names(damaged)}); use an earlier checkpoint or download the model again"
        )
