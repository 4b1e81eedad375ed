"""Both stages in one folder: the tokenizer in RUN/tokenizer, the predictor on its tokens in RUN/predictor."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accelerate import PartialState
from transformers import set_seed

from ft_core.cli.settings import build_settings
from ft_core.hub.resolve import Start
from ft_core.io.console import echo
from ft_core.runs.folder import BEST_MODEL, mark_replaced, prepare_run_folder
from ft_core.training.run import preflight

from ..models.modeling_kronos import Kronos, KronosTokenizer
from ..training.predictor_arguments import STAGE_TYPES
from ..training.predictor_trainer import check_bits
from .predictor import run_predictor
from .routing import STAGES, read_finetune
from .start import build_network, check_context, resolve_start, start_config
from .tokenizer import run_tokenizer


@dataclass
class FinetuneSettings:
    """Settings of both stages, each a tuple of model, data, augmentation and training settings, and the run folder."""

    tokenizer: tuple
    predictor: tuple
    folder: Path


def parse_finetune(argv: Sequence[str]) -> FinetuneSettings:
    """Settings of both stages from one command line; every value is checked before anything runs.

    Raises:
        ValueError: as [`~kronos_ft.runs.routing.read_finetune`], or a value that a dataclass refuses.
    """
    folder, given = read_finetune(argv)
    return FinetuneSettings(*(build_settings(STAGE_TYPES[stage], given[stage]) for stage in STAGES), folder)


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
    starts = resolve_start(KronosTokenizer, first_model, first_args), resolve_start(Kronos, model, args)
    check_bits(start_config(Kronos, starts[1]), start_config(KronosTokenizer, starts[0]))
    if args.dry_run:
        return _run_stages(settings, *starts)
    with preflight(settings.folder, first_args, args):
        return _run_stages(settings, *starts)


def _run_stages(settings: FinetuneSettings, tokenizer: Start, predictor: Start) -> dict[str, dict] | None:
    """Runs both stages in a folder that this process has locked."""
    tokenizer_args, (model, *_, args) = settings.tokenizer[-1], settings.predictor
    PartialState().wait_for_everyone()  # all ranks must look before one of them starts to write

    def clear_predictor() -> None:
        """Removes the old predictor; otherwise an interruption could leave it next to a new tokenizer.

        The old tokenizer, which its own stage removes, is marked first: neither of them is continued after a kill.
        """
        if args.overwrite:
            if PartialState().is_main_process:
                mark_replaced(Path(tokenizer_args.output_dir))
            prepare_run_folder(Path(args.output_dir), resume=False, overwrite=True)

    echo("stage 1 of 2: tokenizer")
    first = run_tokenizer(*settings.tokenizer, start=tokenizer, checked=True, before_training=clear_predictor)
    echo("stage 2 of 2: predictor")
    if first is None:
        set_seed(tokenizer_args.seed)
        codes = build_network(KronosTokenizer, tokenizer)
        return run_predictor(*settings.predictor, start=predictor, checked=True, tokenizer=codes)
    if not first["improved"]:
        echo("WARNING     the tokenizer did not improve; to use the published tokenizer, run kronos-ft predictor")
    for each in (model, predictor.settings):
        each.tokenizer = str(Path(tokenizer_args.output_dir) / BEST_MODEL)
    return {"tokenizer": first, "predictor": run_predictor(*settings.predictor, start=predictor, checked=True)}
