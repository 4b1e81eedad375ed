"""All stages in one folder: tokenizer in RUN/tokenizer, predictor in RUN/predictor, quantile head in RUN/quantiles."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from accelerate import PartialState
from transformers import set_seed

from ft_core.cli.settings import build_settings
from ft_core.hub.resolve import Start
from ft_core.io.console import echo
from ft_core.runs.folder import BEST_MODEL, mark_replaced, prepare_run_folder
from ft_core.training.run import preflight

from ..models.configuration_kronos import check_bits
from ..models.modeling_kronos import Kronos, KronosTokenizer
from ..training.quantile_arguments import STAGE_TYPES
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
    (first_model, *_, first_args), (model, data, _, args) = settings.tokenizer, settings.predictor
    check_context(model, data)
    starts = resolve_start(KronosTokenizer, first_model, first_args), resolve_start(Kronos, model, args)
    check_bits(start_config(Kronos, starts[1]), start_config(KronosTokenizer, starts[0]))
    if args.dry_run:
        return _run_stages(settings, *starts)
    with preflight(settings.folder, *(getattr(settings, stage)[-1] for stage in settings.stages())):
        return _run_stages(settings, *starts)


def _run_stages(settings: FinetuneSettings, tokenizer: Start, predictor: Start) -> dict[str, dict] | None:
    """Runs the stages in a folder that this process has locked."""
    tokenizer_args, (model, *_, args) = settings.tokenizer[-1], settings.predictor
    PartialState().wait_for_everyone()  # all ranks must look before one of them starts to write

    stages = settings.stages()

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
    first = run_tokenizer(*settings.tokenizer, start=tokenizer, checked=True, before_training=clear_later)
    begin("predictor")
    if first is None:
        set_seed(tokenizer_args.seed)
        codes = build_network(KronosTokenizer, tokenizer)
        run_predictor(*settings.predictor, start=predictor, checked=True, tokenizer=codes)
        if settings.quantiles is not None:  # its predictor is not trained yet: only data and windows are checked
            begin("quantiles")
            head, *others = settings.quantiles
            run_quantiles(replace(head, body="none"), *others, checked=True)
        return None
    if not first["improved"]:
        echo("WARNING     the tokenizer did not improve; to use the published tokenizer, run kronos-ft predictor")
    for each in (model, predictor.settings):
        each.tokenizer = str(Path(tokenizer_args.output_dir) / BEST_MODEL)
    found = {"tokenizer": first, "predictor": run_predictor(*settings.predictor, start=predictor, checked=True)}
    if settings.quantiles is not None:
        begin("quantiles")
        settings.quantiles[0].model = str(Path(args.output_dir) / BEST_MODEL)
        settings.quantiles[0].tokenizer = str(Path(tokenizer_args.output_dir) / BEST_MODEL)
        found["quantiles"] = run_quantiles(*settings.quantiles, checked=True)
    data = settings.predictor[1].data
    echo(f"next        kronos-ft forecast --model {settings.folder} --data {data if data != 'sample' else 'FILE'}")
    return found
