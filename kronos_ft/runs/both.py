"""Both stages in one folder: the tokenizer into RUN/tokenizer, the predictor on its tokens into RUN/predictor.

One surface of settings: a name goes to every stage that has it; with the prefix `tokenizer_` or `predictor_` to that
stage alone, whatever the order. `model` is the predictor's and `tokenizer` names the tokenizer to start from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from accelerate import PartialState
from transformers import set_seed

from ft_core.cli.settings import as_words, field_names, nearest_name, parse_settings, read_words
from ft_core.io.console import echo
from ft_core.runs.folder import BEST_MODEL, prepare_run_folder
from ft_core.training.run import preflight

from ..training.arguments import DataArguments, KronosTokenizerArguments, ModelArguments
from ..training.predictor_arguments import KronosArguments, PredictorModelArguments
from ..training.predictor_trainer import check_bits
from ..training.presets import DEFAULT_PRESET, PREDICTOR_PRESETS, PRESETS
from ..windows.augmentation import AugmentationArguments
from .predictor import train_predictor
from .start import (
    Start,
    build_tokenizer,
    check_context,
    predictor_config,
    resolve_predictor,
    resolve_tokenizer,
    tokenizer_config,
)
from .tokenizer import train_tokenizer

STAGES = ("tokenizer", "predictor")
STAGE_TYPES = {
    "tokenizer": (ModelArguments, DataArguments, AugmentationArguments, KronosTokenizerArguments),
    "predictor": (PredictorModelArguments, DataArguments, AugmentationArguments, KronosArguments),
}
DEFAULT_FOLDER = "runs/finetune"


@dataclass
class FinetuneSettings:
    """Settings of both stages, each a tuple of model, data, augmentation and training settings, and the run folder."""

    tokenizer: tuple
    predictor: tuple
    folder: Path


def route_settings(values: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """Named settings of each stage from settings of both.

    Raises:
        ValueError: a name that no stage has, or that may not differ between them.
    """
    known = {stage: {*field_names(types), "preset"} for stage, types in STAGE_TYPES.items()}
    shared: dict[str, dict[str, object]] = {stage: {} for stage in STAGES}
    own: dict[str, dict[str, object]] = {stage: {} for stage in STAGES}
    for name, value in values.items():
        stage = next((stage for stage in STAGES if name.startswith(f"{stage}_")), None)
        if stage is not None:
            bare = name.removeprefix(f"{stage}_")
            if bare not in known[stage] or bare in ("output_dir", "resume", "overwrite", "dry_run", "tokenizer"):
                raise ValueError(
                    f"--{name} is not a setting of the {stage} stage; {nearest_name(bare, sorted(known[stage]))}"
                )
            own[stage][bare] = value
        elif name == "tokenizer":
            shared["tokenizer"]["model"] = value
        elif name in ("model", "revision"):
            shared["predictor"][name] = value
        elif name == "hub_model_id":  # two models are two repositories
            for each in STAGES:
                shared[each][name] = _with_suffix(value, each)
        elif not any(name in names for names in known.values()):
            raise ValueError(f"--{name} is not a setting; {nearest_name(name, sorted(set.union(*known.values())))}")
        else:
            for each in STAGES:
                if name in known[each]:
                    shared[each][name] = value
    return {stage: shared[stage] | own[stage] for stage in STAGES}


def _with_suffix(value: object, stage: str) -> object:
    """`owner/name` as `owner/name-STAGE`, as a word or a list of one."""
    return [f"{one}-{stage}" for one in value] if isinstance(value, list) else f"{value}-{stage}"


def parse_finetune(words: Sequence[str]) -> FinetuneSettings:
    """Settings of both stages from one command line; every value is checked before anything runs.

    Raises:
        ValueError: as [`parse_settings`], and for names that no stage has.
    """
    values = read_words(words)
    folder = values.pop("output_dir", [DEFAULT_FOLDER])
    folder = Path(folder[0] if isinstance(folder, list) and folder else str(folder))
    parsed = {}
    for stage, settings in route_settings(values).items():
        types = STAGE_TYPES[stage]
        known = [*field_names(types), "preset"]
        text = as_words({name: value for name, value in settings.items() if value != []}, known, "finetune")
        flags = [f"--{name}" for name, value in settings.items() if value == []]
        parsed[stage] = parse_settings(
            types,
            [f"--output_dir={folder / stage}", *text, *flags],
            presets=PRESETS if stage == "tokenizer" else PREDICTOR_PRESETS,
            default_preset=DEFAULT_PRESET,
            program="kronos-ft finetune",
        )
    return FinetuneSettings(parsed["tokenizer"], parsed["predictor"], folder)


def run_finetune(settings: FinetuneSettings) -> dict[str, dict] | None:
    """Fine-tunes a tokenizer, then a predictor on the tokens of its best model.

    `resume` continues in the stage that was interrupted; a finished one is not repeated.

    Args:
        settings ([`FinetuneSettings`]): from [`parse_finetune`].

    Returns:
        `dict`: the figures of each stage, or None after a dry run.

    Raises:
        ValueError: settings, data or models that cannot be used, or that do not fit each other.
    """
    (first_model, *_, first_args), (model, data, _, args) = settings.tokenizer, settings.predictor
    check_context(model, data)
    starts = resolve_tokenizer(first_model, first_args), resolve_predictor(model, args)
    check_bits(predictor_config(starts[1]), tokenizer_config(starts[0]))
    if args.dry_run:
        return _run_stages(settings, *starts)
    with preflight(settings.folder, first_args, args):
        return _run_stages(settings, *starts)


def _run_stages(settings: FinetuneSettings, tokenizer: Start, predictor: Start) -> dict[str, dict] | None:
    """Both stages, in a folder that is this process's."""
    tokenizer_args, (model, data, augmentation, args) = settings.tokenizer[-1], settings.predictor
    PartialState().wait_for_everyone()  # no rank may look after another has begun to write

    def clear_predictor() -> None:
        """Or an interruption would leave the old predictor beside the new tokenizer."""
        if args.overwrite:
            prepare_run_folder(Path(args.output_dir), resume=False, overwrite=True)

    echo("stage 1 of 2: tokenizer")
    first = train_tokenizer(*settings.tokenizer, start=tokenizer, before_training=clear_predictor)
    echo("stage 2 of 2: predictor")
    if first is None:
        set_seed(tokenizer_args.seed)
        codes = build_tokenizer(tokenizer)
        return train_predictor(model, data, augmentation, args, start=predictor, tokenizer=codes)
    if not first["improved"]:
        echo("WARNING     the tokenizer is not better than at its start; kronos-ft predictor takes the published one")
    for each in (model, predictor.settings):
        each.tokenizer = str(Path(tokenizer_args.output_dir) / BEST_MODEL)
    return {"tokenizer": first, "predictor": train_predictor(model, data, augmentation, args, start=predictor)}
