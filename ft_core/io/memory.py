"""Memory that runs before this one still hold: a Trainer hangs in cycles, which only a collection frees."""

import gc

import torch


def free_memory() -> None:
    """Gives back what a run that is over held, on the host and on the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
