"""Records what a predictor was trained with, next to its weights: its tokenizer, and the settings of its forecasts.

Two files:
- `trained_with.json` holds the tokenizer's name and hash, to detect a wrong tokenizer. A predictor reads token indices
  of its tokenizer. In another tokenizer with the same number of bits, these indices mean other candles, and the
  forecasts are meaningless without any error.
- `forecaster.json` holds what a forecast needs beside the weights: the tokenizer's name, the training window, and the
  sampling settings with the hash of the weights that they were calibrated for.

Imports nothing heavy.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypedDict

import msgspec

from ft_core.io.files import write_json
from ft_core.io.formats import read_json, read_record_file
from ft_core.runs.record_schema import recorded_group, versions

from .sizes import PUBLISHED_PREDICTORS, PUBLISHED_TOKENIZERS, TOKENIZER_OF_PUBLISHED, size_of

PAIRING_FILE, FORECASTER_FILE = "trained_with.json", "forecaster.json"
SAMPLING = {"T": 1.0, "top_p": 1.0, "top_k": 0}  # of path forecasts: the whole distribution of the model
VERSIONS = ("kronos-ft", "torch", "transformers")
MOST_BARS = 2**20


class ForecasterFile(TypedDict, total=False):
    """The fields of `forecaster.json`; each may be missing.

    `predictor_sha256` is the hash of the weights that `T`, `top_p` and `top_k` were calibrated for; None if they are
    the defaults. `calibrated_on` names the symbols that they were chosen on, each with the times (UTC) of the first and
    the last bar of the forecasts.
    """

    tokenizer: str | None
    lookback: Annotated[int, msgspec.Meta(ge=2, le=MOST_BARS)] | None
    horizon: Annotated[int, msgspec.Meta(ge=1, le=MOST_BARS)] | None
    T: Annotated[float, msgspec.Meta(ge=0, le=100)]
    top_p: Annotated[float, msgspec.Meta(gt=0, le=1)]
    top_k: Annotated[int, msgspec.Meta(ge=0, le=2**31)]
    predictor_sha256: str | None
    calibrated_on: dict[str, tuple[str, str]] | None
    versions: dict[str, str]


def write_pairing(
    folder: Path,
    model_facts: object,
    lookback: int | None = None,
    horizon: int | None = None,
    descends_from: object = None,
) -> None:
    """Writes both files into a predictor's folder; the tokenizer's name and hash only if the run recorded them.

    Args:
        folder (`Path`): holds the weights.
        model_facts: facts of the run on its model; a `dict` with `tokenizer` and `tokenizer_sha256`.
        lookback, horizon (`int`, *optional*): bars of a training window before and after its origin.
        descends_from (`str`, *optional*): repository of the published weights that the predictor descends from, kept
            beside the tokenizer's hash; an evaluation needs to know what these weights have seen.
    """
    facts = model_facts if isinstance(model_facts, dict) else {}
    if "tokenizer_sha256" in facts:
        kept = {"tokenizer": facts.get("tokenizer"), "tokenizer_sha256": facts["tokenizer_sha256"]}
        write_json(folder / PAIRING_FILE, kept | ({"descends_from": descends_from} if descends_from else {}))
    bars = {"lookback": lookback, "horizon": horizon or None}  # windows may have no bar to predict
    write_forecaster(folder, {"tokenizer": facts.get("tokenizer"), **bars})


def write_forecaster(folder: Path, changes: Mapping[str, object]) -> None:
    """Writes `forecaster.json` with changed fields; the others keep their values, or get their defaults.

    Args:
        folder (`Path`): holds the weights.
        changes (`Mapping`): fields of [`ForecasterFile`].

    Raises:
        ValueError: the present file cannot be read.
    """
    kept = {"tokenizer": None, "lookback": None, "horizon": None, **SAMPLING, "predictor_sha256": None}
    kept |= {**read_forecaster(folder), **changes}
    write_json(folder / FORECASTER_FILE, {**kept, "versions": {name: versions()[name] for name in VERSIONS}})


def read_forecaster(folder: Path) -> dict:
    """The content of `forecaster.json`; empty for a folder without one.

    Raises:
        ValueError: not JSON, or a field of the wrong type or out of range.
    """
    path = folder / FORECASTER_FILE
    return read_record_file(path, "restore or remove the file", ForecasterFile) if path.is_file() else {}


def trained_with(folder: Path) -> dict:
    """The recorded name and SHA-256 of a predictor's tokenizer, or an empty dict.

    Folders of earlier versions lack the file; their run record contains the same facts.
    """
    try:
        known = read_json(folder / PAIRING_FILE, "remove it", dict)
    except ValueError:
        known = None
    known = known or recorded_group(folder.parent, "model")
    return known if isinstance(known, dict) and isinstance(known.get("tokenizer_sha256"), str) else {}


def mismatch(model: str, tokenizer: str, tokenizer_sha256: str) -> str | None:
    """A warning if a predictor is known to be trained with another tokenizer, else None.

    Args:
        model (`str`): folder, Hub name or published size of the predictor.
        tokenizer (`str`): folder, Hub name or published size of the tokenizer.
        tokenizer_sha256 (`str`): hash of the tokenizer's weights, see `weights_hash`.
    """
    known = trained_with(Path(model))
    if known and known["tokenizer_sha256"] != tokenizer_sha256:
        theirs = f"{known.get('tokenizer') or 'another one'} (weights {known['tokenizer_sha256'][:16]})"
        return (
            f"predictor {model} was trained with tokenizer {theirs}, not with {tokenizer} (weights "
            f"{tokenizer_sha256[:16]}): its forecasts are meaningless; pass the tokenizer that it was trained with"
        )
    size, code = size_of(model, PUBLISHED_PREDICTORS), size_of(tokenizer, PUBLISHED_TOKENIZERS)
    if size in TOKENIZER_OF_PUBLISHED and code in PUBLISHED_TOKENIZERS and code != TOKENIZER_OF_PUBLISHED[size]:
        return (
            f"predictor {model} was trained with tokenizer {TOKENIZER_OF_PUBLISHED[size]}, not with {tokenizer}: its "
            f"forecasts are meaningless; pass --tokenizer {TOKENIZER_OF_PUBLISHED[size]}"
        )
    return None
