"""The kinds of Kronos runs, as a report reads them."""

from ft_core.report.views import WEIGHT_NORM, StageView
from ft_core.training.curves import Panel

from ..training.predictor_trainer import KronosTrainer
from ..training.presets import PREDICTOR_PRESETS, PRESETS, QUANTILE_PRESETS
from ..training.quantile_arguments import STAGE_TYPES
from ..training.quantile_trainer import KronosQuantileTrainer
from ..training.tokenizer_trainer import KronosTokenizerTrainer
from .rules_codes import beats_frequencies, code_usage, conditioning, explained
from .rules_data import RULES as DATA_RULES

# Learning rates from random weights: lowest, advised, highest. There is nothing to unlearn, so the range begins where
# that of published weights ends, at 2.5 (tokenizer) and 5 times (predictor) the rate of the published recipe: 314 steps
# of a tiny predictor do not beat the frequencies of tokens at 4e-5, but do at 2e-4, and by twice as much at 1e-3. The
# highest is the best rate of AdamW for tiny models after only 300 steps, and that of preset `best` (docs/find-lr.md).
UNTRAINED_TOKENIZER, UNTRAINED_PREDICTOR = (5e-4, 1e-3, 1e-2), (2e-4, 1e-3, 1e-2)
CODES = ("code_perplexity_s1", "code_perplexity_s2", "code_usage_s1", "code_usage_s2")
TOKENIZER = StageView(
    stage="tokenizer",
    package="kronos_ft.report",
    primary="recon_all",
    signature="recon_all",
    in_nats=False,
    signed=("loss", "bsq"),
    terms=("recon_all", "recon_pre", "loss", "bsq", "commitment", "entropy_sample", "entropy_codebook"),
    panels=(
        *KronosTokenizerTrainer.panels,
        WEIGHT_NORM,
        Panel("code usage: share of all", ("code_usage_s1", "code_usage_s2")),
    ),
    codes=CODES,
    speed="bars_per_second",
    usual_rates=(1e-5, 5e-4),
    untrained_rates=UNTRAINED_TOKENIZER,
    command="kronos-ft tokenizer",
    rules=(*DATA_RULES, explained, code_usage),
    settings=lambda: (STAGE_TYPES["tokenizer"], PRESETS),
)
PREDICTOR = StageView(
    stage="predictor",
    package="kronos_ft.report",
    primary="loss",
    signature="ce_s1",
    terms=KronosTrainer.summary_terms,
    panels=(*KronosTrainer.panels, WEIGHT_NORM),
    speed="bars_per_second",
    usual_rates=(4e-6, 2e-4),
    untrained_rates=UNTRAINED_PREDICTOR,
    command="kronos-ft predictor",
    rules=(*DATA_RULES, beats_frequencies, conditioning),
    settings=lambda: (STAGE_TYPES["predictor"], PREDICTOR_PRESETS),
)
QUANTILES = StageView(
    stage="quantiles",
    package="kronos_ft.report",
    primary="loss",
    signature="pinball_close",
    in_nats=False,
    sense="sense_pinball",
    terms=KronosQuantileTrainer.summary_terms,
    panels=(*KronosQuantileTrainer.panels, WEIGHT_NORM),
    speed="bars_per_second",
    usual_rates=(1e-4, 5e-3),
    command="kronos-ft quantiles",
    rules=DATA_RULES,
    settings=lambda: (STAGE_TYPES["quantiles"], QUANTILE_PRESETS),
)
VIEWS = (TOKENIZER, PREDICTOR, QUANTILES)
