"""Rules on the tokenizer's codes and the predictor's tokens."""

import math

from ft_core.report.facts import RunFacts
from ft_core.report.rules import MODEL, Outcome, Rule, number, ok, problem, watch
from ft_core.report.trends import best

EXPLAINED_LIMITS = (0.5, 0.8)  # of the variance: problem below the first, watch below the second
COLLAPSED, FEW_CODES = 4.0, 12.0  # perplexity
LOST_SHARE = 0.4
FEW_SHARE = 0.25  # of all codes


def explained(facts: RunFacts) -> Outcome | None:
    """The reconstruction's error beside that of an answer of 0 everywhere."""
    level, found = facts.observed_number("validation", "inputs", "mean_square"), best(facts.trained_evaluations)
    if not level or found is None:
        return None
    share = 1 - found[1] / level
    figure = f"eval_recon_all {number(found[1])} against {number(level)} of a constant ({share:.1%})".replace("%", " %")
    values = {"share": f"{max(share, 0.0):.0%}".replace("%", " %")}
    problem_below, watch_below = EXPLAINED_LIMITS
    return Outcome("little" if share < problem_below else "some" if share < watch_below else "most", figure, values)


def code_usage(facts: RunFacts) -> Outcome | None:
    """How many codes validation uses, as if all were equally frequent."""
    found = {name: facts.evaluated(f"code_perplexity_{name}") for name in ("s1", "s2")}
    if not all(len(curve) for curve in found.values()):
        return None
    shares = {name: facts.last(f"code_usage_{name}") or 0.0 for name in found}
    figure = ", ".join(
        f"{name} perplexity {number(curve.values[0])} -> {number(curve.values[-1])} ({shares[name]:.1%} of codes)"
        for name, curve in found.items()
    ).replace("%", " %")
    last = min(curve.values[-1] for curve in found.values())
    values = {"codes": f"{last:.1f}"}
    bits = min(int(facts.observed_number("config", f"{name}_bits") or 10) for name in found)
    few = min(FEW_CODES, FEW_SHARE * 2**bits)  # of a small codebook no large number can be had
    if last < min(COLLAPSED, few):
        rate = facts.amount("learning_rate")
        return Outcome("collapsed", figure, values, {"learning_rate": rate / 3} if rate else {})
    lost = min(curve.values[-1] / curve.values[0] for curve in found.values() if curve.values[0] > 0)
    if lost < LOST_SHARE and last < few:
        return Outcome("shrinks", figure, values)
    return Outcome("few" if last < few else "many", figure, values)


def beats_frequencies(facts: RunFacts) -> Outcome | None:
    """Cross-entropy of both tokens beside that of knowing only how frequent tokens are."""
    found, parts = {}, []
    for name in ("s1", "s2"):
        entropy, curve = facts.observed_number("token_entropy", name), facts.evaluated(f"ce_{name}")
        if entropy is None or not len(curve):
            return None
        found[name] = curve.values[-1] - entropy
        parts.append(
            f"ce_{name} {number(curve.values[-1])} (perplexity {math.exp(curve.values[-1]):.1f}) against "
            f"{number(entropy)} ({math.exp(entropy):.1f})"
        )
    total = sum(found.values())
    values = {"gain": number(-total)}
    return Outcome("beats" if total < 0 else "does_not", ", ".join(parts), values)


def conditioning(facts: RunFacts) -> Outcome | None:
    """Which coarse token the fine one is trained on."""
    kind = facts.setting("s1_conditioning")
    if not isinstance(kind, str):
        return None
    figure = f"s1_conditioning {kind}"
    return Outcome("true", figure) if kind == "true" else Outcome("sampled", figure, {}, {"s1_conditioning": "true"})


EXPLAINED = Rule(
    "explained",
    MODEL,
    "Does the reconstruction beat a constant?",
    "重建优于常数吗？",
    explained,
    {
        "most": ok(
            "{share} of the variance of the candles survives the round trip.",
            "K 线方差的 {share} 在编码解码后得以保留。",
        ),
        "some": watch(
            "{share} of the variance of the candles survives: much of their shape is lost.",
            "K 线方差只保留了 {share}：形态损失较多。",
        ),
        "little": problem(
            "only {share} of the variance of the candles survives: this tokenizer is hardly better than "
            "drawing the mean.",
            "K 线方差只保留了 {share}：该分词器几乎不比画一条均值线好。",
        ),
    },
    ("the size of the targets or the validation error is not recorded", "没有记录目标尺度或验证误差"),
    zh_figure=((r"against (\S+) of a constant", r"对比常数 \1"),),
)
CODE_USAGE = Rule(
    "code-usage",
    MODEL,
    "Are the codes used?",
    "码本利用充分吗？",
    code_usage,
    {
        "many": ok("candles are told apart by many codes.", "K 线由许多不同的码表示。"),
        "few": watch(
            "candles share about {codes} codes: few for their variety.", "K 线只用了约 {codes} 个码：相对其多样性偏少。"
        ),
        "shrinks": watch(
            "codes fell out of use during training; about {codes} are left.",
            "训练过程中许多码不再使用，只剩约 {codes} 个。",
        ),
        "collapsed": problem(
            "the codebook has collapsed to about {codes} codes: all candles look alike to it.",
            "码本塌缩到约 {codes} 个码：所有 K 线在它看来都一样。",
        ),
    },
    ("code usage was not logged", "没有记录码本使用情况"),
    zh_figure=(
        (r"perplexity", r"困惑度"),
        (r"\((\S+ %) of codes\)", r"（占全部码的 \1）"),
    ),
)
BEATS_FREQUENCIES = Rule(
    "beats-frequencies",
    MODEL,
    "Does it know more than how frequent tokens are?",
    "它知道的比词元频率更多吗？",
    beats_frequencies,
    {
        "beats": ok("{gain} nats a bar better than token frequencies alone.", "每根 K 线比仅知词元频率好 {gain} nat。"),
        "does_not": problem(
            "no better than token frequencies alone: it has learnt nothing of what follows what.",
            "不比仅知词元频率好：没有学到前后关系。",
        ),
    },
    ("the frequencies of tokens or the cross-entropies are not recorded", "没有记录词元频率或交叉熵"),
    zh_figure=(
        (r"\(perplexity (\S+)\)", r"（困惑度 \1）"),
        (r"against", r"对比"),
    ),
)
CONDITIONING = Rule(
    "conditioning",
    MODEL,
    "Is the fine token trained on the true coarse one?",
    "细粒度词元以真实的粗粒度词元为条件吗？",
    conditioning,
    {
        "true": ok(
            "the fine token learns to depend on the coarse one that belongs to it.",
            "细粒度词元学习依赖与其对应的粗粒度词元。",
        ),
        "sampled": problem(
            "the coarse token is drawn from the model while the target belongs to the true one: the fine "
            "token learns to "
            "ignore it.",
            "粗粒度词元由模型抽样，而目标属于真实词元：细粒度词元会学会忽略它。",
        ),
    },
    ("it is not recorded", "没有记录"),
)
