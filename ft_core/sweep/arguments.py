"""Settings of a search, beside those of the runs that it makes."""

from dataclasses import dataclass, field

METHODS = ("tpe", "grid", "random")
# no hyperband: Optuna settles its brackets by the first trial that this process has seen end, which a resume changes
PRUNERS = ("median", "halving", "none")
DEFAULT_TRIALS = 20


@dataclass
class SweepArguments:
    """How a space is searched; every other setting is one of the runs."""

    space: str | None = field(default=None, metadata={"help": "YAML file of the settings to search over."})
    trials: int | None = field(
        default=None, metadata={"help": f"Trials in all; {DEFAULT_TRIALS} when not given, a grid's number of points."}
    )
    method: str = field(default="tpe", metadata={"help": "tpe (Bayesian), grid (lists only) or random."})
    objective: str | None = field(
        default=None,
        metadata={"help": "Validation term to search by, and to keep checkpoints by. Default: metric_for_best_model."},
    )
    pruner: str = field(default="median", metadata={"help": "What ends bad trials early: median, halving or none."})
    prune_startup: int = field(default=5, metadata={"help": "Finished trials before the median prunes."})
    prune_warmup: int = field(default=1, metadata={"help": "Evaluations of a trial before it may be pruned."})
    workers: int = field(default=1, metadata={"help": "Processes, each with a device or a share of the cores."})
    keep_models: int = field(default=3, metadata={"help": "Best trials whose models stay on the disk."})
    most_failures: int = field(default=5, metadata={"help": "Stop after so many failed trials in a row."})
    sampler_seed: int = field(default=42, metadata={"help": "Seed of what the search proposes."})
    repeat_best: int = field(
        default=0,
        metadata={"help": "Further seeds to train the best and the default settings with, to know the gain's spread."},
    )

    def __post_init__(self):
        if not self.space:
            raise ValueError("space is not set; pass --space FILE.yaml with the settings to search over")
        for name, known in (("method", METHODS), ("pruner", PRUNERS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r} is not known; use one of {', '.join(known)}")
        least = {"workers": 1, "keep_models": 1, "most_failures": 1, "prune_startup": 1, "prune_warmup": 0}
        least |= {"repeat_best": 0, "sampler_seed": 0} | ({} if self.trials is None else {"trials": 1})
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name}={getattr(self, name)} is below {bound}; use {bound} or more")
        if self.repeat_best == 1:
            raise ValueError("repeat_best=1 tells nothing of the spread over seeds; use 2 or more, better 3 to 5")
