"""Settings of a search, in addition to those of its runs."""

from dataclasses import dataclass, field

METHODS = ("tpe", "grid", "random")
# no hyperband: Optuna sets its brackets at the first trial that ends in this process, so a resume would change them
PRUNERS = ("median", "halving", "none")
ENGINES = ("local", "ray")
DEFAULT_TRIALS = 20


@dataclass
class SweepArguments:
    """Settings of the search; all other settings belong to the runs."""

    space: str | None = field(default=None, metadata={"help": "YAML file with the settings to search over."})
    trials: int | None = field(
        default=None,
        metadata={"help": f"Total number of trials. Default: {DEFAULT_TRIALS}, or the number of points of a grid."},
    )
    method: str = field(default="tpe", metadata={"help": "Search method: tpe (Bayesian), grid (lists only) or random."})
    objective: str | None = field(
        default=None,
        metadata={"help": "Validation metric that selects trials and checkpoints. Default: metric_for_best_model."},
    )
    pruner: str = field(
        default="median", metadata={"help": "Pruner that stops bad trials early: median, halving or none."}
    )
    prune_startup: int = field(
        default=5, metadata={"help": "Number of finished trials before the median pruner starts."}
    )
    prune_warmup: int = field(default=1, metadata={"help": "Number of evaluations of a trial before it can be pruned."})
    workers: int = field(
        default=1, metadata={"help": "Number of parallel processes; each uses one device or a share of the cores."}
    )
    engine: str = field(
        default="local",
        metadata={"help": "What runs the workers: local (processes of this machine) or ray (the nodes of a cluster)."},
    )
    keep_models: int = field(default=3, metadata={"help": "Number of best trials whose models are kept on disk."})
    most_failures: int = field(default=5, metadata={"help": "Stop after this many consecutive failed trials."})
    sampler_seed: int = field(default=42, metadata={"help": "Random seed of the search."})
    repeat_best: int = field(
        default=0,
        metadata={
            "help": "Number of extra seeds to retrain the best and default settings; measures the spread of the gain."
        },
    )

    def __post_init__(self):
        if not self.space:
            raise ValueError("space is not set; pass --space FILE.yaml with the settings to search over")
        for name, known in (("method", METHODS), ("pruner", PRUNERS), ("engine", ENGINES)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r} is not known; use one of {', '.join(known)}")
        least = {"workers": 1, "keep_models": 1, "most_failures": 1, "prune_startup": 1, "prune_warmup": 0}
        least |= {"repeat_best": 0, "sampler_seed": 0} | ({} if self.trials is None else {"trials": 1})
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name}={getattr(self, name)} is below {bound}; use {bound} or more")
        if self.repeat_best == 1:
            raise ValueError("repeat_best=1 cannot measure the spread over seeds; use 2 or more, better 3 to 5")
