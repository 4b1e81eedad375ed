"""Hyperparameter search of tokenizer, predictor and quantile-head runs."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ft_core.io.console import echo
from ft_core.runs.folder import BEST_MODEL
from ft_core.sweep.stage import COMMON_FIXED, SweepStage

from ..data.candles import fingerprint
from ..models.modeling_kronos import Kronos, KronosTokenizer
from ..training.predictor_trainer import KronosTrainer
from ..training.presets import DEFAULT_PRESET, STAGE_PRESETS
from ..training.quantile_arguments import STAGE_TYPES
from ..training.tokenizer_trainer import KronosTokenizerTrainer
from ..training.window_trainer import WindowTrainer
from ..windows.augmentation import AugmentationArguments
from .data import WindowSplits, build_splits, describe_data, load_series
from .predictor import run_predictor
from .quantiles import run_quantiles
from .start import build_network, check_context, named_tokenizer, resolve_tokens
from .tokenizer import run_tokenizer

_SAME_WINDOWS = "all trials must use the same validation windows; run one sweep per value"
_SAME_TOKENS = "losses of different tokenizers cannot be compared; run one sweep per tokenizer"
VALIDATION_SETTINGS = (
    *("data", "policy", "timezone", "columns", "lookback_window", "predict_window", "validation_stride", "max_gap"),
    *("clip", "split_ratios", "split_dates", "embargo"),
)
FIXED = COMMON_FIXED | dict.fromkeys(VALIDATION_SETTINGS, _SAME_WINDOWS)


def check_windows(settings: tuple) -> str:
    """Reads the candles, prints a description, and returns their fingerprint."""
    data, args = settings[1], settings[-1]
    augmentation = settings[2] if len(settings) > 3 else AugmentationArguments()
    series = load_series(data)
    for line in describe_data(series, build_splits(series, data, augmentation, args.seed)):
        echo(line)
    return fingerprint(series)


def check_predictor(settings: tuple) -> str:
    """As [`check_windows`]; also checks that a window fits the model's context."""
    check_context(settings[0], settings[1])
    return check_windows(settings)


def tokens_of(settings: tuple) -> tuple[str, str]:
    """The tokenizer that defines the tokens of a predictor; the default depends on the model size."""
    return f"tokens of {named_tokenizer(settings[0])}", "pass --tokenizer for all trials"


def _score(settings: tuple, make: Callable[[object, WindowSplits], WindowTrainer]) -> dict[str, float] | None:
    """Terms of a model on the test split; None where it has no window."""
    _, data, augmentation, args = settings
    splits = build_splits(load_series(data), data, augmentation, args.seed)
    if splits.test is None:
        return None
    with tempfile.TemporaryDirectory() as folder:  # a Trainer creates its output folder
        args = replace(args, output_dir=folder, speed="exact", report_to=[])
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
            build_network(KronosTokenizer, resolve_tokens(settings[0], settings[-1])),
        ),
    )


def _stage(kind: str, run: Callable, **further: object) -> SweepStage:
    return SweepStage(
        command=f"kronos-ft {kind}",
        run=lambda settings, callbacks: run(*settings, callbacks=callbacks, score_test=False),
        types=STAGE_TYPES[kind],
        presets=STAGE_PRESETS[kind],
        default_preset=DEFAULT_PRESET,
        model_folder=BEST_MODEL,
        **further,
    )


def tokenizer_stage() -> SweepStage:
    """Runs of `kronos-ft tokenizer`."""
    return _stage("tokenizer", run_tokenizer, fixed=FIXED, check=check_windows, test=score_tokenizer)


def predictor_stage() -> SweepStage:
    """Runs of `kronos-ft predictor`."""
    fixed = FIXED | dict.fromkeys(("tokenizer", "tokenizer_revision"), _SAME_TOKENS)
    return _stage("predictor", run_predictor, fixed=fixed, check=check_predictor, ruler=tokens_of, test=score_predictor)


def check_quantiles(settings: tuple) -> str:
    """As [`check_windows`]; also checks that a window fits the body's context."""
    if settings[0].body != "none":
        check_context(settings[0], settings[1])
    return check_windows(settings)


def quantiles_stage() -> SweepStage:
    """Runs of `kronos-ft quantiles`; losses of different horizons or lookbacks cannot be compared."""
    return _stage("quantiles", run_quantiles, fixed=FIXED, check=check_quantiles)
