"""The two kinds of Kronos runs, as a report reads them."""

from ft_core.report.views import WEIGHT_NORM, ZH_TITLES, Both, StageView
from ft_core.training.curves import Panel

from ..runs.both import STAGE_TYPES
from ..training.predictor_trainer import KronosTrainer
from ..training.presets import PREDICTOR_PRESETS, PRESETS
from ..training.tokenizer_trainer import KronosTokenizerTrainer
from .rules_codes import BEATS_FREQUENCIES, CODE_USAGE, CONDITIONING, EXPLAINED
from .rules_data import RULES as DATA_RULES

CODES = ("code_perplexity_s1", "code_perplexity_s2", "code_usage_s1", "code_usage_s2")
MEANINGS_OF_CODES = Both(
    "`recon_all`: mean squared error of the reconstruction from all codes; `recon_pre`: from the coarse code s1 "
    "alone; `commitment`: distance from the encoder's output to the chosen code; `entropy_sample`, "
    "`entropy_codebook`: entropy of one sample's codes and of the whole codebook; `bsq`: the quantiser's loss, from "
    "which the codebook's entropy is taken off; perplexity: the number of evenly used codes that would be as "
    "uncertain.",
    "`recon_all`：用全部码重建的均方误差；`recon_pre`：只用粗码 s1 重建；`commitment`：编码器输出与所选码的距离；"
    "`entropy_sample`、`entropy_codebook`：单样本、整个码本的熵；`bsq`：量化损失（减去码本熵奖励）；困惑度：等效使用的码数。",
)
MEANINGS_OF_TOKENS = Both(
    "`loss`: half the negative log-likelihood of a bar; `ce_s1`, `ce_s2`: cross-entropy of the coarse and of the fine "
    "token, in nats; perplexity: as many equally likely tokens as would be as uncertain.",
    "`loss`：每根 K 线负对数似然的一半；`ce_s1`、`ce_s2`：粗、细词元的交叉熵（nat）；困惑度：等效的等概率词元数。",
)
ZH_PANELS = {
    **ZH_TITLES,
    "reconstruction: mean squared error, normalised units": "重建：均方误差（归一化单位）",
    "objective: negative is normal, the codebook entropy is rewarded": "优化目标：码本熵有奖励，为负属正常",
    "entropies, nats": "熵（nat）",
    "codes in use: perplexity": "使用的码：困惑度",
    "codes in use: share of all": "使用的码：占全部码的比例",
    "loss: half the negative log-likelihood of a bar, nats": "损失：每根 K 线负对数似然的一半（nat）",
    "cross-entropy, nats: coarse token, fine token": "交叉熵（nat）：粗词元、细词元",
    "perplexity: codes to choose from, as it were": "困惑度：等效的候选码数",
    "accuracy of the likeliest token": "最可能词元的准确率",
}
TOKENIZER = StageView(
    stage="tokenizer",
    title=KronosTokenizerTrainer.title,
    zh_title="Kronos 分词器",
    primary="recon_all",
    signature="recon_all",
    in_nats=False,
    signed=("loss", "bsq"),
    terms=("recon_all", "recon_pre", "loss", "bsq", "commitment", "entropy_sample", "entropy_codebook"),
    panels=(
        *KronosTokenizerTrainer.panels,
        WEIGHT_NORM,
        Panel("codes in use: share of all", ("code_usage_s1", "code_usage_s2")),
    ),
    meanings=MEANINGS_OF_CODES,
    codes=CODES,
    zh_titles=ZH_PANELS,
    speed="bars_per_second",
    usual_rates=(1e-5, 5e-4),
    command="kronos-ft tokenizer",
    rules=(*DATA_RULES, EXPLAINED, CODE_USAGE),
    settings=lambda: (STAGE_TYPES["tokenizer"], PRESETS),
)
PREDICTOR = StageView(
    stage="predictor",
    title=KronosTrainer.title,
    zh_title="Kronos 预测器",
    primary="loss",
    signature="ce_s1",
    terms=KronosTrainer.summary_terms,
    panels=(*KronosTrainer.panels, WEIGHT_NORM),
    meanings=MEANINGS_OF_TOKENS,
    zh_titles=ZH_PANELS,
    speed="bars_per_second",
    usual_rates=(4e-6, 2e-4),
    command="kronos-ft predictor",
    rules=(*DATA_RULES, BEATS_FREQUENCIES, CONDITIONING),
    settings=lambda: (STAGE_TYPES["predictor"], PREDICTOR_PRESETS),
)
VIEWS = (TOKENIZER, PREDICTOR)
