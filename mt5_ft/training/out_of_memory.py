"""Halves the batch when memory runs out in the first steps, keeping the effective batch."""

import gc

import torch

FIRST_STEPS = 3
HOST_MESSAGES = ("can't allocate memory", "out of memory", "not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the device's or the host's memory ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in HOST_MESSAGES)


def smaller_batch(batch: int, accumulation: int) -> tuple[int, int]:
    """The next smaller batch with the same effective one: halved, or divided by its smallest factor.

    Raises:
        ValueError: at a batch of 1, with the three settings that would help.
    """
    if batch == 1:
        raise ValueError(
            "out of memory at per_device_train_batch_size=1; set lora true (gradients and optimizer state for 1 % of "
            "the parameters), optimizer adafactor (a third of the optimizer memory), or max_source_length and "
            "max_target_length to 128 (half the activations)"
        )
    factor = next(divisor for divisor in range(2, batch + 1) if batch % divisor == 0)
    return batch // factor, accumulation * factor


def free_memory() -> None:
    """Gives back what the failed attempt held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
