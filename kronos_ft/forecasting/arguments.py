"""Settings of forecasts; each field has one help text with its unit. Imports neither torch nor transformers."""

from dataclasses import dataclass, field
from pathlib import Path

from ft_core.hub.origin import split_revision
from ft_core.io.files import check_data_file

from ..models.sizes import PREDICTOR_CONTEXT
from ..windows.arguments import CandleArguments


@dataclass
class SamplingArguments(CandleArguments):
    """What forecasts of every kind take: candles, model, context and sampling."""

    model: str | None = field(
        default=None,
        metadata={"help": "Predictor: model folder, run folder, Hub name (or NAME@REVISION), or mini, small, base."},
    )
    tokenizer: str | None = field(
        default=None,
        metadata={"help": "Its tokenizer: model folder, run folder, Hub name (or NAME@REVISION), or base, 2k."},
    )
    horizon: int = field(default=24, metadata={"help": "Bars to forecast."})
    lookback: int = field(default=400, metadata={"help": "Bars of context."})
    num_paths: int = field(default=100, metadata={"help": "Number of forecast paths."})
    T: float = field(default=1.0, metadata={"help": "Sampling temperature; 0 selects the most likely tokens."})
    top_p: float = field(
        default=0.9, metadata={"help": "Sample from the most likely tokens whose probabilities reach this sum."}
    )
    top_k: int = field(
        default=0, metadata={"help": "Sample from this number of most likely tokens; 0 uses top_p instead."}
    )
    seed: int = field(default=42, metadata={"help": "Random seed of the sampling."})
    overflow: str = field(
        default="exact", metadata={"help": "Method beyond the model's context: exact, roll, reprefill or trim."}
    )
    max_context: int | None = field(
        default=None, metadata={"help": "Maximum bars that the model sees. Default: 2048 for mini by name, else 512."}
    )
    device: str | None = field(default=None, metadata={"help": "cpu, cuda, ...; default: the accelerator, else cpu."})

    def __post_init__(self):
        if not self.data:
            raise ValueError("data is not set; pass --data FILE, or --data sample for the embedded BTC candles")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} is negative; use 0 or more")

    def sampling(self) -> dict[str, object]:
        """How paths are sampled, as options of [`~kronos_ft.KronosPredictor.predict_paths`]."""
        return {name: getattr(self, name) for name in ("T", "top_k", "top_p", "overflow")}

    def context_bars(self, model: str) -> int:
        """Maximum number of bars that a model sees."""
        if self.max_context is not None:
            return self.max_context
        name = split_revision(model)[0]
        return 512 if Path(name).is_dir() else PREDICTOR_CONTEXT.get(name, 512)

    def check_files(self) -> None:
        """Raises ValueError when the data file does not exist."""
        check_data_file(self.data)


@dataclass
class ForecastArguments(SamplingArguments):
    """Settings of `kronos-ft forecast`."""

    origin: str | None = field(
        default=None,
        metadata={"help": "Forecast from this time (UTC) instead of the end of the data; hides later bars."},
    )
    output: str | None = field(default=None, metadata={"help": "Write all paths to this file: .parquet or .csv."})
    plot: str | None = field(
        default=None, metadata={"help": "Write a PNG picture: candles, paths, intervals, actual candles."}
    )
    reprefill_every: int = field(default=8, metadata={"help": "Bars between recomputations with overflow reprefill."})
    raw: bool = field(default=False, metadata={"help": "Keep decoded bars, even if they are not valid candles."})
    overwrite: bool = field(default=False, metadata={"help": "Replace existing output and plot files."})

    def __post_init__(self):
        super().__post_init__()
        for name in ("model", "tokenizer"):
            if not getattr(self, name):
                raise ValueError(f"{name} is not set; pass --model DIR --tokenizer DIR, e.g. of a finished run")
        for name, least in (("horizon", 1), ("lookback", 2), ("num_paths", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} is too small; use {least} or more")
        if self.output and Path(self.output).suffix not in (".parquet", ".csv"):
            raise ValueError(f"output={self.output} must end in .parquet or .csv; rename it")
        if self.plot and Path(self.plot).suffix != ".png":
            raise ValueError(f"plot={self.plot} must end in .png; rename it")

    def check_files(self) -> None:
        """Raises ValueError when the data file does not exist, or an output file exists or has no folder."""
        super().check_files()
        for name in ("output", "plot"):
            if not (value := getattr(self, name)):
                continue
            if Path(value).exists() and not self.overwrite:
                raise ValueError(f"{name}={value} exists; pass --overwrite or another output")
            if not Path(value).resolve().parent.is_dir():
                raise ValueError(f"the folder of {name}={value} does not exist; create it first")
