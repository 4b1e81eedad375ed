"""Settings of `kronos-ft evaluate`."""

from dataclasses import dataclass, field

from ft_core.io.settings_text import settings_text

from ..forecasting.arguments import SamplingArguments
from ..models.found_model import DEFAULT_HORIZON, DEFAULT_LOOKBACK
from ..windows.arguments import SplitArguments
from .settings import EvaluationSettings, OriginPlan


@dataclass
class EvaluateArguments(SamplingArguments, SplitArguments):
    """Settings of `kronos-ft evaluate`."""

    compare: list[str] | None = field(
        default=None,
        metadata={
            "help": "Two or more models instead of --model, each [NAME=]MODEL[,TOKENIZER]; evaluated on the same "
            "origins and compared with the first. --tokenizer is used for each that names none."
        },
    )
    step: int | None = field(
        default=None,
        metadata={
            "help": "Bars between two origins. Default: the horizon, or fewer (down to a quarter of it) for 200 test "
            "origins."
        },
    )
    num_paths: int = field(default=30, metadata={"help": "Forecast paths per origin."})
    max_origins: int = field(
        default=400, metadata={"help": "Maximum origins of validation and of test each; more are subsampled evenly."}
    )
    batch_size: int = field(default=8, metadata={"help": "Origins per batch."})
    garch: bool = field(default=False, metadata={"help": "Add GARCH(1,1) as a baseline (needs the package arch)."})
    statistical: bool = field(
        default=False, metadata={"help": "Add AutoETS and AutoTheta as baselines (needs the package statsforecast)."}
    )
    fee_bps: float = field(default=10.0, metadata={"help": "Fee per side in the back-test, basis points."})
    slippage_bps: float = field(default=5.0, metadata={"help": "Slippage per side in the back-test, basis points."})
    verbose: bool = field(default=False, metadata={"help": "Print all scores, not only the most important ones."})
    output_dir: str = field(default="evaluation", metadata={"help": "Folder for results, report and pictures."})
    overwrite: bool = field(default=False, metadata={"help": "Replace the evaluation in output_dir."})

    __repr__ = settings_text

    def __post_init__(self):
        super().__post_init__()
        self.check_split()
        if self.num_paths < 1:
            raise ValueError(f"num_paths={self.num_paths} is below 1; use 1 or more, e.g. 30")
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
            lookback=DEFAULT_LOOKBACK if self.lookback is None else self.lookback,
            horizon=DEFAULT_HORIZON if self.horizon is None else self.horizon,
            step=self.step,
            ratios=self.split_ratios,
            dates=self.split_dates,
            embargo=self.embargo,
            max_gap=self.max_gap,
            max_origins=self.max_origins,
        )
        return EvaluationSettings(plan, self.fee_bps, self.slippage_bps, self.seed, self.batch_size)
