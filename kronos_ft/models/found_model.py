"""Finds what a model's name stands for: predictor, tokenizer, trained window and sampling settings.

Every surface (`forecast`, `evaluate`, `ui`, `KronosForecaster`) resolves names here, so that one name gives the same
forecast everywhere. Reads only JSON; imports torch only for names of the Hub.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypedDict

from ft_core.checkpoints.identity import RESTORE
from ft_core.hub.origin import is_hub_name, split_revision
from ft_core.io.formats import read_json, read_record_file
from ft_core.io.pickles import refuse_pickled_weights
from ft_core.runs.folder import BEST_MODEL, FINAL_MODEL, RUN_FILE

from .pairing import FORECASTER_FILE, PAIRING_FILE, SAMPLING, read_forecaster, trained_with
from .sizes import PREDICTOR_CONTEXT, PUBLISHED_PREDICTORS, PUBLISHED_TOKENIZERS, TOKENIZER_OF_PUBLISHED, size_of

CONFIG_NAME = "config.json"
STAGES = ("tokenizer", "predictor", "quantiles")
DEFAULT_LOOKBACK, DEFAULT_HORIZON, DEFAULT_CONTEXT = 400, 24, 512


@dataclass(frozen=True)
class FoundModel:
    """A predictor or a quantile head, with all that its forecasts need.

    Attributes:
        name (`str`): the name that the user passed.
        model, tokenizer (`str`): folders or Hub names.
        run (`Path`, *optional*): the run folder; None for a model without a run.
        record (`dict`): the predictor's run record; empty without one.
        forecaster (`dict`): content of `forecaster.json`; empty without one.
        is_overridden (`bool`): whether the user passed the tokenizer; otherwise the name is enough to find it.
        is_head (`bool`): whether the model is a quantile head; one without a body has no tokenizer (empty).
    """

    name: str
    model: str
    tokenizer: str
    run: Path | None = None
    record: dict = field(default_factory=dict)
    forecaster: dict = field(default_factory=dict)
    is_overridden: bool = False
    is_head: bool = False

    def __repr__(self) -> str:
        kind = "quantile head" if self.is_head else "predictor"
        trained = f", {self.steps():,} steps" if self.steps() is not None else ""
        return (
            f"FoundModel {self.name}: {kind} {self.model}, tokenizer {self.tokenizer or 'none'}\n"
            f"{self.lookback()} bars of context, {self.horizon()} bars ahead{trained}"
        )

    def data_settings(self) -> dict:
        """Recorded data, policy, timezone and window of the run, or an empty dict."""
        return self.record.get("data", {})

    def steps(self) -> int | None:
        """Recorded number of optimizer steps, or None."""
        return self.record.get("global_step")

    @property
    def trained_lookback(self) -> int | None:
        """Bars of context of the training windows, or None if unknown."""
        return self._bars("lookback", "lookback_window", 2)

    @property
    def trained_horizon(self) -> int | None:
        """Bars to predict of the training windows, or None if unknown."""
        return self._bars("horizon", "predict_window", 1)

    def _bars(self, name: str, setting: str, least: int) -> int | None:
        recorded = self.data_settings().get(setting)
        if self.forecaster.get(name) is not None:
            return self.forecaster[name]
        return recorded if isinstance(recorded, int) and recorded >= least else None

    def lookback(self, asked: int | None = None) -> int:
        """Bars of context: as asked, else as trained, else 400."""
        return asked if asked is not None else self.trained_lookback or DEFAULT_LOOKBACK

    def horizon(self, asked: int | None = None) -> int:
        """Bars to forecast: as asked, else as trained, else 24."""
        return asked if asked is not None else self.trained_horizon or DEFAULT_HORIZON

    def sampling(self, **asked: float | None) -> dict[str, float]:
        """`T`, `top_p` and `top_k`: as asked, else as calibrated, else the whole distribution (1, 1, 0)."""
        found = {name: self.forecaster.get(name, value) for name, value in SAMPLING.items()}
        return {name: found[name] if asked.get(name) is None else asked[name] for name in SAMPLING}

    def is_calibrated(self, **asked: float | None) -> bool:
        """Whether [`~FoundModel.sampling`] takes T or top_p from `kronos-ft calibrate`."""
        names = [name for name in ("T", "top_p") if asked.get(name) is None]
        recorded = self.forecaster.get("predictor_sha256") is not None
        return any(recorded or self.forecaster.get(name, SAMPLING[name]) != SAMPLING[name] for name in names)

    @property
    def clip(self) -> float:
        """Maximum absolute normalised value of the training windows, 5 if unknown."""
        recorded = self.data_settings().get("clip")
        return float(recorded) if isinstance(recorded, int | float) and recorded > 0 else 5.0

    def max_context(self, asked: int | None = None) -> int:
        """Maximum bars that the model sees: as asked, else of the published model, else 512 or the trained window."""
        if asked is not None:
            return asked
        name = split_revision(self.model)[0]
        if not Path(name).is_dir() and name in PREDICTOR_CONTEXT:
            return PREDICTOR_CONTEXT[name]
        return max(DEFAULT_CONTEXT, (self.trained_lookback or 0) + (self.trained_horizon or 0))

    def context_remark(self, lookback: int) -> str | None:
        """A warning if the context has another length than in training, else None."""
        if self.trained_lookback in (None, lookback):
            return None
        return (
            f"lookback={lookback} differs from the {self.trained_lookback} bars of context that {self.name} was "
            f"trained with; forecasts may be worse; omit lookback to use {self.trained_lookback}"
        )

    def long_horizon_remark(self, horizon: int) -> str | None:
        """A warning if more bars are forecast than in the training windows, else None."""
        if self.is_head or horizon <= (self.trained_horizon or horizon):
            return None
        return (
            f"horizon={horizon} exceeds the {self.trained_horizon} bars ahead that {self.name} was trained for; later "
            f"bars may be worse; train with --predict_window {horizon}, or use {self.trained_horizon} or less"
        )

    def timezone_remark(self, timezone: str) -> str | None:
        """A warning if times are read as UTC, the default, but were not in training; else None."""
        recorded = self.data_settings().get("timezone") or timezone
        if timezone != "UTC" or recorded == timezone:
            return None
        return (
            f"times without an offset are read as UTC here, but as {recorded} in the training of {self.name}; if the "
            f"file has local times, pass --timezone {recorded}"
        )

    def check_calibration(self, sha256: str) -> None:
        """Raises ValueError if the sampling settings were calibrated for other weights.

        Args:
            sha256 (`str`): hash of the predictor's weights, see `weights_hash`.
        """
        known = self.forecaster.get("predictor_sha256")
        if known is not None and known != sha256:
            raise ValueError(
                f"{FORECASTER_FILE} of {self.model} was calibrated for other weights ({known[:16]}, not "
                f"{sha256[:16]}); calibrate again, or set its predictor_sha256 to null"
            )


def find_model(named: str, tokenizer: str | None = None, head: bool = True) -> FoundModel:
    """Finds the quantile head or predictor of a run or model folder, or a published predictor, and its tokenizer.

    Args:
        named (`str`): folder of `kronos-ft finetune`, `predictor` or `quantiles`, model folder, Hub name (or
            NAME@REVISION), or mini, small, base. A local folder takes precedence over a published name.
        tokenizer (`str`, *optional*): its tokenizer; by default the recorded one.
        head (`bool`): whether the quantile head of a run of several stages takes precedence over its predictor.

    Raises:
        ValueError: nothing found, an unfinished run, a tokenizer instead of a predictor, or an unknown tokenizer.
        HubUnreachable: the tokenizer of a Hub model must be looked up there, and the Hub cannot be reached.
    """
    path, given = Path(named), bool(tokenizer)
    if not path.is_dir():
        return replace(_find_on_hub(named, tokenizer, head), is_overridden=given)
    if any((path / stage / RUN_FILE).is_file() or (path / stage / BEST_MODEL).is_dir() for stage in STAGES):
        has_head = head and (path / "quantiles" / BEST_MODEL).is_dir()
        own, run = path / ("quantiles" if has_head else "predictor"), path
        if not tokenizer and (path / "tokenizer" / BEST_MODEL).is_dir():
            tokenizer = str(path / "tokenizer")
    else:
        own, run = path, path if (path / RUN_FILE).is_file() or (path / BEST_MODEL).is_dir() else None
    if run is not None:
        if not (own / BEST_MODEL).is_dir():
            raise ValueError(
                f"the run in {path} has no finished predictor ({own / BEST_MODEL}); continue the training with --resume"
            )
        folder, record = own / BEST_MODEL, _recorded(own)
    else:
        above = path.resolve().parent
        folder, record = path, _recorded(above) if path.resolve().name in (BEST_MODEL, FINAL_MODEL) else {}
    keys = _forecasting_keys(folder)
    is_head = "quantile_levels" in keys
    if is_head and not head:
        raise ValueError(f"{folder} contains a quantile head, not a predictor; pass a predictor's run or model folder")
    has_tokens = not is_head or keys.get("use_body") is not False
    tokenizer = (tokenizer or _tokenizer_of(folder)) if has_tokens else ""
    forecaster = _with_sizes(read_forecaster(folder), keys)
    return FoundModel(named, str(folder), tokenizer, run, record, forecaster, given, is_head)


def _with_sizes(forecaster: dict, keys: dict) -> dict:
    """The content of `forecaster.json`; a quantile head has the only lookback and horizon in its configuration."""
    sizes = {name: keys[name] for name in ("lookback", "horizon") if isinstance(keys.get(name), int)}
    return {**forecaster, **sizes} if "quantile_levels" in keys else forecaster


class _Recorded(TypedDict, total=False):
    """The fields of `run.json` that are read here."""

    data: dict[str, object]
    global_step: int


def _recorded(run: Path) -> dict:
    """The record of a run; empty for a folder without one.

    Raises:
        ValueError: a file that is not JSON, or has a field of the wrong type.
    """
    path = run / RUN_FILE
    return read_record_file(path, RESTORE, _Recorded) if path.is_file() else {}


def _forecasting_keys(folder: Path) -> dict:
    """The configuration of a model; raises ValueError for a folder without one, or with a tokenizer."""
    if not (folder / CONFIG_NAME).is_file():
        raise ValueError(f"{folder} is not a model folder or a run folder (no {CONFIG_NAME}); pass one")
    keys = read_json(folder / CONFIG_NAME, "restore the file", dict)
    if "n_enc_layers" in keys:
        raise ValueError(f"{folder} contains a tokenizer, not a predictor; pass a predictor's run or model folder")
    return keys


def _recorded_tokenizer(folder: Path) -> str | None:
    """The name of the tokenizer that a predictor's folder records, or None."""
    named = read_forecaster(folder).get("tokenizer") or trained_with(folder).get("tokenizer")
    return named if isinstance(named, str) else None


def _tokenizer_of(folder: Path) -> str:
    """The recorded tokenizer of a predictor's folder.

    A run of both stages that was moved, or is read from another working folder, keeps its tokenizer beside it.

    Raises:
        ValueError: not recorded, or it no longer exists.
    """
    named = _recorded_tokenizer(folder)
    if named is None:
        raise ValueError(f"{folder} has no record of its tokenizer; pass --tokenizer DIR (in Python tokenizer=DIR)")
    place = split_revision(named)[0]
    if place in PUBLISHED_TOKENIZERS or Path(place).is_dir():
        return named
    beside = folder.resolve().parent.parent / "tokenizer"
    if (beside / BEST_MODEL).is_dir() and folder.resolve().name == BEST_MODEL:
        return str(beside)
    if not is_hub_name(place):
        raise ValueError(f"the tokenizer {named} of {folder} does not exist; pass --tokenizer DIR")
    return named


def stage_folder(named: str, stage: str) -> str:
    """The folder of a stage if a run of several stages is named; otherwise the name itself."""
    return str(Path(named) / stage) if (Path(named) / stage / BEST_MODEL).is_dir() else named


def own_tokenizer(named: str) -> str | None:
    """The tokenizer of a predictor in a folder here: that of its run, or the recorded one; None without one.

    Raises:
        ValueError: the recorded tokenizer no longer exists.
    """
    path = Path(named)
    if (path / "tokenizer" / BEST_MODEL).is_dir():
        return str(path / "tokenizer")
    folder = path / BEST_MODEL if (path / BEST_MODEL).is_dir() else path
    is_recorded = (folder / CONFIG_NAME).is_file() and _recorded_tokenizer(folder) is not None
    return _tokenizer_of(folder) if is_recorded else None


def _find_on_hub(named: str, tokenizer: str | None, head: bool) -> FoundModel:
    """As [`find_model`], for a name that is not a folder here."""
    name, revision = split_revision(named)
    if Path(name).exists():
        refuse_pickled_weights(Path(name))
        raise ValueError(f"{named} is a file; pass a run folder or a model folder")
    size = size_of(name, PUBLISHED_PREDICTORS)
    if size in PUBLISHED_PREDICTORS:
        return FoundModel(named, named, tokenizer or TOKENIZER_OF_PUBLISHED[size])
    if not is_hub_name(name):
        raise ValueError(f"{named} does not exist; pass a run folder, a model folder, or mini, small, base")
    from ft_core.hub.resolve import HubFiles, HubUnreachable, fetch  # here: they import torch

    def collect(files: HubFiles) -> Path:
        folder = files.get(CONFIG_NAME).parent
        for file in (FORECASTER_FILE, PAIRING_FILE):
            files.find(file)
        return folder

    try:
        folder = fetch(name, collect, kind="a Kronos model", revision=revision)
    except HubUnreachable:
        if tokenizer is None:
            raise
        return FoundModel(named, named, tokenizer)  # loading it raises HubUnreachable
    forecaster, recorded = read_forecaster(folder), _recorded_tokenizer(folder)
    if tokenizer is None and recorded is not None:
        place = split_revision(recorded)[0]
        if place not in PUBLISHED_TOKENIZERS and not is_hub_name(place):  # a repository must not choose a folder here
            raise ValueError(f"{named} names the tokenizer {recorded}, which is not on the Hub; pass --tokenizer DIR")
        tokenizer = recorded
    keys = read_json(folder / CONFIG_NAME, "pull it again", dict)
    is_head = "quantile_levels" in keys
    if is_head and not head:
        raise ValueError(f"{named} is a quantile head, not a predictor; pass a predictor")
    if is_head and keys.get("use_body") is False:
        tokenizer = ""
    if tokenizer is None:
        raise ValueError(f"{named} is a Hub model without a record of its tokenizer; pass --tokenizer DIR")
    return FoundModel(named, named, tokenizer, forecaster=_with_sizes(forecaster, keys), is_head=is_head)
