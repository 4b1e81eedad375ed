"""Samplers and pruners of trials, which make a search reproducible after an interruption at any point.

Optuna's samplers keep their random state in the process, so it is lost in a new process. Here each trial has its own
sampler, seeded by the search seed and the trial number: after the same trials, it proposes the same values.
"""

from collections.abc import Sequence

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from .arguments import SweepArguments
from .space import Value

RANDOM_TRIALS = 10  # random trials before TPE starts


class PointByNumber(BaseSampler):
    """Gives trial n the n-th point of a grid.

    Args:
        points: the grid, in order.
    """

    def __init__(self, points: Sequence[dict[str, Value]]):
        self.points = points

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Value]:
        return {}

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, distribution: object) -> Value:
        return self.points[trial.number][param_name]


def make_sampler(search: SweepArguments, points: Sequence[dict[str, Value]] | None, number: int) -> BaseSampler:
    """The sampler of one trial."""
    if points is not None:
        return PointByNumber(points)
    seed = int(np.random.SeedSequence([search.sampler_seed, number]).generate_state(1)[0])
    if search.method == "random":
        return RandomSampler(seed=seed)
    # running trials count as bad; otherwise several workers would try the same values
    return TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS, constant_liar=search.workers > 1)


def make_pruner(search: SweepArguments) -> BasePruner:
    """The pruner, which decides at each evaluation whether a trial continues; its resource is the evaluation count."""
    first = search.prune_warmup + 1
    if search.pruner == "median":
        return MedianPruner(n_startup_trials=search.prune_startup, n_warmup_steps=first)
    if search.pruner == "halving":
        return SuccessiveHalvingPruner(min_resource=first, reduction_factor=3)
    return NopPruner()
