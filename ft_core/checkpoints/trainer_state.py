"""The `trainer_state.json` of a checkpoint, checked before transformers reads it without checks."""

from pathlib import Path
from typing import Annotated

import msgspec
from transformers import TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from ..io.formats import convert, read_json

Steps = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
MOST_BYTES = 2**28  # it holds the whole history of the run
REMEDY = "remove the checkpoint and continue with --resume from the one before"


class _State(msgspec.Struct, forbid_unknown_fields=True):
    """The fields of [`~transformers.TrainerState`] with the types that it writes."""

    global_step: Steps
    max_steps: Steps
    log_history: list[dict[str, object]]
    epoch: float | None = 0
    logging_steps: float | None = None
    eval_steps: float | None = None
    save_steps: float | None = None
    train_batch_size: int | None = None
    num_train_epochs: float = 0
    num_input_tokens_seen: int = 0
    total_flos: float = 0
    best_metric: float | None = None
    best_global_step: Steps | None = None
    best_model_checkpoint: str | None = None
    is_local_process_zero: bool = True
    is_world_process_zero: bool = True
    is_hyper_param_search: bool = False
    trial_name: str | None = None
    trial_params: dict[str, object] | None = None
    stateful_callbacks: dict[str, dict[str, object] | list[dict[str, object]]] | None = None


class _Entry(msgspec.Struct):
    step: Steps


def load_state(checkpoint: Path) -> TrainerState:
    """The state of the Trainer that wrote a checkpoint.

    Raises:
        ValueError: the file is missing or damaged, or has a field of another type.
    """
    path = checkpoint / TRAINER_STATE_NAME
    values = read_json(path, REMEDY, dict, most_bytes=MOST_BYTES)
    try:
        convert(values, _State)
        convert(values["log_history"], list[_Entry])
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {REMEDY}") from error
    return TrainerState(**values)
