"""The rule on the learning rate: signs that it is too high for the weights, the gravest first."""

from ..answers import TRAINING, Outcome, Rule, number, ok, problem
from ..facts import RunFacts
from ..symptoms import ZH_NOT_FINITE, explosion, not_finite, not_finite_words
from ..trends import best, calmed, is_noisy, spikes, trend

WORSE = 1.02  # validation over the starting weights' that only a learning rate too high explains
SOME_SPIKES = 3


def lower_rate(facts: RunFacts, factor: float) -> dict[str, object]:
    """Advice of a learning rate that is lower by a factor, and no higher than that of the kind of run."""
    rate, usual = facts.amount("learning_rate"), facts.view.default("learning_rate")
    if not rate:
        return {}
    return {"learning_rate": min(rate / factor, usual or rate)}


def learning_rate(facts: RunFacts) -> Outcome | None:
    """Signs of a learning rate that is too high: steps that were not finite, an explosion, worse than the start."""
    rate = facts.amount("learning_rate")
    if rate is None or len(facts.primary) < 4:
        return None
    logged = facts.training("learning_rate")
    peak = max(logged.values, default=rate)
    start = dict(facts.primary_evaluated.points()).get(0)
    found = best(facts.trained_evaluations)
    values = {"rate": f"{rate:g}"}
    name = facts.view.primary
    if not_finite(facts) == "many":
        figure = f"learning_rate {rate:g}, {not_finite_words(facts)}"
        return Outcome("not_finite", figure, values, lower_rate(facts, 10))
    exploded = explosion(facts)
    if exploded is not None:
        figure = f"learning_rate {rate:g}, {exploded.series} {number(exploded.start)} -> {number(exploded.highest)} "
        figure += f"(step {exploded.step})"
        advice = lower_rate(facts, 10)
        limit = facts.view.default("max_grad_norm")
        if limit and facts.amount("max_grad_norm") == 0:
            advice["max_grad_norm"] = limit
        return Outcome("exploded", figure, values | {"times": number(exploded.times)}, advice)
    if found is not None and start is not None and found[1] > WORSE * start > 0:
        figure = f"learning_rate {rate:g}, best eval_{name} {number(found[1])} against {number(start)} at the start"
        return Outcome("worse", figure, values, lower_rate(facts, 10))
    calm = calmed(facts.primary)
    lowest, last = best(calm), trend(calm)
    holds = is_noisy(facts.primary) and found is not None and facts.trained_evaluations.values[-1] <= WORSE * found[1]
    if last and not holds and lowest[0] < 0.7 * facts.primary.steps[-1] and last.last > 1.5 * lowest[1] > 0:
        figure = f"learning_rate {rate:g}, {name} {number(lowest[1])} (step {lowest[0]}) -> {number(last.last)}"
        return Outcome("thrown_back", figure, values | {"step": lowest[0]}, {"learning_rate": rate / 3})
    thrown = spikes(facts.primary)
    if len(thrown) > SOME_SPIKES and len(thrown) > 0.05 * len(facts.primary):
        figure = f"learning_rate {rate:g}, {len(thrown)} of {len(facts.primary)} entries of {name} jump by half"
        return Outcome("jumps", figure, values | {"count": len(thrown)}, {"learning_rate": rate / 3})
    return Outcome("bearable", f"learning_rate {rate:g}, highest logged {peak:.3g}", values)


def rate_is_too_high(facts: RunFacts) -> bool:
    """Whether the rule finds a problem."""
    found = learning_rate(facts)
    return found is not None and found.case != "bearable"


RULES = (
    Rule(
        "learning-rate",
        TRAINING,
        "Can the weights bear the learning rate?",
        "学习率是否合适？",
        learning_rate,
        {
            "bearable": ok(
                "no sign that {rate} is too high: nothing exploded, the error did not rebound.",
                "没有迹象表明 {rate} 过高：没有发散，也没有明显反弹。",
            ),
            "not_finite": problem(
                "time and again steps were not finite: a learning rate of {rate} breaks the weights, unless samples "
                "are damaged (see finite).",
                "多次出现非有限值：学习率 {rate} 破坏了权重，除非样本损坏（见 finite）。",
            ),
            "exploded": problem(
                "a learning rate of {rate} made training diverge ({times} times the starting error).",
                "学习率 {rate} 过高，训练发散（误差升至起点的 {times} 倍）。",
            ),
            "worse": problem(
                "every evaluation after the start is worse than the starting weights: {rate} destroys what they knew.",
                "起点之后的每次验证都比初始权重差：学习率 {rate} 破坏了已有的知识。",
            ),
            "thrown_back": problem(
                "training was best at step {step} and half as high again at the end: {rate} throws the weights back.",
                "训练误差在第 {step} 步最低，结束时高出一半以上：学习率 {rate} 使权重被反复打乱。",
            ),
            "jumps": problem(
                "the training error jumped {count} times by half: {rate} is at the edge of what the weights bear.",
                "训练误差有 {count} 次突增一半以上：学习率 {rate} 已到权重所能承受的边缘。",
            ),
        },
        ("the learning rate or the training error was not recorded", "没有记录学习率或训练误差"),
        zh_figure=(
            (r"highest logged", r"记录的最高值"),
            *ZH_NOT_FINITE,
            (r"best (eval_\w+) (\S+) against (\S+) at the start", r"\1 最佳 \2，起点 \3"),
            (r"\(step (\d+)\)", r"（第 \1 步）"),
            (r"(\d+) of (\d+) entries of (\w+) jump by half", r"\3 的 \2 条记录中有 \1 条突增一半以上"),
        ),
    ),
)
