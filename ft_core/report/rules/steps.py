"""Rules on the optimizer's steps: the schedule, gradients, weights, and steps that were not finite."""

import statistics

from ..answers import TRAINING, Outcome, Rule, number, ok, percent, problem, watch
from ..facts import RunFacts
from ..schedule import expected_rate
from ..symptoms import ZH_NOT_FINITE, first_not_finite, guards_steps, is_unscaled, not_finite, not_finite_words
from .learning_rate import lower_rate, rate_is_too_high

ON_SCHEDULE = 0.02  # of the peak
RATE_POINTS, NEAR_PEAK = 200, 0.9  # where the schedule is looked at; of the peak
USUAL_WARMUP = 0.1  # of all steps
OFTEN = 0.5
GROWTH = 5.0
SPIKE = 100.0  # times the median
VANISHED = 1e-7
WEIGHT_LIMITS = (1.5, 3.0)


def schedule(facts: RunFacts) -> Outcome | None:
    """Logged learning rates beside those that the settings describe."""
    settings, total = facts.record.get("arguments"), facts.max_steps
    logged = facts.training("learning_rate")
    peak = facts.amount("learning_rate")
    if not isinstance(settings, dict) or not total or not peak or not len(logged):
        return None
    off = []
    for step, rate in logged.points():
        # the rate of an entry is that of its last step, or of the next one, by the place where it was logged
        both = [expected_rate(settings, at, total) for at in (step - 1, step)]
        if None in both:
            return None
        off.append((min(abs(rate - one) for one in both) / peak, step, rate, both[0]))
    worst, step, rate, expected = max(off)
    kind = "one-cycle" if settings.get("one_cycle") else str(settings.get("lr_scheduler_type"))
    top = max(logged.points(), key=lambda point: point[1])
    values = {"kind": kind, "total": total, "step": step, "top": top[0]}
    if worst <= ON_SCHEDULE:
        figure = f"{kind}, {total} steps, highest {number(top[1])} at step {top[0]}, last {number(logged.values[-1])}"
        planned = max(expected_rate(settings, at * total // RATE_POINTS, total) for at in range(RATE_POINTS + 1))
        if planned < NEAR_PEAK * peak:
            values |= {"peak": f"{peak:g}", "planned": f"{planned:.3g}", "warmup": f"{facts.amount('warmup_steps'):g}"}
            return Outcome("never_peaks", figure, values, {"warmup_steps": USUAL_WARMUP})
        return Outcome("followed", figure, values)
    return Outcome("left", f"step {step}: {number(rate)} logged, {number(expected)} by the settings", values)


def gradients(facts: RunFacts) -> Outcome | None:
    """Gradient norms before clipping, in the second half of the run beside the first."""
    norms = facts.training("grad_norm")
    if len(norms) < 4:
        return None
    half = len(norms) // 2
    early, late = statistics.median(norms.values[:half]), statistics.median(norms.values[half:])
    usual = statistics.median(norms.values)
    step, highest = max(norms.points(), key=lambda point: point[1])
    recorded = facts.amount("max_grad_norm")
    limit = recorded or 0.0
    clipped = sum(value > limit for value in norms.values[half:]) / (len(norms) - half) if limit > 0 else 0.0
    limits = f", {clipped:.0%} of entries above max_grad_norm {limit:g}".replace("%", " %") if limit > 0 else ""
    figure = f"median norm {number(early)} -> {number(late)}{limits}"
    values = {
        "clipped": f"{clipped:.0%}".replace("%", " %"),
        "limit": f"{limit:g}",
        "times": f"{late / early:.1f}" if early else "-",
    }
    rate = facts.amount("learning_rate")
    if late < VANISHED:
        return Outcome("vanished", figure, values)
    if early > 0 and late > GROWTH * early and not is_unscaled(facts):
        return Outcome("grows", figure, values, {"learning_rate": rate / 3} if rate else {})
    if clipped > OFTEN:
        return Outcome("clipped", figure, values)
    if highest > SPIKE * usual > 0:
        figure = f"median norm {number(usual)}, highest {number(highest)} (step {step}){limits}"
        values |= {"times": number(highest / usual), "step": step}
        if recorded is None:
            return Outcome("spiked_unknown", figure, values)
        advice: dict[str, object] = {}
        if limit == 0 and facts.view.default("max_grad_norm"):
            advice["max_grad_norm"] = facts.view.default("max_grad_norm")
        return Outcome("held" if limit > 0 else "spiked", figure, values, advice)
    if recorded is None:
        return Outcome("calm_unknown", figure, values)
    return Outcome("calm" if limit > 0 else "calm_unclipped", figure, values)


def finite(facts: RunFacts) -> Outcome | None:
    """Steps that were not applied, and logged values that are not finite."""
    kind, figure = not_finite(facts), not_finite_words(facts)
    if not facts.record and not len(facts.training("loss")) and kind == "none":
        return None
    if not guards_steps(facts):
        cases = {"none": "all_logged", "few": "few_logged", "many": "many_logged"}
        return Outcome(cases[kind], figure, {"first": first_not_finite(facts)})
    if kind == "none":
        return Outcome("all", figure)
    steps = [entry.get("step") for entry in facts.bad_steps]
    offending = [name for entry in facts.bad_steps for name in entry.get("offending") or ()][:2]
    values = {"steps": ", ".join(map(str, steps[:3])) or "-", "samples": ", ".join(map(str, offending)) or "-"}
    return Outcome(kind, figure, values, lower_rate(facts, 10) if kind == "many" else {})


def weights(facts: RunFacts) -> Outcome | None:
    """The norm of all weights at the end beside the beginning."""
    norms = facts.training("weight_norm")
    if len(norms) < 2 or norms.values[0] <= 0:
        return None
    first, last, highest = norms.values[0], norms.values[-1], max(norms.values)
    figure = f"weight norm {number(first)} -> {number(last)} ({percent(last / first - 1, 1)})"
    if highest > last:
        figure += f", highest {number(highest)}"
    decay = facts.amount("weight_decay")
    # where the learning rate is at fault, weight decay is not
    tunable = decay is not None and not rate_is_too_high(facts)
    more = {"weight_decay": round(max(2 * decay, 0.01), 4)} if tunable else {}
    if highest > WEIGHT_LIMITS[1] * first and last < first / WEIGHT_LIMITS[1]:
        return Outcome("destroyed", figure, {"highest": number(highest), "last": number(last)})
    if highest > WEIGHT_LIMITS[1] * first:
        return Outcome("blows_up", figure, {}, more)
    # random weights have no size to keep
    if highest > WEIGHT_LIMITS[0] * first and not facts.is_untrained_at_start:
        return Outcome("grows", figure, {}, more)
    if last < first / WEIGHT_LIMITS[0]:
        return Outcome("shrinks", figure, {}, {"weight_decay": decay / 4} if tunable and decay else {})
    return Outcome("steady", figure)


RULES = (
    Rule(
        "schedule",
        TRAINING,
        "Was the schedule of the learning rate followed?",
        "学习率是否按计划变化？",
        schedule,
        {
            "followed": ok(
                "every logged rate is that of the {kind} schedule over {total} steps; it peaked at step {top}.",
                "每条记录的学习率都符合 {total} 步的 {kind} 调度，峰值在第 {top} 步。",
            ),
            "never_peaks": watch(
                "the schedule was followed, but warmup_steps {warmup} is longer than the run of {total} steps: the "
                "rate only came to {planned} of {peak}.",
                "学习率符合计划，但 warmup_steps {warmup} 比 {total} 步的训练还长：学习率只升到 {planned}，未达到 "
                "{peak}。",
            ),
            "left": problem(
                "the logged rate at step {step} is not that of the {kind} schedule over {total} steps: the run was "
                "resumed with another length or rate, or the schedule was replaced.",
                "第 {step} 步记录的学习率不符合 {total} 步的 {kind} 调度：可能以不同长度或学习率续训，或调度被替换。",
            ),
        },
        (
            "the settings, the length or the logged rates are not recorded, or the schedule is not one that is checked",
            "没有记录设置、总步数或学习率，或不是可核对的调度",
        ),
        zh_figure=(
            (r"([\d,]+) steps, highest (\S+) at step (\d+), last", r"\1 步，最高 \2（第 \3 步），末值"),
            (r"step (\d+): (\S+) logged, (\S+) by the settings", r"第 \1 步：记录为 \2，按设置应为 \3"),
        ),
    ),
    Rule(
        "gradients",
        TRAINING,
        "Are the gradients calm?",
        "梯度稳定吗？",
        gradients,
        {
            "calm": ok(
                "gradient norms neither grow nor vanish, and clipping is the exception.",
                "梯度范数既不增长也不消失，很少触发裁剪。",
            ),
            "calm_unclipped": ok(
                "gradient norms neither grow nor vanish; they are not clipped.",
                "梯度范数既不增长也不消失；没有启用裁剪。",
            ),
            "calm_unknown": ok(
                "gradient norms neither grow nor vanish; whether they are clipped is not recorded.",
                "梯度范数既不增长也不消失；是否裁剪没有记录。",
            ),
            "clipped": watch(
                "most gradients are clipped ({clipped} of the second half): the limit is too tight for them, or inputs "
                "or learning rate are too large.",
                "多数梯度被裁剪（后半程 {clipped}）：裁剪阈值过低，或输入尺度、学习率过大。",
            ),
            "spiked": problem(
                "a gradient of {times} times the median, at step {step}, was applied unclipped: set max_grad_norm.",
                "第 {step} 步的梯度达到中位数的 {times} 倍且未经裁剪：请设置 max_grad_norm。",
            ),
            "spiked_unknown": watch(
                "a gradient of {times} times the median, at step {step}; whether it was clipped is not recorded: look "
                "at its samples.",
                "第 {step} 步的梯度达到中位数的 {times} 倍，是否经过裁剪没有记录：请检查该步的样本。",
            ),
            "held": watch(
                "a gradient of {times} times the median, at step {step}, was held by clipping: look at its samples.",
                "第 {step} 步的梯度达到中位数的 {times} 倍，已被裁剪：请检查该步的样本。",
            ),
            "grows": problem(
                "the median gradient norm grew {times}-fold: the run is about to diverge.",
                "梯度范数中位数增长到 {times} 倍：训练即将发散。",
            ),
            "vanished": problem(
                "gradients are practically 0: nothing is learnt any more.",
                "梯度几乎为 0：已经学不到任何东西。",
            ),
        },
        ("fewer than four finite gradient norms were logged", "记录的有限梯度范数不足四个"),
        zh_figure=(
            (r"median norm", r"范数中位数"),
            (r", highest (\S+) \(step (\d+)\)", r"，最高 \1（第 \2 步）"),
            (r"(\d+ %) of entries above (max_grad_norm \S+)", r"\1 的记录超过 \2"),
        ),
    ),
    Rule(
        "finite",
        TRAINING,
        "Were all steps finite?",
        "所有步都是有限值吗？",
        finite,
        {
            "all": ok("every step was finite and was applied.", "每一步都是有限值并已应用。"),
            "all_logged": ok(
                "every logged entry is finite; whether every step was applied is not recorded.",
                "每条记录都是有限值；是否每一步都已应用没有记录。",
            ),
            "few": watch(
                "left out: step {steps}, because of {samples}; look at these samples in bad_steps.json.",
                "第 {steps} 步未被应用，原因是 {samples}：请在 bad_steps.json 中查看这些样本。",
            ),
            "many": problem(
                "steps were not finite (first {steps}; {samples}): the learning rate is too high or samples are "
                "damaged; bad_steps.json names them.",
                "多步出现非有限值（最先为 {steps}；{samples}）：学习率过高或样本损坏，详见 bad_steps.json。",
            ),
            "few_logged": watch(
                "a gradient norm was not finite (first at step {first}): in fp16 the scaling of the loss leaves such "
                "steps out; otherwise look at the samples of that step.",
                "梯度范数出现非有限值（最先为第 {first} 步）：fp16 的损失缩放会跳过这样的步；否则请检查该步的样本。",
            ),
            "many_logged": problem(
                "losses or gradient norms were not finite (first at step {first}), and a Trainer logs a loss of NaN as "
                "0: the weights since then are of no use; the learning rate is too high or samples are damaged.",
                "损失或梯度范数出现非有限值（最先为第 {first} 步），而 Trainer 会把 NaN 损失记录为 0："
                "此后的权重不可用；学习率过高或样本损坏。",
            ),
        },
        ("no training entry was logged", "没有训练记录"),
        zh_figure=ZH_NOT_FINITE,
    ),
    Rule(
        "weights",
        TRAINING,
        "Do the weights stay in size?",
        "权重范数稳定吗？",
        weights,
        {
            "steady": ok("the norm of all weights stays within bounds.", "全部权重的范数在正常范围内。"),
            "grows": watch("the weights grow by more than half.", "权重范数增大超过一半。"),
            "blows_up": problem(
                "the weights grow more than three-fold: they run away.", "权重范数增至三倍以上：正在失控。"
            ),
            "destroyed": problem(
                "the weights first grew to a norm of {highest}, then withered to {last}: they are destroyed.",
                "权重范数先升至 {highest}，随后衰减到 {last}：权重已被破坏。",
            ),
            "shrinks": watch(
                "the weights shrink by a third and more: weight decay outweighs what is learnt.",
                "权重范数缩小三分之一以上：权重衰减压过了学习。",
            ),
        },
        ("weight norms were not logged", "没有记录权重范数"),
        zh_figure=((r"weight norm", r"权重范数"), (r", highest", r"，最高")),
    ),
)
