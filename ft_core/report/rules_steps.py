"""Rules on the optimizer's steps: the schedule, gradients, weights, and steps that were not finite."""

import statistics

from .facts import RunFacts
from .rules import TRAINING, Outcome, Rule, number, ok, percent, problem, watch
from .schedule import expected_rate

ON_SCHEDULE = 0.02  # of the peak
OFTEN = 0.5
GROWTH = 5.0
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
        return Outcome("followed", figure, values)
    return Outcome("left", f"step {step}: {number(rate)} logged, {number(expected)} by the settings", values)


def gradients(facts: RunFacts) -> Outcome | None:
    """Gradient norms before clipping, in the second half of the run beside the first."""
    norms = facts.training("grad_norm")
    if len(norms) < 4:
        return None
    half = len(norms) // 2
    early, late = statistics.median(norms.values[half // 2 : half + 1]), statistics.median(norms.values[half:])
    limit = facts.amount("max_grad_norm") or 0.0
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
    if early > 0 and late > GROWTH * early:
        return Outcome("grows", figure, values, {"learning_rate": rate / 3} if rate else {})
    if clipped > OFTEN:
        return Outcome("clipped", figure, values)
    return Outcome("calm", figure, values)


def finite(facts: RunFacts) -> Outcome | None:
    """Steps that were not applied, and logged values that are not finite."""
    lost = facts.training("loss").lost
    if not facts.record and not len(facts.training("loss")):
        return None
    figure = f"{len(facts.bad_steps)} steps not applied, {lost} entries without a finite loss"
    if not facts.bad_steps and not lost:
        return Outcome("all", figure)
    rate = facts.amount("learning_rate")
    steps = [entry.get("step") for entry in facts.bad_steps]
    offending = [name for entry in facts.bad_steps for name in entry.get("offending") or ()][:2]
    values = {"steps": ", ".join(map(str, steps[:3])) or "-", "samples": ", ".join(map(str, offending)) or "-"}
    few = len(facts.bad_steps) < 3 and lost == 0
    return Outcome("few" if few else "many", figure, values, {"learning_rate": rate / 10} if rate and not few else {})


def weights(facts: RunFacts) -> Outcome | None:
    """The norm of all weights at the end beside the beginning."""
    norms = facts.training("weight_norm")
    if len(norms) < 2 or norms.values[0] <= 0:
        return None
    ratio = norms.values[-1] / norms.values[0]
    figure = f"weight norm {number(norms.values[0])} -> {number(norms.values[-1])} ({percent(ratio - 1, 1)})"
    decay = facts.amount("weight_decay")
    if ratio > WEIGHT_LIMITS[0]:
        advice = {"weight_decay": round(max(2 * decay, 0.01), 4)} if decay is not None else {}
        return Outcome("blows_up" if ratio > WEIGHT_LIMITS[1] else "grows", figure, {}, advice)
    if ratio < 1 / WEIGHT_LIMITS[0]:
        return Outcome("shrinks", figure, {}, {"weight_decay": round(decay / 4, 5)} if decay else {})
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
                "每条记录的学习率都符合 {total} 步的 {kind} 计划，峰值在第 {top} 步。",
            ),
            "left": problem(
                "the logged rate at step {step} is not that of the {kind} schedule over {total} steps: the run was "
                "resumed with another length or rate, or the schedule was replaced.",
                "第 {step} 步记录的学习率不符合 {total} 步的 {kind} 计划：可能以不同长度或学习率续训，或计划被替换。",
            ),
        },
        (
            "the settings, the length or the logged rates are not recorded, or the schedule is not one that is checked",
            "没有记录设置、总步数或学习率，或不是可核对的计划",
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
                "梯度范数既不增长也不消失，裁剪只是例外。",
            ),
            "clipped": watch(
                "{clipped} of the entries in the second half lie above max_grad_norm {limit}: clipping, not the "
                "learning rate, decides how far a step goes.",
                "后半程 {clipped} 的记录超过 max_grad_norm {limit}：步长由裁剪而不是学习率决定。",
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
        ("gradient norms were not logged", "没有记录梯度范数"),
        zh_figure=(
            (r"median norm", r"范数中位数"),
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
            "few": watch(
                "step {steps} was not applied, because of {samples}: look at these samples in bad_steps.json.",
                "第 {steps} 步未被应用，原因是 {samples}：请在 bad_steps.json 中查看这些样本。",
            ),
            "many": problem(
                "steps were not finite (first {steps}; {samples}): the learning rate is too high or samples are "
                "damaged; bad_steps.json names them.",
                "多步出现非有限值（最先为 {steps}；{samples}）：学习率过高或样本损坏，详见 bad_steps.json。",
            ),
        },
        ("no training entry was logged", "没有训练记录"),
        zh_figure=(
            (r"(\d+) steps not applied, (\d+) entries without a finite loss", r"\1 步未应用，\2 条记录的损失非有限值"),
        ),
    ),
    Rule(
        "weights",
        TRAINING,
        "Do the weights stay in size?",
        "权重范数稳定吗？",
        weights,
        {
            "steady": ok("the norm of all weights stays in size.", "全部权重的范数保持稳定。"),
            "grows": watch("the weights grow by more than half.", "权重增长超过一半。"),
            "blows_up": problem(
                "the weights grow more than three-fold: they run away.", "权重增长三倍以上：正在失控。"
            ),
            "shrinks": watch(
                "the weights shrink by a third and more: weight decay outweighs what is learnt.",
                "权重缩小三分之一以上：权重衰减压过了学习。",
            ),
        },
        ("weight norms were not logged", "没有记录权重范数"),
        zh_figure=((r"weight norm", r"权重范数"),),
    ),
)
