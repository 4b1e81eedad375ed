"""mT5 runs, as a report reads them."""

from ft_core.report.views import WEIGHT_NORM, ZH_TITLES, Both, StageView

from ..runs.finish import PANELS
from ..training.arguments import MT5Arguments, MT5DataArguments, MT5ModelArguments
from ..training.presets import PRESETS
from .rules_text import RULES

MT5 = StageView(
    stage="mt5",
    title="mT5",
    primary="loss",
    signature="token_accuracy",
    terms=("loss", "token_accuracy", "rougeL"),
    panels=(*PANELS, WEIGHT_NORM),
    meanings=Both(
        "`loss`: cross-entropy of a target token in nats; `token_accuracy`: share of target tokens that are the "
        "likeliest; `rougeL`: longest common subsequence with the reference, 0 to 100.",
        "`loss`：目标词元的交叉熵（nat）；`token_accuracy`：最可能词元正确的比例；`rougeL`：与参考摘要的最长公共子序列，"
        "0 至 100。",
    ),
    zh_titles={
        **ZH_TITLES,
        "cross-entropy a target token, nats": "每个目标词元的交叉熵（nat）",
        "target tokens right": "目标词元正确的比例",
    },
    speed="target_tokens_per_second",
    usual_rates=(2e-5, 1e-3),
    command="mt5-ft train",
    rules=RULES,
    settings=lambda: ((MT5ModelArguments, MT5DataArguments, MT5Arguments), PRESETS),
)
VIEWS = (MT5,)
