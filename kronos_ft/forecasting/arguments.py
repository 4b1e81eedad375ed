"""Settings of forecasts; each field has one help text with its unit. Imports neither torch nor transformers."""

from dataclasses import dataclass, field
from pathlib import Path

from ft_core.io.files import check_data_file

from ..models.found_model import FoundModel
from ..windows.arguments import CandleArguments, SplitArguments

PATHS = ("blocks", "sampled")
ENGINES = ("local", "ray")


@dataclass
class SamplingArguments(CandleArguments):
    """What forecasts of every kind take: candles, model, context and sampling."""

    model: str | None = field(
        default=None,
        metadata={
            "help": "Predictor: folder of kronos-ft finetune or predictor, model folder, Hub name (or NAME@REVISION), "
            "or mini, small, base."
        },
    )
    tokenizer: str | None = field(
        default=None,
        metadata={
            "help": "Another tokenizer than the model's own: model folder, run folder, Hub name (or NAME@REVISION), or "
            "base, 2k. Default: the one that the model was trained with."
        },
    )
    horizon: int | None = field(
        default=None, metadata={"help": "Bars to forecast. Default: those of the training windows, else 24."}
    )
    lookback: int | None = field(
        default=None, metadata={"help": "Bars of context. Default: those of the training windows, else 400."}
    )
    num_paths: int = field(default=100, metadata={"help": "Number of forecast paths."})
    T: float | None = field(
        default=None,
        metadata={"help": "Sampling temperature; 0 selects the most likely tokens. Default: as calibrated, else 1."},
    )
    top_p: float | None = field(
        default=None,
        metadata={
            "help": "Sample from the most likely tokens whose probabilities reach this sum. Default: as calibrated, "
            "else 1 (all tokens)."
        },
    )
    top_k: int | None = field(
        default=None,
        metadata={
            "help": "Sample from this number of most likely tokens; 0 uses top_p instead. Default: as calibrated, "
            "else 0."
        },
    )
    paths: str = field(
        default="blocks",
        metadata={
            "help": "What the paths of a quantile head are made of: blocks (of past bars) or sampled (by the predictor "
            "of its run); both get the distributions of the head."
        },
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
        if self.data is None or (isinstance(self.data, str) and not self.data):
            raise ValueError("data is not set; pass --data FILE, or --data sample for the embedded BTC candles")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} is negative; use 0 or more")
        if self.paths not in PATHS:
            raise ValueError(f"paths={self.paths!r} is not known; use one of {', '.join(PATHS)}")

    def sampling(self, found: FoundModel) -> dict[str, object]:
        """How paths of a model are sampled, as options of [`~kronos_ft.KronosPredictor.predict_paths`]."""
        return {**found.sampling(T=self.T, top_p=self.top_p, top_k=self.top_k), "overflow": self.overflow}

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
    quantiles: str | None = field(
        default=None,
        metadata={"help": "Write quantiles of the close to this file: .parquet or .csv; kronos-ft score reads it."},
    )
    append: bool = field(
        default=False,
        metadata={"help": "Add rows to an existing quantiles file; forecasts that it has already are not repeated."},
    )
    plot: str | None = field(
        default=None, metadata={"help": "Write a PNG picture: candles, paths, intervals, actual candles."}
    )
    all_bars: bool = field(default=False, metadata={"help": "Print every bar of the forecast instead of six."})
    drop_unfinished: bool = field(
        default=False, metadata={"help": "Leave out the last candle if its bar has not ended yet."}
    )
    strict: bool = field(
        default=False,
        metadata={"help": "Refuse all symbols if one cannot be forecast, instead of leaving it out."},
    )
    reprefill_every: int = field(default=8, metadata={"help": "Bars between recomputations with overflow reprefill."})
    raw: bool = field(default=False, metadata={"help": "Keep decoded bars, even if they are not valid candles."})
    overwrite: bool = field(default=False, metadata={"help": "Replace existing output, quantiles and plot files."})
    engine: str = field(
        default="local",
        metadata={
            "help": "What shares the symbols out: local (the processes of a launch) or ray (the nodes of a cluster)."
        },
    )

    def __post_init__(self):
        super().__post_init__()
        if not self.model:
            raise ValueError("model is not set; pass --model RUN, e.g. the folder of kronos-ft finetune")
        if self.engine not in ENGINES:
            raise ValueError(f"engine={self.engine!r} is not known; use one of {', '.join(ENGINES)}")
        if self.engine == "ray" and self.plot:
            raise ValueError("plot cannot be drawn with engine=ray, whose nodes may have other disks; omit one of them")
        for name, least in (("horizon", 1), ("lookback", 2), ("num_paths", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name}={value} is too small; use {least} or more")
        for name in ("output", "quantiles"):
            if (value := getattr(self, name)) and Path(value).suffix not in (".parquet", ".csv"):
                raise ValueError(f"{name}={value} must end in .parquet or .csv; rename it")
        if self.plot and Path(self.plot).suffix != ".png":
            raise ValueError(f"plot={self.plot} must end in .png; rename it")
        if self.append and not self.quantiles:
            raise ValueError("append needs a file to add rows to; pass --quantiles FILE.csv")
        if self.append and self.overwrite:
            raise ValueError("append and overwrite exclude each other; pass one of them")

    def check_files(self) -> None:
        """Raises ValueError when the data file does not exist, or an output file exists or has no folder."""
        super().check_files()
        for name in ("output", "quantiles", "plot"):
            if not (value := getattr(self, name)):
                continue
            if Path(value).exists() and not self.overwrite and not (name == "quantiles" and self.append):
                if name == "quantiles":
                    raise ValueError(
                        f"quantiles={value} exists; pass --append to add to it, --overwrite or another file"
                    )
                raise ValueError(f"{name}={value} exists; pass --overwrite or another {name}")
            if not Path(value).resolve().parent.is_dir():
                raise ValueError(f"the folder of {name}={value} does not exist; create it first")


@dataclass
class CalibrateArguments(SplitArguments):
    """Settings of `kronos-ft calibrate`."""

    model: str | None = field(
        default=None, metadata={"help": "Predictor: folder of kronos-ft finetune or predictor, or model folder."}
    )
    tokenizer: str | None = field(
        default=None, metadata={"help": "Another tokenizer than the one that the model was trained with."}
    )
    num_paths: int = field(default=30, metadata={"help": "Forecast paths per origin."})
    max_origins: int = field(default=100, metadata={"help": "Maximum validation origins; evenly spaced in time."})
    seed: int = field(default=42, metadata={"help": "Random seed of the sampling, the same for every setting."})
    device: str | None = field(default=None, metadata={"help": "cpu, cuda, ...; default: the accelerator, else cpu."})

    def __post_init__(self):
        if not self.model:
            raise ValueError("model is not set; write kronos-ft calibrate RUN --data FILE")
        if not self.data:
            raise ValueError("data is not set; pass --data FILE, the candles that the model was trained on")
        for name, least in (("num_paths", 2), ("max_origins", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} is below {least}; use {least} or more")
        self.check_split()

    def check_files(self) -> None:
        """Raises ValueError when the data file does not exist."""
        check_data_file(self.data)
