"""Compares the tensors of a model folder with those that its configuration describes, before loading.

transformers fills a missing tensor with random numbers, skips an unexpected one, and ties `lm_head` to `shared` where
one of them is missing. Such a model trains without an error, from a loss far above that of its weights.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoConfig, AutoModelForSeq2SeqLM, PreTrainedModel
from transformers.conversion_mapping import get_checkpoint_conversion_mapping

from ft_core.checkpoints.weights import list_names
from ft_core.hub.resolve import CONFIG, WEIGHTS, WEIGHTS_INDEX
from ft_core.io.formats import read_json

Shape = tuple[int, ...]


class WeightsIndex(TypedDict):
    """The content of an index of weights in several files."""

    weight_map: dict[str, str]


class Misfit(ValueError):
    """Weights that do not fit their configuration."""


PREFIXES = ("module.", "model.", "_orig_mod.", "base_model.model.")  # of DataParallel, a wrapper, torch.compile, peft
LAYERS = ("num_layers", "num_decoder_layers", "encoder_layers", "decoder_layers")
SAVE_AGAIN = "save the complete model again with save_pretrained, or correct config.json"


def _weight_files(folder: Path) -> list[Path]:
    """The files that transformers loads: the one file, or those of the index."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / WEIGHTS_INDEX).is_file():
        return sorted(folder.glob("model*.safetensors"))
    index = read_json(folder / WEIGHTS_INDEX, "download the model again", WeightsIndex)
    return [folder / name for name in sorted(set(index["weight_map"].values()))]


def tensors_in(paths: Iterable[Path]) -> dict[str, Shape]:
    """Names and shapes of the tensors in safetensors files, from their headers."""
    found: dict[str, Shape] = {}
    for path in paths:
        with safe_open(path, framework="pt") as file:
            found |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return found


def describe_misfit(missing: Sequence[str], unexpected: Sequence[str], reshaped: Sequence[str] = ()) -> str:
    """Counts and first names of the tensors that do not fit; empty if all fit."""
    kinds = (("missing tensors", missing), ("unexpected tensors", unexpected), ("tensors of another shape", reshaped))
    return "; ".join(f"{kind}: {len(names):,} ({list_names(names)})" for kind, names in kinds if names)


def common_prefix(names: Sequence[str]) -> str:
    """The prefix of wrappers, such as `module.`, that all names have."""
    prefix = ""
    while one := next((part for part in PREFIXES if all(name.startswith(prefix + part) for name in names)), None):
        prefix += one
    return prefix


def _check_layers(folder: Path, config: object, tensors: int) -> None:
    """Raises Misfit for more layers than tensors, before a model of a million layers is built."""
    for name in LAYERS:
        value = getattr(config, name, None)
        if isinstance(value, int) and value > tensors:
            raise Misfit(
                f"{folder / CONFIG} has {name}={value:,}, but the weights have {tensors:,} tensors; {SAVE_AGAIN}"
            )


def _ties_output(folder: Path) -> bool:
    """Whether config.json ties the output layer to the embeddings; transformers' MT5Config ignores a `false`."""
    values = read_json(folder / CONFIG, "restore it or download the model again", dict)
    return values.get("tie_word_embeddings") is not False


def _groups(model: PreTrainedModel, ties_output: bool) -> dict[str, set[str]]:
    """For each tied name the names that share its weight."""
    groups: dict[str, set[str]] = {}
    for target, source in model.all_tied_weights_keys.items():
        if target.startswith("lm_head.") and not ties_output:
            continue
        groups.setdefault(source, {source}).add(target)
    return {name: names for names in groups.values() for name in names}


def _ignored(name: str, patterns: object) -> bool:
    return any(re.search(pattern, name) for pattern in patterns or ())


def _misfit(model: PreTrainedModel, found: Mapping[str, Shape], ties_output: bool) -> str:
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    groups = _groups(model, ties_output)
    missing = [
        name
        for name in expected
        if not groups.get(name, {name}) & found.keys() and not _ignored(name, model._keys_to_ignore_on_load_missing)
    ]
    unexpected = [
        name for name in found if name not in expected and not _ignored(name, model._keys_to_ignore_on_load_unexpected)
    ]
    reshaped = [
        f"{name} {list(found[name])} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    return describe_misfit(missing, unexpected, reshaped)


def _of_base_model(model: PreTrainedModel, found: Mapping[str, Shape]) -> dict[str, Shape]:
    """The names as transformers reads those of a model without its head."""
    prefix = f"{model.base_model_prefix}."
    if not hasattr(model, model.base_model_prefix) or any(name.startswith(prefix) for name in found):
        return dict(found)
    return {prefix + name: shape for name, shape in found.items()}


def check_weights(folder: Path) -> str:
    """Compares a folder's tensors with its configuration, without loading them.

    Args:
        folder (`Path`): folder of an encoder-decoder model in safetensors format.

    Returns:
        `str`: the prefix, such as `module.`, to remove from the names; empty if there is none.

    Raises:
        Misfit: tensors are missing, unexpected or of another shape; the message names the first ones.
    """
    found = tensors_in(_weight_files(folder))
    if not found:
        return ""
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if get_checkpoint_conversion_mapping(config.model_type) is not None:
        return ""  # transformers renames the tensors of this architecture while loading
    _check_layers(folder, config, len(found))
    with torch.device("meta"):
        model = AutoModelForSeq2SeqLM.from_config(config, trust_remote_code=False)
    ties_output = _ties_output(folder)
    misfit = _misfit(model, found, ties_output)
    if not misfit or not _misfit(model, _of_base_model(model, found), ties_output):
        return ""
    prefix = common_prefix(list(found))
    if prefix:
        bare = {name.removeprefix(prefix): shape for name, shape in found.items()}
        misfit = _misfit(model, bare, ties_output)
        if not misfit:
            return prefix
        misfit = f"without the common prefix {prefix!r}, {misfit}"
    raise Misfit(f"the weights in {folder} do not fit its config.json: {misfit}; {SAVE_AGAIN}")


def check_adapter_weights(folder: Path, file: str, expected: Mapping[str, Tensor], model: PreTrainedModel) -> None:
    """Compares the tensors of an adapter file with those of the adapted model.

    Args:
        folder (`Path`): folder of adapters.
        file (`str`): name of the file with their weights.
        expected: the adapters' tensors, by their names in the file.
        model: the adapted model; tensors of the base model may be in the file too.

    Raises:
        Misfit: tensors are missing or unexpected; the message names the first ones.
    """
    found = tensors_in([folder / file])
    known = expected.keys() | model.state_dict().keys()
    misfit = describe_misfit([name for name in expected if name not in found], [n for n in found if n not in known])
    if misfit:
        raise Misfit(
            f"the adapters in {folder} do not fit their adapter_config.json: {misfit}; save them again with "
            "save_pretrained, or correct the configuration"
        )
