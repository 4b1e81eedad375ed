"""Hyperparameter search of mT5 runs. There is no test split, so the best trial is not evaluated again."""

from ft_core.io.console import echo
from ft_core.runs.folder import FINAL_MODEL
from ft_core.sweep.stage import COMMON_FIXED, SweepStage

from ..training.arguments import MT5Arguments, MT5DataArguments, MT5ModelArguments
from ..training.presets import DEFAULT_PRESET, PRESETS
from .data import content_digest, read_splits
from .run import run_training

_SAME_RECORDS = "all trials must use the same validation records and tokens; run one sweep per value"
_SAME_PIECES = "losses of different vocabularies cannot be compared; run one sweep per value"
FIXED = (
    COMMON_FIXED
    | dict.fromkeys(
        (
            *("data", "validation_data", "validation_share", "task", "source_fields", "target_fields", "policy"),
            *("prefix", "max_source_length", "max_target_length", "chinese", "eval_generate_rows"),
        ),
        _SAME_RECORDS,
    )
    | dict.fromkeys(("model", "from_scratch", "trim_vocab", "trim_languages", "trim_extra"), _SAME_PIECES)
)


def check_records(settings: tuple) -> str:
    """Reads the records and says how many there are; returns a hash of their texts."""
    _, data, args = settings
    train, validation = read_splits(data, args.seed)
    echo(f"records     {len(train):,} for training, {len(validation):,} for validation")
    return content_digest(train, validation)


def mt5_stage() -> SweepStage:
    """Runs of `mt5-ft train`."""
    return SweepStage(
        command="mt5-ft train",
        types=(MT5ModelArguments, MT5DataArguments, MT5Arguments),
        presets=PRESETS,
        default_preset=DEFAULT_PRESET,
        fixed=FIXED,
        model_folder=FINAL_MODEL,
        run=lambda settings, callbacks: run_training(*settings, callbacks=callbacks, score=False),
        check=check_records,
    )
