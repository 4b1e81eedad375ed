"""Settings of `kronos-ft evaluate`."""

from dataclasses import dataclass, field

from .origins import OriginPlan
from .walk_forward import EvaluationSettings


@dataclass
class EvaluateArguments:
    """Settings of `kronos-ft evaluate`."""

    data: str | None = field(
        default=None,
        metadata={"help": "CSV or Parquet file, folder or glob of them (one symbol each), or Hub data set; 'sample'."},
    )
    model: str | None = field(
        default=None, metadata={"help": "Predictor: model folder, run folder, or Hub name (or NAME@REVISION)."}
    )
    tokenizer: str | None = field(
        default=None, metadata={"help": "Tokenizer of the model: model folder, run folder, or Hub name (@REVISION)."}
    )
    compare: list[str] | None = field(
        default=None,
        metadata={
            "help": "Two or more models instead of --model, each [NAME=]DIR[,TOKENIZER_DIR]; evaluated on the same "
            "origins and compared with the first. --tokenizer is the default tokenizer."
        },
    )
    lookback: int = field(default=400, metadata={"help": "Bars of context."})
    horizon: int = field(default=24, metadata={"help": "Bars to forecast."})
    step: int = field(default=24, metadata={"help": "Bars between two origins."})
    num_paths: int = field(default=30, metadata={"help": "Forecast paths per origin."})
    max_origins: int = field(
        default=400, metadata={"help": "Maximum origins of validation and of test each; more are thinned evenly."}
    )
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
    batch_size: int = field(default=8, metadata={"help": "Origins per batch."})
    device: str | None = field(default=None, metadata={"help": "cpu, cuda, ...; default: the accelerator, else cpu."})
    split_ratios: list[float] = field(
        default_factory=lambda: [0.7, 0.15, 0.15],
        metadata={"help": "Shares of train, validation and test, in time order."},
    )
    split_dates: list[str] | None = field(
        default=None, metadata={"help": "First day of validation and of test (YYYY-MM-DD), instead of shares."}
    )
    embargo: int | None = field(
        default=None,
        metadata={"help": "Bars to skip at the start of validation and of test. Default: lookback + horizon + 1."},
    )
    max_gap: int | None = field(
        default=None,
        metadata={"help": "Maximum missing bars at one gap in a context or horizon. Default: as in training."},
    )
    policy: str = field(default="error", metadata={"help": "What to do with defective rows: error, drop or repair."})
    timezone: str = field(default="UTC", metadata={"help": "Time zone of times without an offset."})
    garch: bool = field(default=False, metadata={"help": "Add GARCH(1,1) as a baseline (needs the package arch)."})
    fee_bps: float = field(default=10.0, metadata={"help": "Fee per side in the back-test, basis points."})
    slippage_bps: float = field(default=5.0, metadata={"help": "Slippage per side in the back-test, basis points."})
    output_dir: str = field(default="evaluation", metadata={"help": "Folder for results, report and pictures."})
    overwrite: bool = field(default=False, metadata={"help": "Replace the evaluation in output_dir."})

    def __post_init__(self):
        if not self.data:
            raise ValueError("data is not set; pass --data FILE, or --data sample for the embedded BTC candles")
        if self.split_dates is not None and self.split_ratios != [0.7, 0.15, 0.15]:
            raise ValueError(
                f"split_dates={self.split_dates} and split_ratios={self.split_ratios} exclude each other; set only one"
            )
        if self.num_paths < 1:
            raise ValueError(f"num_paths={self.num_paths} is below 1; use 1 or more, e.g. 30")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} is negative; use 0 or more")
        for name in ("fee_bps", "slippage_bps"):
            if not 0 <= getattr(self, name) < 5000:
                raise ValueError(f"{name}={getattr(self, name)} must be basis points from 0 to below 5000")
        self.settings()

    def settings(self) -> EvaluationSettings:
        """Sizes, splits and costs.

        Raises:
            ValueError: a value out of range.
        """
        plan = OriginPlan(
            lookback=self.lookback,
            horizon=self.horizon,
            step=self.step,
            ratios=self.split_ratios,
            dates=self.split_dates,
            embargo=self.embargo,
            max_gap=self.max_gap,
            max_origins=self.max_origins,
        )
        return EvaluationSettings(plan, self.fee_bps, self.slippage_bps, self.seed, self.batch_size)
