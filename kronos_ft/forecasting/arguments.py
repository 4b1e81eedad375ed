"""Settings of forecasts; each field has one help text with its unit. Imports neither torch nor transformers."""

from dataclasses import dataclass, field
from pathlib import Path

from ft_core.io.files import check_data_file

from ..models.sizes import PREDICTOR_CONTEXT


@dataclass
class SamplingArguments:
    """What forecasts of every kind take: candles, model, context and sampling."""

    data: str | None = field(
        default=None,
        metadata={"help": "CSV or Parquet file, folder or glob of them (one symbol each), or Hub data set; 'sample'."},
    )
    model: str | None = field(
        default=None,
        metadata={"help": "Predictor: model folder, run folder, Hub name (or NAME@REVISION), or mini, small, base."},
    )
    tokenizer: str | None = field(
        default=None,
        metadata={"help": "Its tokenizer: model folder, run folder, Hub name (or NAME@REVISION), or base, 2k."},
    )
    horizon: int = field(default=24, metadata={"help": "Bars to forecast."})
    lookback: int = field(default=400, metadata={"help": "Bars of the context."})
    num_paths: int = field(default=100, metadata={"help": "Forecast paths."})
    T: float = field(default=1.0, metadata={"help": "Temperature of sampling; 0 takes the likeliest tokens."})
    top_p: float = field(default=0.9, metadata={"help": "Share of probability that tokens are drawn from."})
    top_k: int = field(default=0, metadata={"help": "Number of tokens that are drawn from; 0 leaves it to top_p."})
    seed: int = field(default=42, metadata={"help": "Seed of all draws."})
    overflow: str = field(
        default="exact", metadata={"help": "Past the model's context: exact, roll, reprefill or trim."}
    )
    max_context: int | None = field(
        default=None, metadata={"help": "Bars that the model sees. Default: 2048 for mini by name, else 512."}
    )
    policy: str = field(default="error", metadata={"help": "Rows with a defect: error, drop or repair."})
    timezone: str = field(default="UTC", metadata={"help": "Zone of times without an offset of their own."})
    device: str | None = field(default=None, metadata={"help": "cpu, cuda, ...; the accelerator if there is one."})

    def __post_init__(self):
        if not self.data:
            raise ValueError("data is not set; pass --data FILE, or --data sample for the embedded BTC candles")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} is negative; use 0 or more")

    def check_files(self) -> None:
        """Raises ValueError when the data file does not exist."""
        check_data_file(self.data)


@dataclass
class ForecastArguments(SamplingArguments):
    """Settings of `kronos-ft forecast`."""

    origin: str | None = field(
        default=None,
        metadata={"help": "Forecast from this time (UTC) instead of the end of the data; later bars are hidden."},
    )
    output: str | None = field(default=None, metadata={"help": "File for a table of all paths: .parquet or .csv."})
    plot: str | None = field(default=None, metadata={"help": "PNG picture: candles, paths, bands, truth where known."})
    reprefill_every: int = field(default=8, metadata={"help": "Bars between recomputations with overflow reprefill."})
    raw: bool = field(default=False, metadata={"help": "Keep bars as decoded, even candles that cannot exist."})
    overwrite: bool = field(default=False, metadata={"help": "Replace output and plot."})

    def __post_init__(self):
        super().__post_init__()
        for name in ("model", "tokenizer"):
            if not getattr(self, name):
                raise ValueError(f"{name} is not set; pass --model DIR --tokenizer DIR, e.g. those of a finished run")
        for name, least in (("horizon", 1), ("lookback", 2), ("num_paths", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} is too small; use {least} or more")
        if self.output and Path(self.output).suffix not in (".parquet", ".csv"):
            raise ValueError(f"output={self.output} must end in .parquet or .csv; rename it")
        if self.plot and Path(self.plot).suffix != ".png":
            raise ValueError(f"plot={self.plot} must end in .png; rename it")

    def context_bars(self) -> int:
        """Bars that the model sees."""
        return PREDICTOR_CONTEXT.get(self.model, 512) if self.max_context is None else self.max_context

    def check_files(self) -> None:
        """Raises ValueError when the data file does not exist, or an output file exists or has no folder."""
        super().check_files()
        for name in ("output", "plot"):
            if not (value := getattr(self, name)):
                continue
            if Path(value).exists() and not self.overwrite:
                raise ValueError(f"{name}={value} exists; pass --overwrite or another name")
            if not Path(value).resolve().parent.is_dir():
                raise ValueError(f"{name}={value} lies in no existing folder; create it first")
