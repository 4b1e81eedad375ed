"""Settings that name candles and split them: the same for training, forecasts and evaluations. No heavy imports."""

from dataclasses import dataclass, field

RATIOS = (0.7, 0.15, 0.15)


@dataclass
class CandleArguments:
    """Which candles to read."""

    data: str | None = field(
        default=None,
        metadata={
            "help": "File (CSV, Parquet, Feather, Excel, JSON), folder or glob of them (one symbol each), or Hub data "
            "set; 'sample'."
        },
    )
    policy: str = field(default="error", metadata={"help": "How to handle invalid rows: error, drop or repair."})
    timezone: str = field(default="UTC", metadata={"help": "Time zone of times without a UTC offset."})
    columns: str | None = field(
        default=None,
        metadata={"help": "Names of columns that are not recognised, such as time=Datum,close=Schluss."},
    )


@dataclass
class SplitArguments(CandleArguments):
    """How candles are split in time, and which gaps are allowed."""

    max_gap: int | None = field(
        default=None,
        metadata={
            "help": "Maximum missing bars in a window. Default: 0 for 24/7 markets, no limit for markets with sessions."
        },
    )
    split_ratios: list[float] = field(
        default_factory=lambda: [*RATIOS], metadata={"help": "Shares of train, validation and test, in time order."}
    )
    split_dates: list[str] | None = field(
        default=None, metadata={"help": "First day of validation and of test (YYYY-MM-DD), instead of shares."}
    )
    embargo: int | None = field(
        default=None,
        metadata={
            "help": "Bars skipped at the start of validation and of test. Default: one window (context and forecast "
            "bars, and one more)."
        },
    )

    def check_split(self) -> None:
        """Raises ValueError when both shares and dates are set."""
        if self.split_dates is not None and self.split_ratios != [*RATIOS]:
            raise ValueError(
                f"split_dates={self.split_dates} and split_ratios={self.split_ratios} exclude each other; set only one"
            )
