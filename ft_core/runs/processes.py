"""Checks the number of processes and the precision of a run against the settings."""

import atexit
import logging
import os
from datetime import timedelta

import torch
from accelerate import PartialState

logger = logging.getLogger(__name__)

# what gloo says; NCCL has error types of its own
LOST_SIGNS = ("connection closed by peer", "connection reset by peer", "broken pipe", "timed out waiting", "gloo")


def process_group(timeout: timedelta | None = None) -> PartialState:
    """The distributed state; without an accelerator, Accelerate needs `cpu=True`.

    Args:
        timeout (`timedelta`, *optional*): how long a process waits for the others, if the group is not there yet.
    """
    waiting = {} if timeout is None else {"timeout": timeout}
    return PartialState(cpu=not torch.accelerator.is_available(), **waiting)


def _leave() -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def leave_group_at_exit() -> None:
    """Ends this process's part in the group when it exits, before its threads are torn down.

    Otherwise a process that has done its work can abort in its last moment ("terminate called without an active
    exception"), and its launcher then ends the others, which may still be writing.
    """
    atexit.unregister(_leave)  # once is enough
    atexit.register(_leave)


def check_world_size(expected: int | None) -> None:
    """Compares the processes that run with those that the launcher started and those that the user asked for.

    `accelerate launch --cpu --num_processes 2` silently runs one process, and `--multi_gpu` on CPU without
    `use_cpu=True` runs several trainings that never synchronise.

    Raises:
        ValueError: when the numbers differ.
    """
    running = PartialState().num_processes
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if launched != running:
        raise ValueError(
            f"the launcher started {launched} processes but {running} train together; on CPU, pass --use_cpu true so "
            "that they form one group"
        )
    if expected is not None and expected != running:
        raise ValueError(
            f"expected_world_size={expected} but {running} process{'es' * (running > 1)} run; on CPU, launch with "
            "'accelerate launch --config_file examples/accelerate/cpu_2.yaml' or torchrun, not with --cpu"
        )


def warn_of_ignored_sharding(uses_fsdp: bool) -> None:
    """Warns when FSDP was asked for and Accelerate trains without it, as it silently does on a CPU."""
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true" and not uses_fsdp:
        logger.warning("FSDP is not used on this device: every process holds the complete model (DDP)")


def check_precision(mixed_precision: str, device_type: str) -> None:
    """Rejects fp16 where training would silently use fp32.

    Raises:
        ValueError: for fp16 on a CPU.
    """
    if mixed_precision == "fp16" and device_type == "cpu":
        raise ValueError("mixed_precision=fp16 has no effect on a CPU; use bf16 or no mixed precision")


def lost_process(error: BaseException, world_size: int) -> str | None:
    """A message if an error means that another process of the run has ended or does not respond; else None."""
    if world_size == 1 or not isinstance(error, RuntimeError):
        return None
    text = str(error).lower()
    if isinstance(error, torch.distributed.DistError) or any(sign in text for sign in LOST_SIGNS):
        return f"another process of this run has ended or does not respond ({' '.join(str(error).split())[:160]})"
    return None
