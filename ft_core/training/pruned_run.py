"""A run that a search gives up: its record says `pruned`, which is neither an error nor an interruption."""

from collections.abc import Callable

from transformers import Trainer

PRUNED = "pruned"

# what a search does with the trainer of a run, before it trains; the run leaves the test split alone then
AsTrial = Callable[[Trainer], None]


class RunPruned(Exception):
    """Raised in a callback to end a run that is worse than the others of its search."""
