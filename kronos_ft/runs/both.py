"""All stages in one folder: tokenizer in RUN/tokenizer, predictor in RUN/predictor, quantile head in RUN/quantiles."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from accelerate import PartialState
from transformers import set_seed

from ft_core.cli.settings import build_settings
from ft_core.hub.resolve import Start
from ft_core.io.console import echo
from ft_core.runs.folder import BEST_MODEL, mark_replaced, prepare_run_folder
from ft_core.training.budget.choice import StageCost
from ft_core.training.run import preflight

from ..models.configuration_kronos import check_bits
from ..models.modeling_kronos import Kronos, KronosTokenizer
from ..training.arguments import DataArguments
from ..training.quantile_arguments import STAGE_TYPES
from .budget import settle_stages
from .data import build_splits, load_series
from .predictor import run_predictor
from .quantiles import run_quantiles
from .routing import STAGES, read_finetune
from .start import build_network, check_context, resolve_start, start_config
from .tokenizer import run_tokenizer


@dataclass
class FinetuneSettings:
    """Settings of the stages, each a tuple as in `STAGE_TYPES`, and the run folder; `quantiles` only if asked for."""

    tokenizer: tuple
    predictor: tuple
    folder: Path
    quantiles: tuple | None = None

    def stages(self) -> list[str]:
        """The stages that are run, in order."""
        return [stage for stage in STAGES if getattr(self, stage) is not None]


def parse_finetune(argv: Sequence[str]) -> FinetuneSettings:
    """Settings of all stages from one command line; every value is checked before anything runs.

    Raises:
        ValueError: as [`~kronos_ft.runs.routing.read_finetune`], or a value that a dataclass refuses.
    """
    folder, given = read_finetune(argv)
    built = {stage: build_settings(STAGE_TYPES[stage], values) for stage, values in given.items()}
    for stage, settings in built.items():
        if settings[-1].run_name:  # trackers would show the stages as one run
            settings[-1].run_name += f"-{stage}"
    return FinetuneSettings(**built, folder=folder)


def run_finetune(settings: FinetuneSettings) -> dict[str, dict] | None:
    """Fine-tunes a tokenizer, then a predictor on the tokens of its best model, then, if asked for, a quantile head.

    `resume` continues in the stage that was interrupted; a finished one is not repeated.

    Args:
        settings ([`FinetuneSettings`]): from [`parse_finetune`].

    Returns:
        `dict`: the figures of each stage, or None after a dry run.

    Raises:
        ValueError: settings, data or models that cannot be used, or that do not fit each other.
    """
    model, data, _, args = settings.predictor
    check_context(model, data)
    starts = _resolve_starts(settings)
    if args.dry_run:
        return _run_stages(settings, *starts)
    with preflight(settings.folder, *(getattr(settings, stage)[-1] for stage in settings.stages())):
        _check_windows(settings)
        return _run_stages(settings, *starts)


def _check_windows(settings: FinetuneSettings) -> None:
    """Raises ValueError if a later stage, whose windows differ from those of the first, has none."""
    first, augmentation, args = settings.tokenizer[1:]
    for stage in settings.stages()[1:]:
        data = getattr(settings, stage)[1]
        if data.window_shape(1) != first.window_shape(1):
            try:
                build_splits(load_series(data), data, augmentation, args.seed)
            except ValueError as error:
                raise ValueError(f"{stage}: {error}") from None


def _resolve_starts(settings: FinetuneSettings) -> tuple[Start, Start]:
    """The models that both stages start from, which must fit each other."""
    tokenizer = resolve_start(KronosTokenizer, settings.tokenizer[0], settings.tokenizer[-1])
    predictor = resolve_start(Kronos, settings.predictor[0], settings.predictor[-1])
    check_bits(start_config(Kronos, predictor), start_config(KronosTokenizer, tokenizer))
    return tokenizer, predictor


def _measure(settings: FinetuneSettings, stage: str) -> StageCost:
    """What a stage costs; the later ones are measured on the weights that the earlier ones start from."""
    tokenizer, predictor = _resolve_starts(settings)
    if stage == "tokenizer":
        return run_tokenizer(*settings.tokenizer, start=tokenizer, only_cost=True)
    set_seed(settings.tokenizer[-1].seed)
    fixed = {"start": predictor, "tokenizer": build_network(KronosTokenizer, tokenizer)}
    if stage == "predictor":
        return run_predictor(*settings.predictor, **fixed, only_cost=True)
    return run_quantiles(*_untrained_head(settings), **fixed, only_cost=True)


def _untrained_head(settings: FinetuneSettings) -> tuple:
    """Settings of the quantile head before its predictor is trained."""
    head, *others = settings.quantiles
    return replace(head, model=settings.predictor[0].model), *others


def _run_stages(settings: FinetuneSettings, tokenizer: Start, predictor: Start) -> dict[str, dict] | None:
    """Runs the stages in a folder that this process has locked."""
    tokenizer_args, (model, *_, args) = settings.tokenizer[-1], settings.predictor
    PartialState().wait_for_everyone()  # all ranks must look before one of them starts to write

    stages = settings.stages()
    everything = {stage: getattr(settings, stage) for stage in stages}
    budget = settle_stages(everything, Path(tokenizer_args.output_dir), lambda stage: _measure(settings, stage))
    if budget:  # sizes may have changed
        tokenizer, predictor = _resolve_starts(settings)
    given = {"checked": True, "budget": budget}

    def clear_later() -> None:
        """Removes the old predictor and head; otherwise an interruption could leave them next to a new tokenizer.

        The old tokenizer, which its own stage removes, is marked first: none of them is continued after a kill.
        """
        if args.overwrite:
            if PartialState().is_main_process:
                mark_replaced(Path(tokenizer_args.output_dir))
            for stage in STAGES[1:]:
                if stage in stages or (settings.folder / stage).is_dir():
                    prepare_run_folder(settings.folder / stage, resume=False, overwrite=True)

    def begin(stage: str) -> None:
        echo(f"stage {stages.index(stage) + 1} of {len(stages)}: {stage}")

    begin("tokenizer")
    first = run_tokenizer(*settings.tokenizer, start=tokenizer, before_training=clear_later, **given)
    begin("predictor")
    if first is None:
        set_seed(tokenizer_args.seed)
        codes = build_network(KronosTokenizer, tokenizer)
        run_predictor(*settings.predictor, start=predictor, tokenizer=codes, **given)
        if settings.quantiles is not None:
            begin("quantiles")
            run_quantiles(*_untrained_head(settings), start=predictor, tokenizer=codes, **given)
        return None
    if not first["improved"]:
        echo("WARNING     the tokenizer did not improve; to use the published tokenizer, run kronos-ft predictor")
    for each in (model, predictor.settings):
        each.tokenizer = str(Path(tokenizer_args.output_dir) / BEST_MODEL)
    found = {"tokenizer": first, "predictor": run_predictor(*settings.predictor, start=predictor, **given)}
    if settings.quantiles is not None:
        begin("quantiles")
        settings.quantiles[0].model = str(Path(args.output_dir) / BEST_MODEL)
        settings.quantiles[0].tokenizer = str(Path(tokenizer_args.output_dir) / BEST_MODEL)
        found["quantiles"] = run_quantiles(*settings.quantiles, **given)
    echo(f"next        kronos-ft forecast --model {settings.folder} --data {data_words(settings.predictor[1])}")
    return found


def data_words(data: DataArguments) -> str:
    """The data of a run as words of the next command: the source, and how it is read unless that is the default."""
    usual = DataArguments(data.data)
    names = [name for name in ("columns", "timezone", "policy") if getattr(data, name) != getattr(usual, name)]
    words = [data.data if data.data != "sample" else "FILE"]
    for name in names:
        words += [f"--{name}", str(getattr(data, name))]
    return shlex.join(words)
