"""Out-of-memory errors: detection, remedy, and freeing the memory of finished runs."""

import gc

OUT_OF_MEMORY_MESSAGES = (
    *("can't allocate memory", "cannot allocate memory", "out of memory", "not enough memory"),
    "cublas_status_alloc_failed",
)
MEMORY_REMEDY = (
    "in training, lower per_device_train_batch_size and raise gradient_accumulation_steps by the same factor, or lower "
    "per_device_eval_batch_size; elsewhere, lower the number of paths, the lengths or batch_size"
)


def free_memory() -> None:
    """Frees the memory of finished runs on host and device. A Trainer is part of reference cycles, which
    only the garbage collector frees."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the device's or the host's memory ran out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, known without torch
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in OUT_OF_MEMORY_MESSAGES)
