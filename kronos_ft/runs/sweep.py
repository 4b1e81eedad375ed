"""Hyperparameter search of tokenizer and predictor runs."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from transformers import TrainerCallback

from ft_core.io.console import echo
from ft_core.io.memory import free_memory
from ft_core.runs.folder import BEST_MODEL
from ft_core.sweep.stage import COMMON_FIXED, SweepStage

from ..data.candles import fingerprint
from ..models.modeling_kronos import Kronos, KronosTokenizer
from ..training.arguments import DataArguments, KronosTokenizerArguments, ModelArguments
from ..training.predictor_arguments import KronosArguments, PredictorModelArguments
from ..training.predictor_trainer import KronosTrainer
from ..training.presets import DEFAULT_PRESET, PREDICTOR_PRESETS, PRESETS
from ..training.tokenizer_trainer import KronosTokenizerTrainer
from ..training.window_trainer import WindowTrainer
from ..windows.augmentation import AugmentationArguments
from .data import WindowSplits, build_splits, describe_data, load_series
from .predictor import run_predictor
from .start import build_tokenizer, check_context, named_tokenizer, resolve_tokens
from .tokenizer import run_tokenizer

_SAME_WINDOWS = "all trials must use the same validation windows; run one sweep per value"
_SAME_TOKENS = "losses of different tokenizers cannot be compared; run one sweep per tokenizer"
VALIDATION_SETTINGS = (
    *("data", "policy", "timezone", "lookback_window", "predict_window", "validation_stride", "max_gap", "clip"),
    *("split_ratios", "split_dates", "embargo"),
)
FIXED = COMMON_FIXED | dict.fromkeys(VALIDATION_SETTINGS, _SAME_WINDOWS)


def _windows(settings: tuple) -> tuple[WindowSplits, str, list[str]]:
    """Windows of settings, the identity of their candles, and lines that describe them."""
    _, data, augmentation, args = settings
    series = load_series(data)
    splits = build_splits(series, data, augmentation, args.seed)
    return splits, fingerprint(series), describe_data(series, splits)


def check_windows(settings: tuple) -> str:
    """Reads the candles, prints a description, and returns their fingerprint."""
    _, digest, lines = _windows(settings)
    for line in lines:
        echo(line)
    return digest


def check_predictor(settings: tuple) -> str:
    """As [`check_windows`], after a look whether a window fits the model's context."""
    check_context(settings[0], settings[1])
    return check_windows(settings)


def tokens_of(settings: tuple) -> tuple[str, str]:
    """The tokenizer that defines the tokens of a predictor; the default depends on the model size."""
    return f"tokens of {named_tokenizer(settings[0])}", "pass --tokenizer for all trials"


def _score(settings: tuple, make: Callable[[object, WindowSplits], WindowTrainer]) -> dict[str, float] | None:
    """Terms of a model on the test split; None where it has no window."""
    splits, _, _ = _windows(settings)
    if splits.test is None:
        return None
    with tempfile.TemporaryDirectory() as folder:  # a Trainer creates its output folder
        args = replace(settings[-1], output_dir=folder, speed="exact", report_to=[])
        scores = make(args, splits).evaluate(splits.test, metric_key_prefix="test")
    return {name.removeprefix("test_"): value for name, value in scores.items()}


def score_tokenizer(settings: tuple, folder: Path) -> dict[str, float] | None:
    """Terms of a trained tokenizer on the test split."""
    return _score(
        settings,
        lambda args, splits: KronosTokenizerTrainer(
            KronosTokenizer.from_pretrained(folder), args, splits.train, splits.validation
        ),
    )


def score_predictor(settings: tuple, folder: Path) -> dict[str, float] | None:
    """Terms of a trained predictor on the test split."""
    return _score(
        settings,
        lambda args, splits: KronosTrainer(
            Kronos.from_pretrained(folder),
            replace(args, lora=False, lora_merge=False),  # the folder's adapters are on the model already
            splits.train,
            splits.validation,
            build_tokenizer(resolve_tokens(settings[0], settings[-1])),
        ),
    )


def run_tokenizer_trial(settings: tuple, callbacks: list[TrainerCallback]) -> None:
    """A tokenizer run as a trial."""
    free_memory()
    run_tokenizer(*settings, callbacks=callbacks, score_test=False)


def run_predictor_trial(settings: tuple, callbacks: list[TrainerCallback]) -> None:
    """A predictor run as a trial."""
    free_memory()
    run_predictor(*settings, callbacks=callbacks, score_test=False)


def tokenizer_stage() -> SweepStage:
    """Runs of `kronos-ft tokenizer`."""
    return SweepStage(
        command="kronos-ft tokenizer",
        types=(ModelArguments, DataArguments, AugmentationArguments, KronosTokenizerArguments),
        presets=PRESETS,
        default_preset=DEFAULT_PRESET,
        fixed=FIXED,
        model_folder=BEST_MODEL,
        run=run_tokenizer_trial,
        check=check_windows,
        test=score_tokenizer,
    )


def predictor_stage() -> SweepStage:
    """Runs of `kronos-ft predictor`."""
    return SweepStage(
        command="kronos-ft predictor",
        types=(PredictorModelArguments, DataArguments, AugmentationArguments, KronosArguments),
        presets=PREDICTOR_PRESETS,
        default_preset=DEFAULT_PRESET,
        fixed=FIXED | dict.fromkeys(("tokenizer", "tokenizer_revision"), _SAME_TOKENS),
        model_folder=BEST_MODEL,
        run=run_predictor_trial,
        check=check_predictor,
        ruler=tokens_of,
        test=score_predictor,
    )
