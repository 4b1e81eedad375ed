"""Which tokenizer a predictor was trained with: kept beside its weights, so that another one is noticed.

A predictor reads indices into the codes of its tokenizer. With another tokenizer of as many bits they mean other
candles, and forecasts are noise that looks like a forecast.
"""

import json
from pathlib import Path

from ft_core.io.files import write_json
from ft_core.runs.folder import RUN_FILE

from .sizes import PUBLISHED_PREDICTORS, PUBLISHED_TOKENIZERS

PAIRING_FILE = "trained_with.json"
TOKENIZER_OF_PUBLISHED = {"mini": "2k", "small": "base", "base": "base"}


def write_pairing(folder: Path, model_facts: object) -> None:
    """Writes beside a predictor what it was trained with, where the run's facts on its model say it."""
    if isinstance(model_facts, dict) and "tokenizer_sha256" in model_facts:
        kept = {"tokenizer": model_facts.get("tokenizer"), "tokenizer_sha256": model_facts["tokenizer_sha256"]}
        write_json(folder / PAIRING_FILE, kept)


def _read(path: Path) -> dict:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def trained_with(folder: Path) -> dict:
    """What is known of the tokenizer of a predictor's folder: its name and SHA-256, or nothing.

    Folders of earlier versions lack the file; the record of their run has the same facts.
    """
    known = _read(folder / PAIRING_FILE) or _read(folder.parent / RUN_FILE).get("model")
    return known if isinstance(known, dict) and isinstance(known.get("tokenizer_sha256"), str) else {}


def mismatch(model: str, tokenizer: str, tokenizer_sha256: str) -> str | None:
    """What is wrong with a pair of predictor and tokenizer, in words, or None where nothing is known to be.

    Args:
        model (`str`): folder, Hub name or published size of the predictor.
        tokenizer (`str`): the same of the tokenizer.
        tokenizer_sha256 (`str`): hash of the tokenizer's weights, see `weights_hash`.
    """
    known = trained_with(Path(model))
    if known and known["tokenizer_sha256"] != tokenizer_sha256:
        theirs = f"{known.get('tokenizer') or 'another one'} (weights {known['tokenizer_sha256'][:16]})"
        return (
            f"predictor {model} was trained with tokenizer {theirs}, not with {tokenizer} (weights "
            f"{tokenizer_sha256[:16]}): its forecasts mean nothing; pass the tokenizer that it was trained with"
        )
    sizes = {name: size for size, name in PUBLISHED_PREDICTORS.items()}
    codes = {name: size for size, name in PUBLISHED_TOKENIZERS.items()}
    size, code = sizes.get(model, model), codes.get(tokenizer, tokenizer)
    if size in TOKENIZER_OF_PUBLISHED and code in PUBLISHED_TOKENIZERS and code != TOKENIZER_OF_PUBLISHED[size]:
        return (
            f"predictor {model} was trained with tokenizer {TOKENIZER_OF_PUBLISHED[size]}, not with {tokenizer}: its "
            f"forecasts mean nothing; pass --tokenizer {TOKENIZER_OF_PUBLISHED[size]}"
        )
    return None
