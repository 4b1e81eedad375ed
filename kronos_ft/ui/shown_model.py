"""The model that `kronos-ft ui` shows: predictor, tokenizer, and run record."""

from dataclasses import dataclass, field
from pathlib import Path

from ft_core.hub.pushed_files import is_hub_name
from ft_core.io.formats import read_json
from ft_core.runs.folder import BEST_MODEL, FINAL_MODEL, RUN_FILE
from ft_core.runs.record_schema import find_record

from ..models.pairing import trained_with
from ..models.sizes import PUBLISHED_PREDICTORS, PUBLISHED_TOKENIZERS, TOKENIZER_OF_PUBLISHED, size_of

CONFIG_NAME = "config.json"
STAGES = ("tokenizer", "predictor")


@dataclass(frozen=True)
class ShownModel:
    """The model on the page.

    Attributes:
        name (`str`): the name that the user passed.
        model, tokenizer (`str`): folders or Hub names.
        run (`Path`, *optional*): the run folder; None for a model without a run.
        record (`dict`): the predictor's run record; empty without one.
    """

    name: str
    model: str
    tokenizer: str
    run: Path | None = None
    record: dict = field(default_factory=dict)

    def data_settings(self) -> dict:
        """Recorded data, policy, timezone and lookback window of the run, or an empty dict."""
        return self.record.get("data", {})

    def steps(self) -> int | None:
        """Recorded number of optimizer steps, or None."""
        return self.record.get("global_step")


def _check_predictor(folder: Path) -> None:
    """Raises ValueError for a folder without a configuration, or with a tokenizer."""
    if not (folder / CONFIG_NAME).is_file():
        raise ValueError(f"{folder} is not a model folder or a run folder (no {CONFIG_NAME}); pass one")
    if "n_enc_layers" in read_json(folder / CONFIG_NAME, "restore the file", dict):
        raise ValueError(f"{folder} contains a tokenizer, not a predictor; pass a predictor's run or model folder")


def _tokenizer_of(folder: Path) -> str:
    """The recorded tokenizer of a predictor's folder.

    Raises:
        ValueError: not recorded, or it no longer exists.
    """
    named = trained_with(folder).get("tokenizer")
    if not isinstance(named, str):
        raise ValueError(f"{folder} has no record of its tokenizer; pass --tokenizer DIR")
    if named not in PUBLISHED_TOKENIZERS and not is_hub_name(named) and not Path(named).is_dir():
        raise ValueError(f"the tokenizer {named} of {folder} does not exist; pass --tokenizer DIR")
    return named


def find_shown(named: str, tokenizer: str | None = None) -> ShownModel:
    """Finds the predictor of a run or model folder, or a published one, and its tokenizer.

    Args:
        named (`str`): folder of `kronos-ft finetune` or `predictor`, model folder, Hub name, or mini, small, base.
        tokenizer (`str`, *optional*): its tokenizer; by default the recorded one.

    Raises:
        ValueError: nothing found, an unfinished run, a tokenizer instead of a predictor, or an unknown tokenizer.
    """
    path = Path(named)
    if not path.is_dir():
        if path.exists():
            raise ValueError(f"{named} is a file; pass a run folder or a model folder")
        if named not in PUBLISHED_PREDICTORS and not is_hub_name(named):
            raise ValueError(f"{named} does not exist; pass a run folder, a model folder, or mini, small, base")
        tokenizer = tokenizer or TOKENIZER_OF_PUBLISHED.get(size_of(named, PUBLISHED_PREDICTORS))
        if tokenizer is None:
            raise ValueError(
                f"{named} is not a local folder, and a model from the Hub needs its tokenizer; pass --tokenizer DIR"
            )
        return ShownModel(named, named, tokenizer)
    if any((path / stage / RUN_FILE).is_file() or (path / stage / BEST_MODEL).is_dir() for stage in STAGES):
        own, run = path / "predictor", path
        if not tokenizer and (path / "tokenizer" / BEST_MODEL).is_dir():
            tokenizer = str(path / "tokenizer")
    else:
        own, run = path, path if (path / RUN_FILE).is_file() or (path / BEST_MODEL).is_dir() else None
    if run is not None:
        if not (own / BEST_MODEL).is_dir():
            raise ValueError(
                f"the run in {path} has no finished predictor ({own / BEST_MODEL}); continue the training with --resume"
            )
        folder, record = own / BEST_MODEL, find_record(own)
    else:
        above = path.resolve().parent
        folder, record = path, find_record(above) if path.resolve().name in (BEST_MODEL, FINAL_MODEL) else {}
    _check_predictor(folder)
    return ShownModel(named, str(folder), tokenizer or _tokenizer_of(folder), run, record)
