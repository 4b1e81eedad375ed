"""Settings of transformers' Trainer that have no effect in this library's trainers, and what to use instead."""

import logging
import os

from transformers import TrainingArguments

logger = logging.getLogger(__name__)

# by name: the values that are accepted, and what to use instead of others
NoEffect = dict[str, tuple[tuple, str]]

# in all trainers
NOT_USED: NoEffect = {
    "average_tokens_across_devices": ((True,), "the loss is the mean over the samples of all processes; leave it on"),
    "save_only_model": (
        (False,),
        "a checkpoint without optimizer state cannot be resumed; final/ and best_model/ never contain it",
    ),
    "auto_find_batch_size": ((False,), "set per_device_train_batch_size and gradient_accumulation_steps"),
    "resume_from_checkpoint": ((None,), "set resume"),
    "do_predict": ((False,), "call trainer.predict after the training"),
    "label_names": ((None,), "the trainer knows the labels of its data; leave it out"),
    "remove_unused_columns": ((False,), "nothing has to be removed; leave it off"),
    "enable_jit_checkpoint": ((False,), "SIGTERM always saves a checkpoint before the run ends; leave it off"),
    "use_liger_kernel": ((False,), "Liger has no kernels for this model; leave it off"),
    "liger_kernel_config": ((None,), "Liger has no kernels for this model; leave it out"),
}


def check_no_effect(args: TrainingArguments, table: NoEffect) -> None:
    """Refuses what would be accepted and ignored.

    Raises:
        ValueError: a setting of the table has another value than those without effect, or `local_rank` contradicts
            the launcher.
    """
    for name, (accepted, remedy) in table.items():
        value = getattr(args, name)
        if not any(value is one or value == one for one in accepted):
            raise ValueError(f"{name}={getattr(value, 'value', value)} has no effect here: {remedy}")
    if args.do_eval and args.eval_strategy == "no":
        # not refused: a copy of settings with evaluations has do_eval, which follows from them
        logger.warning("do_eval=True is ignored because eval_strategy is no; set eval_strategy to steps or epoch")
    if args.local_rank not in (-1, int(os.environ.get("LOCAL_RANK", "-1"))):
        raise ValueError(
            f"local_rank={args.local_rank} has no effect here: start the processes with accelerate launch, which sets "
            "LOCAL_RANK"
        )
