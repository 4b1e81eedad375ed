"""The kinds of Kronos runs, as a report reads them."""

from ft_core.report.views import WEIGHT_NORM, StageView
from ft_core.training.curves import Panel

from ..training.predictor_trainer import KronosTrainer
from ..training.presets import PREDICTOR_PRESETS, PRESETS, QUANTILE_PRESETS, UNTRAINED_RATES
from ..training.quantile_arguments import STAGE_TYPES
from ..training.quantile_trainer import KronosQuantileTrainer
from ..training.tokenizer_trainer import KronosTokenizerTrainer
from .rules_codes import beats_frequencies, code_usage, conditioning, explained
from .rules_data import RULES as DATA_RULES

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
    untrained_rates=UNTRAINED_RATES["tokenizer"],
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
    untrained_rates=UNTRAINED_RATES["predictor"],
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
