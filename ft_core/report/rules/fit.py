"""Rules on the curves of training and validation: does it fall, on what was not trained on too, and steadily."""

from ..answers import TRAINING, Outcome, Rule, number, ok, percent, problem, watch
from ..facts import RunFacts
from ..symptoms import EXPLODED, Explosion, counted, explosion, is_known_unseen, is_unscaled, may_soften_training
from ..trends import Gap, best, spikes, trend, variation
from .learning_rate import rate_is_too_high

BETTER = 0.005  # least gain on the starting weights
RATIO_LIMITS = (1.3, 2.0)  # of an error, validation over training: watch, problem
NATS_LIMITS = (0.15, 0.5)  # of a cross-entropy, validation less training
EASIER_RATIO, EASIER_NATS = 0.6, -0.5
LAG_RATIO, LAG_NATS = 0.9, 0.1
RISE_LIMITS = (0.02, 0.1)  # of validation since its best
SCATTER = 0.25


def falling(facts: RunFacts) -> Outcome | None:
    """The main quantity in training, from the first steps to the last."""
    found = trend(facts.primary)
    if found is None:
        return None
    values = {"term": facts.view.primary, "change": percent(found.change), "cause": _cause(facts)}
    figure = (
        f"{facts.view.primary} {number(found.first)} -> {number(found.last)} ({percent(found.change)}, mean of first "
        "and last tenth)"
    )
    exploded = explosion(facts)
    if found.direction < 0 and exploded:
        return _fell_back(facts, exploded, found.last, values)
    if found.direction < 0:
        return Outcome("falls", figure, values)
    rate = facts.amount("learning_rate")
    if found.direction > 0:
        return Outcome("rises", figure, values, {"learning_rate": rate / 3} if rate else {})
    return Outcome("flat_because" if values["cause"] else "flat", figure, values)


def _fell_back(facts: RunFacts, exploded: Explosion, last: float, values: dict[str, object]) -> Outcome:
    """Of training that exploded: the start, the highest and the end, each with the series that it is of."""
    name = facts.view.primary
    at = dict(facts.primary_evaluated.points()).get(0)
    series, start = (name, facts.primary.values[0])
    if at is not None and at < start:
        series, start = f"eval_{name}", at
    step, highest = max(facts.primary.points(), key=lambda point: point[1])
    top = name
    if highest <= EXPLODED * start:  # only validation exploded
        top, step, highest = exploded.series, exploded.step, exploded.highest
    change = percent(last / start - 1) if start > 0 else "-"
    figure = f"{series} {number(start)} at the start, {top} {number(highest)} at its highest (step {step}), "
    figure += f"{name} {number(last)} at the end ({change})"
    return Outcome("fell_back", figure, values | {"change": change, "highest": f"{top} {number(highest)}"})


def _cause(facts: RunFacts) -> str:
    """The rule whose problem explains that nothing is learnt; empty without one."""
    return "scaling" if is_unscaled(facts) else "learning-rate" if rate_is_too_high(facts) else ""


def improved(facts: RunFacts) -> Outcome | None:
    """The best validation beside that of the starting weights."""
    found, start = best(facts.trained_evaluations), dict(facts.primary_evaluated.points()).get(0)
    if found is None or start is None:
        return None
    step, value = found
    figure = f"eval_{facts.view.primary} {number(start)} (step 0) -> {number(value)} (step {step})"
    values = {"term": facts.view.primary, "step": step, "gain": _less(value, start)}
    values["cause"] = _cause(facts)
    if value < start - BETTER * abs(start):
        return Outcome("fell_back" if explosion(facts) else "better", figure, values)
    if value < start:
        return Outcome("hardly_because" if values["cause"] else "hardly", figure, values)
    rate = facts.amount("learning_rate")
    return Outcome("not_better", figure, values, {"learning_rate": rate / 3} if rate else {})


def _less(value: float, start: float) -> str:
    """By how much a value lies below a start."""
    return f"{max(1 - value / start, 0.0) if start > 0 else 0.0:.1%}".replace("%", " %")


def in_step(facts: RunFacts) -> Outcome | None:
    """Validation beside training, of the same quantity, at the last evaluation."""
    if not facts.gaps:
        return None
    gap, nats = facts.gaps[-1], facts.view.in_nats
    if not nats and min(gap.training, gap.validation) <= 0:  # a ratio says nothing
        return None
    size, (some, much) = (gap.difference, NATS_LIMITS) if nats else (gap.ratio, RATIO_LIMITS)
    shown = f"{gap.difference:+.3g} nats" if nats else f"x {gap.ratio:.2f}"
    name = facts.view.primary
    figure = f"{name} {number(gap.training)}, eval_{name} {number(gap.validation)} ({shown}), step {gap.step}"
    values: dict[str, object] = {"shown": shown}
    if size > some:
        decay = facts.amount("weight_decay")
        advice: dict[str, object] = {} if facts.setting("early_stopping") is not False else {"early_stopping": True}
        if decay is not None and size > much:
            advice["weight_decay"] = round(max(2 * decay, 0.05), 4)
        return Outcome("far" if size > much else "apart", figure, values, advice)
    if size < (EASIER_NATS if nats else EASIER_RATIO):
        softened, known = may_soften_training(facts), is_known_unseen(facts)
        values |= {"why": "" if known else " or a leak", "zh_why": "" if known else "或数据泄漏"}
        return Outcome("easier" if softened else "easier_plain", figure, values)
    return Outcome("lags" if _lags(facts, gap) else "in_step", figure, values)


def _lags(facts: RunFacts, gap: Gap) -> bool:
    """Whether validation lies clearly below a mean of training that still fell while it was taken."""
    last = facts.primary.between(0, gap.step).values[-1]
    if facts.view.in_nats:
        return gap.difference < -LAG_NATS and last < gap.training - LAG_NATS
    return gap.ratio < LAG_RATIO and last < LAG_RATIO * gap.training


def overfitting(facts: RunFacts) -> Outcome | None:
    """Validation since its best, while training goes on falling."""
    curve = facts.trained_evaluations
    found = best(curve)
    if found is None or len(curve) < 3:
        return None
    step, value = found
    rise = curve.values[-1] / value - 1 if value > 0 else 0.0
    after = facts.primary.between(step, float("inf"))
    before = facts.primary.between(0, step)
    fell = len(after) and len(before) and after.values[-1] < before.values[-1]
    values = {"step": step, "rise": percent(rise, 1), "last": curve.steps[-1]}
    figure = (
        f"eval_{facts.view.primary} {number(value)} (step {step}) -> {number(curve.values[-1])} ({percent(rise, 1)})"
    )
    if rise <= RISE_LIMITS[0]:
        return Outcome("none", figure, values)
    if not fell:
        return Outcome("both_rise", figure, values)
    advice: dict[str, object] = {} if facts.setting("early_stopping") is not False else {"early_stopping": True}
    return Outcome("much" if rise > RISE_LIMITS[1] else "some", figure, values, advice)


def steady(facts: RunFacts) -> Outcome | None:
    """Scatter of the main quantity from entry to entry in the second half, and jumps."""
    scatter = variation(facts.primary)
    if scatter != scatter or len(facts.primary) < 6:
        return None
    thrown = spikes(facts.primary)
    figure = f"{facts.view.primary} varies by {scatter:.1%} from entry to entry in the second half".replace("%", " %")
    figure += f", {counted(len(thrown), 'jump', 'jumps')} in all"
    if explosion(facts):
        return Outcome("exploded", figure)
    batch = facts.amount("gradient_accumulation_steps")
    if scatter > SCATTER:
        return Outcome("scatters", figure, {}, {"gradient_accumulation_steps": int(2 * batch)} if batch else {})
    return Outcome("jumps" if thrown else "steady", figure, {"steps": ", ".join(map(str, thrown[:3]))})


RULES = (
    Rule(
        "falling",
        TRAINING,
        "Does the training error fall?",
        "训练误差在下降吗？",
        falling,
        {
            "falls": ok(
                "{term} fell by more than its scatter over the run ({change}).",
                "{term} 的下降幅度超过了自身的波动（{change}）。",
            ),
            "fell_back": watch(
                "{term} only fell back from an explosion (highest: {highest}); beside the start it changed by "
                "{change}.",
                "{term} 的下降只是发散（最高 {highest}）后的回落；与起点相比变化 {change}。",
            ),
            "flat_because": watch(
                "{term} hardly moves beyond its scatter; see {cause}.",
                "{term} 的变化没有超出自身波动；见 {cause}。",
            ),
            "flat": watch(
                "{term} hardly moves beyond its scatter: the weights have nothing left to learn here, or the learning "
                "rate is too low.",
                "{term} 的变化没有超出自身波动：可能已无可学，或学习率过低。",
            ),
            "rises": problem(
                "{term} rises: the run moves away from what it trains on; the learning rate is too high or the data "
                "changed on the way.",
                "{term} 在上升：训练正在远离目标，学习率过高或数据中途发生了变化。",
            ),
        },
        ("fewer than four training entries were logged", "训练日志不足四条"),
        zh_figure=(
            (r"\((\S+ %), mean of first and last tenth\)", r"（\1，首尾各十分之一的均值）"),
            (
                r"(\w+) (\S+) at the start, (\w+) (\S+) at its highest \(step (\d+)\), (\w+) (\S+) at the end",
                r"起点 \1 \2，最高 \3 \4（第 \5 步），终点 \6 \7",
            ),
        ),
    ),
    Rule(
        "improved",
        TRAINING,
        "Is validation better than at the start?",
        "验证误差比起点更好吗？",
        improved,
        {
            "better": ok(
                "the best validation error is {gain} below that of the starting weights, at step {step}.",
                "最佳验证误差比初始权重低 {gain}（第 {step} 步）。",
            ),
            "fell_back": watch(
                "the best validation error is {gain} below that of the starting weights (step {step}), but training "
                "exploded: this is the level that it fell back to.",
                "最佳验证误差比初始权重低 {gain}（第 {step} 步），但训练曾发散：这只是发散后的回落。",
            ),
            "hardly_because": watch(
                "the best validation is hardly better than the starting weights ({gain}, step {step}); see {cause}.",
                "最佳验证误差仅比初始权重低 {gain}（第 {step} 步）；见 {cause}。",
            ),
            "hardly": watch(
                "the best validation is hardly better than the starting weights ({gain}, step {step}): little was "
                "there to gain, or the learning rate is too low.",
                "最佳验证误差仅比初始权重低 {gain}（第 {step} 步）：提升空间很小，或学习率过低。",
            ),
            "not_better": problem(
                "no evaluation beat the starting weights: this run did not help; keep the model that it started from.",
                "没有任何一次验证优于初始权重：这次训练没有帮助，请保留起始模型。",
            ),
        },
        ("validation was not evaluated at step 0 and later", "缺少第 0 步或第 0 步之后的验证记录"),
        zh_figure=((r"\(step (\d+)\)", r"（第 \1 步）"),),
        on_validation=True,
    ),
    Rule(
        "in-step",
        TRAINING,
        "Do training and validation move in step?",
        "训练与验证是否同步？",
        in_step,
        {
            "in_step": ok(
                "validation and training of the same quantity lie close together ({shown}).",
                "同一指标的验证值与训练值接近（{shown}）。",
            ),
            "lags": ok(
                "validation lies below training ({shown}): training is a mean over steps in which it still fell.",
                "验证值低于训练值（{shown}）：训练误差仍在快速下降，其均值滞后所致。",
            ),
            "apart": watch(
                "validation lies above training ({shown}): the beginning of overfitting, or a harder stretch of data.",
                "验证值高于训练值（{shown}）：过拟合的开始，或验证区间更难。",
            ),
            "far": problem(
                "validation lies far above training ({shown}): what is learnt does not carry over to data that was not "
                "trained on.",
                "验证值远高于训练值（{shown}）：学到的内容无法推广到未训练的数据。",
            ),
            "easier": watch(
                "validation lies far below training ({shown}): augmentation and dropout explain a little, an easier "
                "stretch{why} the rest.",
                "验证值远低于训练值（{shown}）：数据增强和 dropout 只能解释一部分，其余可能是验证区间更容易{zh_why}。",
            ),
            "easier_plain": watch(
                "validation lies far below training ({shown}), with neither augmentation nor dropout: an easier "
                "stretch of data{why}.",
                "验证值远低于训练值（{shown}），且未使用数据增强和 dropout：可能是验证区间更容易{zh_why}。",
            ),
        },
        (
            "the same quantity was not logged above 0 in both training and validation",
            "同一指标没有在训练和验证中都记录为正值",
        ),
        zh_figure=((r", step (\d+)", r"，第 \1 步"),),
        on_validation=True,
    ),
    Rule(
        "overfitting",
        TRAINING,
        "Does validation hold its best?",
        "验证结果是否保持在最佳水平？",
        overfitting,
        {
            "none": ok(
                "the last evaluation is within 2 % of the best, at step {step}.",
                "最后一次验证与第 {step} 步的最佳值相差在 2 % 以内。",
            ),
            "some": watch(
                "validation rose by {rise} since step {step} while training went on falling: overfitting has begun.",
                "自第 {step} 步起验证值上升 {rise}，而训练仍在下降：过拟合已经开始。",
            ),
            "much": problem(
                "validation rose by {rise} since step {step} while training went on falling: all after that step was "
                "overfitting.",
                "自第 {step} 步起验证值上升 {rise}，而训练仍在下降：此后的训练都是过拟合。",
            ),
            "both_rise": watch(
                "validation rose by {rise} since step {step}, and training with it: this is no overfitting, the run "
                "lost what it had.",
                "自第 {step} 步起验证值上升 {rise}，训练值也随之上升：这不是过拟合，而是训练退步。",
            ),
        },
        ("fewer than three evaluations after the first step", "第 0 步之后的验证不足三次"),
        zh_figure=((r"\(step (\d+)\)", r"（第 \1 步）"),),
        on_validation=True,
    ),
    Rule(
        "steady",
        TRAINING,
        "Does it train steadily?",
        "训练过程平稳吗？",
        steady,
        {
            "steady": ok(
                "from entry to entry the training error changes little, without jumps.",
                "相邻记录之间训练误差变化很小，没有突增。",
            ),
            "jumps": watch(
                "the training error jumps at step {steps}: look at the windows or records of those steps.",
                "训练误差在第 {steps} 步突增：请检查这些步的样本。",
            ),
            "scatters": watch(
                "the training error scatters widely from entry to entry: the batch is small for these data.",
                "相邻记录之间训练误差波动很大：对这些数据来说批量偏小。",
            ),
            "exploded": watch(
                "training exploded, which is a result of the learning rate, see learning-rate.",
                "训练曾发散，由学习率过高引起，见 learning-rate。",
            ),
        },
        ("fewer than six training entries were logged", "训练日志不足六条"),
        zh_figure=(
            (
                r"(\w+) varies by (\S+ %) from entry to entry in the second half, (\d+) jumps? in all",
                r"\1 后半程相邻记录变化 \2，全程突增 \3 次",
            ),
        ),
    ),
)
