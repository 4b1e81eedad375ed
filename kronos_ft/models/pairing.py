"""Records which tokenizer a predictor was trained with, next to its weights, to detect a wrong tokenizer.

A predictor reads token indices of its tokenizer. In another tokenizer with the same number of bits, these indices mean
other candles, and the forecasts are meaningless without any error.
"""

from pathlib import Path

from ft_core.io.files import write_json
from ft_core.io.formats import read_json
from ft_core.runs.record_schema import recorded_group

from .configuration_kronos import KronosConfig, KronosTokenizerConfig
from .sizes import PUBLISHED_PREDICTORS, PUBLISHED_TOKENIZERS, TOKENIZER_OF_PUBLISHED, size_of

PAIRING_FILE = "trained_with.json"


def check_bits(predictor: KronosConfig, tokenizer: KronosTokenizerConfig) -> None:
    """Raises ValueError if a predictor does not match the codes of a tokenizer."""
    for name in ("s1_bits", "s2_bits"):
        theirs, ours = getattr(tokenizer, name), getattr(predictor, name)
        if theirs != ours:
            raise ValueError(
                f"the tokenizer has {name}={theirs} but the predictor {name}={ours}; pass the tokenizer that the "
                "predictor was trained with"
            )


def write_pairing(folder: Path, model_facts: object) -> None:
    """Writes the tokenizer's name and hash into a predictor's folder, if the run recorded them."""
    if isinstance(model_facts, dict) and "tokenizer_sha256" in model_facts:
        kept = {"tokenizer": model_facts.get("tokenizer"), "tokenizer_sha256": model_facts["tokenizer_sha256"]}
        write_json(folder / PAIRING_FILE, kept)


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
