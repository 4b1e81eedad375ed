"""`kronos-ft ui`: a web page with forecasts, evaluation and training report of a model."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ft_core.cli.options import ExactParser


def _parser() -> ExactParser:
    parser = ExactParser(
        prog="kronos-ft ui",
        description="Opens a local web page: candles, forecast paths, bands and actual values of a model, "
        "its evaluation and the report of its run. Needs the extra: pip install 'kronos-ft[ui]'.",
    )
    parser.add_argument(
        "model", metavar="RUN_OR_MODEL", help="run folder, model folder, Hub name, or mini, small, base"
    )
    parser.add_argument("--tokenizer", metavar="DIR", help="its tokenizer (default: the one it was trained with)")
    parser.add_argument("--data", metavar="FILE", help="candles to show, or 'sample' (default: those of the run)")
    parser.add_argument(
        "--evaluation", metavar="DIR", help="output folder of kronos-ft evaluate (default: one in the run)"
    )
    parser.add_argument("--lang", default="en", choices=["en", "zh"], help="language of the page (default en)")
    parser.add_argument("--device", help="cpu, cuda, ... (default: the accelerator if there is one)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1: this machine)")
    parser.add_argument("--port", type=int, default=7860, help="port; 0 selects a free one (default 7860)")
    parser.add_argument("--share", default="no", choices=["yes", "no"], help="public gradio link (default no)")
    return parser


def run_ui_command(argv: Sequence[str]) -> int:
    """`kronos-ft ui RUN_OR_MODEL`: everything is checked and loaded before the page opens."""
    options = _parser().parse_args(argv)
    from transformers.utils import logging

    from ..forecasting.networks import pairing_remark
    from ..models.found_model import find_model
    from ..models.identity import weights_hash
    from ..ui.candle_choice import CandleChoice
    from ..ui.evaluation_view import check_named, find_evaluation
    from ..ui.forecast_kinds import load_page_predictor
    from ..ui.server import check_address, serve, warnings_of
    from ..ui.words import words_of

    check_address(options.host, options.port)
    shown = find_model(options.model, options.tokenizer)
    evaluation = find_evaluation(shown, options.evaluation) if options.evaluation else None
    candles = CandleChoice.of(shown, options.data)
    if options.data is not None:
        candles.read(next(iter(candles.kinds())))  # what the command line names is refused there
    if find_spec("gradio") is None:
        raise ValueError("the page needs gradio, which is not installed; pip install 'kronos-ft[ui]'")
    logging.disable_progress_bar()
    predictor, missing = load_page_predictor(shown, options.device)
    if evaluation is not None:
        check_named(evaluation, shown, weights_hash(predictor.model))
    warning = pairing_remark(shown.model, shown.tokenizer, predictor.tokenizer)
    for line in [*(line for line in (warning, missing) if line), *warnings_of(options.host, options.share == "yes")]:
        print(f"WARNING     {line}", flush=True)

    def build(folder: Path) -> object:
        from ..ui.page import Page

        return Page(shown, predictor, candles, evaluation, words_of(options.lang), warning, folder).build()

    serve(build, options.host, options.port, options.share == "yes", lambda line: print(line, flush=True))
    return 0
