"""Rules on the tokenizer's codes and the predictor's tokens."""

import math

from ft_core.report.answers import MODEL, Outcome, Rule, number, ok, problem, watch
from ft_core.report.facts import RunFacts
from ft_core.report.trends import best

EXPLAINED_LIMITS = (0.05, 0.5, 0.8)  # of the variance: nothing, problem, watch below them
COLLAPSED, FEW_CODES = 4.0, 12.0  # perplexity
LOST_SHARE = 0.4
FEW_SHARE = 0.2  # of all codes
MARGIN = 0.02  # nats that count


def explained(facts: RunFacts) -> Outcome | None:
    """The reconstruction's error beside that of an answer of 0 everywhere."""
    level, found = facts.observed_number("validation", "inputs", "mean_square"), best(facts.trained_evaluations)
    if not level or found is None:
        return None
    share = 1 - found[1] / level
    figure = f"eval_recon_all {number(found[1])} against {number(level)} of answering 0 ({share:.1%})".replace(
        "%", " %"
    )
    values = {"share": f"{max(share, 0.0):.0%}".replace("%", " %"), "error": number(found[1]), "level": number(level)}
    for limit, case in zip(EXPLAINED_LIMITS, ("nothing", "little", "some"), strict=True):
        if share < limit:
            return Outcome(case, figure, values)
    return Outcome("most", figure, values)


def code_usage(facts: RunFacts) -> Outcome | None:
    """How many codes validation uses, as if all were equally frequent."""
    found = {name: facts.evaluated(f"code_perplexity_{name}") for name in ("s1", "s2")}
    if not all(len(curve) for curve in found.values()):
        return None
    shares = {name: facts.last(f"code_usage_{name}") or 0.0 for name in found}
    recorded = {name: facts.observed_number("config", f"{name}_bits") for name in found}
    of = {name: f" of {2 ** int(bits):,} codes" if bits else "" for name, bits in recorded.items()}
    figure = "; ".join(
        f"{name} perplexity {number(curve.values[0])} -> {number(curve.values[-1])}{of[name]}, "
        f"{shares[name]:.1%} in use"
        for name, curve in found.items()
    ).replace("%", " %")
    bits = {name: int(known) for name, known in recorded.items() if known}
    name = min(found, key=lambda one: found[one].values[-1])
    last = found[name].values[-1]
    values = {"name": name, "codes": _count(last), "total": f"{2 ** bits[name]:,}" if name in bits else "?"}
    # of a small codebook no large number can be had
    few = min([FEW_CODES, *(FEW_SHARE * 2**known for known in bits.values())])
    least = min(COLLAPSED, few)
    low = {one: curve for one, curve in found.items() if curve.values[-1] < least}
    collapsed = {one: curve.values[-1] for one, curve in low.items() if curve.values[0] >= least}
    if collapsed:
        rate = facts.amount("learning_rate")
        return Outcome("collapsed", figure, values | _listed(collapsed), {"learning_rate": rate / 3} if rate else {})
    if low:
        most = {one: max(curve.values[0], curve.values[-1]) for one, curve in low.items()}
        return Outcome("never", figure, values | _listed(most))
    lost = min(curve.values[-1] / curve.values[0] for curve in found.values() if curve.values[0] > 0)
    if lost < LOST_SHARE and last < few:
        return Outcome("shrinks", figure, values)
    return Outcome("few" if last < few else "many", figure, values)


def _count(perplexity: float) -> str:
    """A number of codes, a whole one without decimals."""
    return f"{perplexity:.1f}".removesuffix(".0")


def _listed(codes: dict[str, float]) -> dict[str, str]:
    """The names of codebooks, and how many codes they use, as values of a reason."""
    counts = " / ".join(dict.fromkeys(map(_count, codes.values())))
    return {"name": " and ".join(codes), "zh_name": "、".join(codes), "codes": counts}


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
    no_better = [name for name, excess in found.items() if excess > -MARGIN]
    values = {"gain": number(-sum(found.values())), "name": ", ".join(no_better)}
    case = {0: "beats", 1: "one_does_not"}.get(len(no_better), "does_not")
    return Outcome(case, ", ".join(parts), values)


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
    "Does the reconstruction beat an answer of 0?",
    "重建是否优于恒输出 0 的基线？",
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
            "only {share} of the variance of the candles survives: most of their shape is lost; train for longer, or "
            "start from better weights.",
            "K 线方差只保留了 {share}：大部分形态已丢失；请训练更久，或从更好的权重开始。",
        ),
        "nothing": problem(
            "hardly better than answering 0 everywhere; error {error} against {level}: train for longer or at another "
            "learning rate, and look at the inputs.",
            "与恒输出 0 的基线几乎一样：误差 {error}，对比 {level}；请训练更久或调整学习率，并检查输入。",
        ),
    },
    ("the size of the targets or the validation error is not recorded", "没有记录目标尺度或验证误差"),
    zh_figure=((r"against (\S+) of answering 0", r"对比恒输出 0 的 \1"),),
    on_validation=True,
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
            "{name} uses codes as unevenly as if there were {codes} of {total} (perplexity).",
            "{name} 的有效码数（困惑度）为 {codes}，共 {total} 个码：用得很不均匀。",
        ),
        "shrinks": watch(
            "codes of {name} fell out of use during training; about {codes} of {total} are left.",
            "训练过程中 {name} 的许多码不再使用，{total} 个中只剩约 {codes} 个。",
        ),
        "collapsed": problem(
            "the codebook of {name} has collapsed (codes left: about {codes}): all candles look alike to it.",
            "{zh_name} 的码本坍塌（codebook collapse），只剩约 {codes} 个码：所有 K 线在它看来都一样。",
        ),
        "never": problem(
            "the most codes that {name} ever used: about {codes}; look at the inputs.",
            "{zh_name} 从一开始就只用到约 {codes} 个码：请检查输入。",
        ),
    },
    ("code usage was not logged", "没有记录码本使用情况"),
    zh_figure=(
        (r"perplexity", r"困惑度"),
        (r" of ([\d,]+) codes", r"（共 \1 个码）"),
        (r"(\S+ %) in use", r"用到过的码占 \1"),
    ),
    on_validation=True,
)
BEATS_FREQUENCIES = Rule(
    "beats-frequencies",
    MODEL,
    "Does it know more than how frequent tokens are?",
    "它知道的比词元频率更多吗？",
    beats_frequencies,
    {
        "beats": ok("{gain} nats a bar better than token frequencies alone.", "每根 K 线比仅知词元频率好 {gain} nat。"),
        "one_does_not": watch(
            "{name} is no better than its token frequencies alone; the other token is.",
            "{name} 不比仅知其词元频率好；另一种词元更好。",
        ),
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
    on_validation=True,
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
