"""Halves the batch when memory runs out in the first steps, keeping the effective batch."""

from collections.abc import Callable
from dataclasses import replace

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ft_core.io.console import echo
from ft_core.io.memory import free_memory, is_out_of_memory

from ..training.arguments import MT5Arguments
from ..training.trainer import MT5Trainer

FIRST_STEPS = 3
REMEDY = (
    "set trim_vocab true (a tenth of the vocabulary), lora true (gradients and optimizer state for 1 % of the "
    "parameters), optimizer adafactor (hardly any optimizer state), or max_source_length and max_target_length to 128 "
    "(half the activations)"
)


def smaller_batch(batch: int, accumulation: int) -> tuple[int, int]:
    """The next smaller batch with the same effective one: halved, or divided by its smallest factor.

    Raises:
        ValueError: at a batch of 1, with the three settings that would help.
    """
    if batch == 1:
        raise ValueError(f"out of memory at per_device_train_batch_size=1; {REMEDY}")
    factor = next(divisor for divisor in range(2, batch + 1) if batch % divisor == 0)
    return batch // factor, accumulation * factor


def smaller_settings(args: MT5Arguments, longest: int) -> tuple[dict[str, int], str]:
    """Settings of a smaller batch with the same effective batch, and a message.

    Args:
        args ([`MT5Arguments`]): settings that were too large.
        longest (`int`): source and target tokens of the longest record, which cannot be cut.

    Raises:
        ValueError: where batches are of one record, with the settings that would help.
    """
    if not args.tokens_per_batch:
        batch, accumulation = smaller_batch(args.per_device_train_batch_size, args.gradient_accumulation_steps)
        size = args.per_device_train_batch_size
        message = f"{size} records per batch: continuing with {batch} x {accumulation} accumulated"
        return {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}, message
    if args.tokens_per_batch <= longest:
        raise ValueError(
            f"out of memory at tokens_per_batch={args.tokens_per_batch}, one record of {longest} tokens; {REMEDY}"
        )
    tokens = max(args.tokens_per_batch // 2, longest)
    return {"tokens_per_batch": tokens}, f"{args.tokens_per_batch} tokens per batch: continuing with {tokens}"


class _Begun(TrainerCallback):
    """Where a training began, or None before it has."""

    def __init__(self):
        self.first_step: int | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self.first_step = state.global_step


def train_with_fitting_batch(
    build: Callable[[MT5Arguments], MT5Trainer],
    args: MT5Arguments,
    attempt: Callable[[MT5Trainer], None],
) -> MT5Trainer:
    """Attempts a run; when memory runs out before or in its first steps, starts it again with half the batch.

    Each attempt has a trainer of its own, from the first weights or from the checkpoint that is resumed. The one that
    failed is given up before the next is built, or both would have to fit.

    Args:
        build: makes a trainer from settings.
        args ([`MT5Arguments`]): settings of the first attempt.
        attempt: plans and trains.

    Raises:
        ValueError: out of memory later, in a step of one of several processes, or with one record at once.
    """
    while True:
        trainer, begun = build(args), _Begun()
        trainer.add_callback(begun)
        try:
            attempt(trainer)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            done = 0 if begun.first_step is None else trainer.state.global_step - begun.first_step
            agreed = args.world_size == 1 or begun.first_step is None  # in the plan, all processes fail together
            if not agreed or done > FIRST_STEPS:
                smaller, _ = smaller_settings(args, trainer.longest_record())
                setting = next(iter(smaller))
                flags = " ".join(f"--{name} {value}" for name, value in smaller.items())
                raise ValueError(
                    f"out of memory at step {trainer.state.global_step} with {setting}={getattr(args, setting)}; "
                    f"continue with --resume {flags}, the same effective batch"
                ) from error
        else:
            return trainer
        smaller, message = smaller_settings(args, trainer.longest_record())
        echo(f"out of memory with {message}, the same effective batch of {trainer.effective_batch()}")
        if begun.first_step == 0:  # this attempt's folder is not the user's; a resumed one is
            smaller |= {"resume": False, "resume_force": False, "overwrite": True}
        del trainer, begun
        free_memory()
        args = replace(args, **smaller)
