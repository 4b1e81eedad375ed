"""Rules on the length of a run: did early stopping end it at the right time, and was the schedule long enough."""

import math

from ...io.progress_lines import span
from ...training.early_stopping import measure_patience
from ..answers import TRAINING, Outcome, Rule, number, ok, percent, problem, silent, watch
from ..facts import EARLY, FINISHED, RUNNING, RunFacts
from ..symptoms import counted, explosion
from ..trends import best, still_improving, trend

USUAL_PATIENCE = 5
USUAL_MIN_DELTA = 1e-5
WORTH_SAVING = 0.2  # share of the schedule
DECAYED = 0.05  # of the highest learning rate
SHORT = 1.0  # times that the data were seen


def early_stopping(facts: RunFacts) -> Outcome | None:
    """What early stopping saved, would have saved, or cut off."""
    curve, total = facts.trained_evaluations, facts.max_steps
    if facts.setting("early_stopping") is None or not total or len(curve) < 1:
        return None
    on = bool(facts.setting("early_stopping"))
    delta = (facts.amount("early_stopping_min_delta") if on else USUAL_MIN_DELTA) or 0.0
    patience = int(facts.amount("early_stopping_patience") or USUAL_PATIENCE) if on else USUAL_PATIENCE
    metric = str(facts.setting("metric_for_best_model") or f"eval_{facts.view.primary}").removeprefix("eval_")
    greater = bool(facts.setting("greater_is_better"))
    watched = facts.evaluated(metric).points()
    state = measure_patience(watched, delta, greater)
    values = {"patience": patience, "delta": f"{delta:g}", "waited": state.waited, "step": state.best_step}
    if facts.status == EARLY and on:
        return _stopped(facts, total, values)
    waited = f"eval_{metric}: best at step {state.best_step}, {counted(state.waited, 'evaluation', 'evaluations')} "
    waited += "without a gain since"
    if on:
        return Outcome("waiting", f"{waited} (patience {patience})", values)
    would = _would_stop(watched, patience, greater)
    if would is None or 1 - would / total <= WORTH_SAVING:
        return Outcome("not_needed", waited, values)
    sign = -1.0 if greater else 1.0
    before = min(sign * value for step, value in watched if step <= would)
    found = best(facts.evaluated(metric), greater)
    if sign * found[1] < before - USUAL_MIN_DELTA:
        figure = f"eval_{metric} {number(sign * before)} up to step {would:,}, {number(found[1])} at step {found[0]:,}"
        return Outcome("would_miss", figure, values | {"step": found[0]})
    seconds = facts.seconds_a_step
    time = f" ({span(seconds * (total - would))})" if seconds else ""
    figure = f"best at step {state.best_step}; patience {patience} would have ended it at {would:,} of {total:,}{time}"
    values |= {"saved": _percent(1 - would / total), "step": would}
    return Outcome("would_save", figure, values, {"early_stopping": True, "early_stopping_patience": patience})


def _percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %")


def _stopped(facts: RunFacts, total: int, values: dict[str, object]) -> Outcome:
    """Of a run that early stopping ended: the account, and whether it was still getting better."""
    seconds, left = facts.seconds_a_step, total - facts.step
    per = facts.observed_number("steps_per_epoch")
    epochs = f", {left / per:.1f} epochs" if per else ""
    time = f", about {span(seconds * left)}" if seconds else ""
    account = f"stopped at {facts.step:,} of {total:,}; {left:,} steps ({_percent(left / total)}{epochs}{time})"
    falling = _still_falling(facts)
    if not falling:
        return Outcome("saved", f"{account} saved", values | {"saved": _percent(left / total)})
    advice = {
        "early_stopping_patience": max(USUAL_PATIENCE, int(values["patience"])),
        "early_stopping_min_delta": USUAL_MIN_DELTA,
    }
    return Outcome("too_early", f"{falling}; {account} not trained", values, advice)


def _would_stop(points: list[tuple[int, float]], patience: int, greater: bool) -> int | None:
    """The step at which early stopping with the usual settings would have ended the run."""
    for count in range(1, len(points)):
        if measure_patience(points[: count + 1], USUAL_MIN_DELTA, greater).waited >= patience:
            return points[count][0]
    return None


def _still_falling(facts: RunFacts) -> str:
    """Words on a run that was still getting better when early stopping ended it; empty where it was not."""
    curve = facts.primary_evaluated
    if len(curve) < 2:
        return ""
    before, last = curve.values[-2:]
    top = max(facts.training("learning_rate").values, default=0.0)
    name = facts.view.primary
    delta = facts.amount("early_stopping_min_delta") or 0.0  # one that no gain can reach stops whatever happens
    if 0 < last < (1 if delta > 0.05 * before else 0.99) * before and best(curve)[1] == last:
        return f"eval_{name} {number(before)} -> {number(last)} in the last evaluation, the best of all"
    late = facts.primary.between(facts.step - facts.step // 2, float("inf"))
    found = trend(late, least=0.05)
    rate = facts.training("learning_rate").values[-1:]
    if found is not None and found.direction < 0 and rate and rate[0] > 0.5 * top and before > last == best(curve)[1]:
        return f"{name} {number(found.first)} -> {number(found.last)} in the last half"
    return ""


def long_enough(facts: RunFacts) -> Outcome | None:
    """Whether validation was still falling where the schedule ended."""
    curve = facts.trained_evaluations
    if facts.status in (RUNNING, EARLY):
        return Outcome("not_ended", "-")
    if facts.status != FINISHED or len(curve) < 3:
        return None
    figure = f"eval_{facts.view.primary} " + " -> ".join(number(value) for value in curve.values[-3:])
    if explosion(facts):
        return Outcome("exploded", figure)
    gain = still_improving(curve)
    if gain is not None:
        epochs, steps = facts.amount("num_train_epochs"), facts.amount("max_steps")
        advice: dict[str, object] = {"max_steps": int(1.5 * steps)} if steps and steps > 0 else {}
        if not advice and epochs:
            advice = {"num_train_epochs": round(1.5 * epochs, 2)}
        return Outcome("falling", figure, {"gain": percent(-gain, 1)}, advice)
    rates, peak = facts.training("learning_rate").values, facts.amount("learning_rate")
    if peak and len(rates) > 3 and rates[-1] == max(rates) < 0.9 * peak and rates[-1] > rates[0]:
        return Outcome("rising", figure)
    if not rates or rates[-1] > DECAYED * max(rates):
        return Outcome("settled", figure)
    values = {"epoch": f"{facts.epoch:.2f}" if facts.epoch is not None else "-"}
    if facts.epoch is None or facts.epoch * _views_an_epoch(facts) >= SHORT:
        return Outcome("decayed", figure, values)
    return Outcome("decayed_short", figure, values, _one_epoch(facts))


def _views_an_epoch(facts: RunFacts) -> float:
    """How often an epoch shows a bar: windows that overlap hold it more than once."""
    lookback, horizon, stride = (facts.observed_number("shape", name) for name in ("lookback", "horizon", "stride"))
    if lookback is None or horizon is None or not stride:
        return 1.0
    return max((lookback + horizon + 1) / stride, 1.0)


def _one_epoch(facts: RunFacts) -> dict[str, object]:
    """Advice of a schedule that sees all data once."""
    steps, epoch = facts.amount("max_steps"), facts.observed_number("steps_per_epoch")
    if steps and steps > 0:
        return {"max_steps": math.ceil(epoch)} if epoch and epoch > steps else {}
    return {"num_train_epochs": 1.0} if facts.amount("num_train_epochs") is not None else {}


RULES = (
    Rule(
        "early-stopping",
        TRAINING,
        "Does early stopping end the run at the right time?",
        "早停的时机合适吗？",
        early_stopping,
        {
            "saved": ok(
                "stopped after {patience} evaluations without a gain: {saved} of the full schedule saved.",
                "连续 {patience} 次验证没有改善后停止：节省了完整计划的 {saved}。",
            ),
            "too_early": problem(
                "it was still getting better: early_stopping_min_delta {delta} and early_stopping_patience {patience} "
                "ended it too soon.",
                "停止时仍在改善：early_stopping_min_delta {delta} 与 early_stopping_patience {patience} "
                "使训练过早结束。",
            ),
            "waiting": ok(
                "{waited} of {patience} evaluations without a gain so far.",
                "目前连续 {waited} 次验证没有改善（上限 {patience}）。",
            ),
            "would_save": watch(
                "it is off; with a patience of {patience} the run would have ended at step {step}, {saved} sooner.",
                "早停未启用；若耐心值为 {patience}，训练会在第 {step} 步结束，节省 {saved}。",
            ),
            "would_miss": ok(
                "it is off, and rightly: with a patience of {patience} it would have missed the best, at step {step}.",
                "早停未启用，这是对的：耐心值 {patience} 会错过第 {step} 步的最佳结果。",
            ),
            "not_needed": ok("it is off, and would have saved little.", "早停未启用，启用也节省不了多少。"),
        },
        ("early stopping or the evaluations are not recorded", "没有记录早停设置或验证结果"),
        on_validation=True,
        zh_figure=(
            (
                r"stopped at ([\d,]+) of ([\d,]+); ([\d,]+) steps \((.*)\) not trained",
                r"在 \1 / \2 步停止，少训练 \3 步（\4）",
            ),
            (r"stopped at ([\d,]+) of ([\d,]+); ([\d,]+) steps \((.*)\) saved", r"在 \1 / \2 步停止，节省 \3 步（\4）"),
            (r"([\d.]+) epochs", r"\1 轮"),
            (r", about ", r"，约 "),
            (r" in the last evaluation, the best of all", r"（最后一次验证，为全程最佳）"),
            (r" in the last half", r"（后半程）"),
            (r"best at step (\d+), (\d+) evaluations? without a gain since", r"最佳在第 \1 步，其后 \2 次验证无改进"),
            (r"\(patience (\d+)\)", r"（耐心值 \1）"),
            (r"(\S+) up to step ([\d,]+), (\S+) at step ([\d,]+)", r"第 \2 步之前最佳 \1，第 \4 步 \3"),
            (
                r"best at step (\d+); patience (\d+) would have ended it at ([\d,]+) of ([\d,]+)",
                r"最佳在第 \1 步；耐心值 \2 会在 \3 / \4 步结束",
            ),
        ),
    ),
    Rule(
        "long-enough",
        TRAINING,
        "Was it trained for long enough?",
        "训练得够久吗？",
        long_enough,
        {
            "settled": ok(
                "the last evaluations hardly differ, at a learning rate that still moved: longer would bring little.",
                "学习率尚未降低而最后几次验证相差很小：再训练收益不大。",
            ),
            "decayed": ok(
                "flat at the end of the decayed schedule; whether a longer schedule would gain is not known ({epoch} "
                "epochs).",
                "学习率已降到接近 0，末段持平是必然的；延长训练是否有益无法由此判断（共 {epoch} 轮）。",
            ),
            "decayed_short": watch(
                "flat at the end of the decayed schedule, which did not see all data once ({epoch} epochs): train for "
                "one epoch or more.",
                "学习率已降到接近 0，末段持平是必然的；但数据尚未完整训练一遍（共 {epoch} 轮）：请至少训练一轮。",
            ),
            "falling": watch(
                "validation was still falling at the end ({gain} in the last evaluation): a longer run would do "
                "better.",
                "结束时验证值仍在下降（最后一次变化 {gain}）：更长的训练会更好。",
            ),
            "rising": silent(
                "the learning rate was still rising when the run ended; see schedule.",
                "训练结束时学习率仍在上升，见 schedule。",
            ),
            "exploded": silent(
                "training exploded: its length is not the question, see learning-rate.",
                "训练曾发散：时长不是关键，见 learning-rate。",
            ),
            "not_ended": silent("the schedule was not run to its end.", "未走完计划。"),
        },
        (
            "the schedule was not run to its end, or validation was evaluated fewer than three times",
            "未走完计划或验证不足三次",
        ),
        on_validation=True,
    ),
)
