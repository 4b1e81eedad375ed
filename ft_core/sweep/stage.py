"""The interface between a search and its runs; each package implements it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from transformers import TrainerCallback

# settings of the search's folder, not of a trial
HOUSEKEEPING = ("output_dir", "resume", "overwrite", "resume_force", "overwrite_lock", "dry_run")
_SAME_SEED = "a seed is not a hyperparameter; use --repeat_best to measure the spread over seeds"
_ONE_METRIC = "all trials are compared by one metric; pass it as --objective"
_NO_RECIPE = "it does not change the result; remove it"
_SAME_STEPS = "trials are pruned by comparing evaluation with evaluation; pass it for all trials on the command line"
COMMON_FIXED: dict[str, str] = {
    **dict.fromkeys(HOUSEKEEPING, "it belongs to the search; pass it on the command line"),
    **dict.fromkeys(("seed", "data_seed"), _SAME_SEED),
    **dict.fromkeys(("metric_for_best_model", "greater_is_better"), _ONE_METRIC),
    **dict.fromkeys(("push_to_hub", "hub_model_id", "hub_token", "hub_strategy", "hub_revision"), _NO_RECIPE),
    **dict.fromkeys(("hub_private_repo", "hub_always_push", "run_name", "local_rank"), _NO_RECIPE),
    "expected_world_size": _NO_RECIPE,
    **dict.fromkeys(("eval_strategy", "eval_steps", "eval_delay", "logging_steps"), _SAME_STEPS),
}


@dataclass(frozen=True)
class SweepStage:
    """A kind of run to search over.

    Attributes:
        command (`str`): the command that trains one such run, such as `kronos-ft tokenizer`.
        types: dataclasses of its settings; the last one holds the training settings.
        presets, default_preset: its named recipes.
        fixed: settings that a search must not change, each with the reason.
        model_folder (`str`): folder of a run's best model.
        run: trains from settings to run folder, with callbacks added; leaves the test split alone.
        check: reads the data of settings and returns their identity; raises ValueError where they cannot be used.
        ruler (*optional*): what the objective depends on besides the trial, such as the tokenizer, and the remedy if it
        differs between trials.
        test (*optional*): metrics of a run's model on the test split, or None without one.
    """

    command: str
    types: tuple[type, ...]
    presets: Mapping[str, Mapping[str, object]]
    default_preset: str
    fixed: Mapping[str, str]
    model_folder: str
    run: Callable[[tuple, list[TrainerCallback]], object]
    check: Callable[[tuple], str]
    ruler: Callable[[tuple], tuple[str, str]] | None = None
    test: Callable[[tuple, Path], dict[str, float] | None] | None = None


# a function without arguments, importable by name, so that workers can create the stage
MakeStage = Callable[[], SweepStage]
