"""Settings of an evaluation; each field has one help text with its unit."""

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
            "help": "Two models or more instead of --model, on the same origins: [NAME=]DIR[,TOKENIZER_DIR] each; the "
            "others are compared with the first. --tokenizer serves those that name none."
        },
    )
    lookback: int = field(default=400, metadata={"help": "Bars of the context."})
    horizon: int = field(default=24, metadata={"help": "Bars to forecast."})
    step: int = field(default=24, metadata={"help": "Bars between two origins."})
    num_paths: int = field(default=30, metadata={"help": "Forecast paths an origin."})
    max_origins: int = field(
        default=400, metadata={"help": "Most origins of validation and of test each; more are thinned evenly."}
    )
    T: float = field(default=1.0, metadata={"help": "Temperature of sampling."})
    top_p: float = field(default=0.9, metadata={"help": "Share of probability that tokens are drawn from."})
    top_k: int = field(default=0, metadata={"help": "Number of tokens that are drawn from; 0 leaves it to top_p."})
    seed: int = field(default=42, metadata={"help": "Seed of all draws."})
    overflow: str = field(
        default="exact", metadata={"help": "Past the model's context: exact, roll, reprefill or trim."}
    )
    max_context: int | None = field(
        default=None, metadata={"help": "Bars that the model sees. Default: 2048 for mini by name, else 512."}
    )
    batch_size: int = field(default=8, metadata={"help": "Origins forecast at once."})
    device: str | None = field(default=None, metadata={"help": "cpu, cuda, ...; the accelerator if there is one."})
    split_ratios: list[float] = field(
        default_factory=lambda: [0.7, 0.15, 0.15], metadata={"help": "Shares of train, validation and test, in time."}
    )
    split_dates: list[str] | None = field(
        default=None, metadata={"help": "First day of validation and of test (YYYY-MM-DD), instead of shares."}
    )
    embargo: int | None = field(
        default=None,
        metadata={"help": "Bars left out at the start of validation and of test. Default: lookback + horizon + 1."},
    )
    max_gap: int | None = field(
        default=None, metadata={"help": "Most bars missing in a context or horizon. Default: as in training."}
    )
    policy: str = field(default="error", metadata={"help": "Rows with a defect: error, drop or repair."})
    timezone: str = field(default="UTC", metadata={"help": "Zone of times without an offset of their own."})
    garch: bool = field(default=False, metadata={"help": "GARCH(1,1) as a further baseline (package arch)."})
    fee_bps: float = field(default=10.0, metadata={"help": "Fee of each side in the back-test, basis points."})
    slippage_bps: float = field(default=5.0, metadata={"help": "Slippage of each side in the back-test, basis points."})
    output_dir: str = field(default="evaluation", metadata={"help": "Folder for figures, report and pictures."})
    overwrite: bool = field(default=False, metadata={"help": "Replace the evaluation in output_dir."})

    def __post_init__(self):
        if not self.data:
            raise ValueError("data is not set; pass --data FILE, or --data sample for the embedded BTC candles")
        if self.split_dates is not None and self.split_ratios != [0.7, 0.15, 0.15]:
            raise ValueError(
                f"split_dates={self.split_dates} and split_ratios={self.split_ratios} exclude each other; choose one"
            )
        if self.num_paths < 1:
            raise ValueError(f"num_paths={self.num_paths} forecasts nothing; use 1 or more, e.g. 30")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} is negative; use 0 or more")
        for name in ("fee_bps", "slippage_bps"):
            if not 0 <= getattr(self, name) < 5000:
                raise ValueError(f"{name}={getattr(self, name)} must be basis points from 0 to below 5000")
        self.settings()

    def settings(self) -> EvaluationSettings:
        """Sizes, splits and costs; raises ValueError for impossible ones."""
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
