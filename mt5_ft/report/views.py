"""mT5 runs, as a report reads them."""

from ft_core.report.views import WEIGHT_NORM, StageView

from ..runs.finish import PANELS
from ..training.arguments import MT5Arguments, MT5DataArguments, MT5ModelArguments
from ..training.presets import PRESETS
from .rules_text import RULES

# Learning rates from random weights: lowest, advised, highest. The lowest is five times the default of AdamW, which is
# for published weights; the advised one is that of docs/mt5.md for `--model small --from_scratch`.
UNTRAINED = (5e-4, 3e-3, 1e-2)
MT5 = StageView(
    stage="mt5",
    package="mt5_ft.report",
    primary="loss",
    signature="token_accuracy",
    terms=("loss", "token_accuracy", "rougeL"),
    panels=(*PANELS, WEIGHT_NORM),
    speed="target_tokens_per_second",
    usual_rates=(2e-5, 1e-3),
    untrained_rates=UNTRAINED,
    command="mt5-ft train",
    rules=RULES,
    settings=lambda: ((MT5ModelArguments, MT5DataArguments, MT5Arguments), PRESETS),
)
VIEWS = (MT5,)
