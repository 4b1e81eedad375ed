"""Rules on the course of a run: did it come to its end, too early or late, is it saved, was it as fast throughout."""

import statistics

from ..early_stopping import measure_patience
from ..line_progress import span
from .facts import EARLY, FINISHED, INTERRUPTED, KILLED, RUNNING, RunFacts
from .rules import TRAINING, Outcome, Rule, number, ok, percent, problem, watch
from .trends import best, still_improving, trend

USUAL_PATIENCE = 5
USUAL_MIN_DELTA = 1e-5
WORTH_SAVING = 0.2  # share of the schedule
SLOWER = 0.7


def complete(facts: RunFacts) -> Outcome | None:
    """How far it came, and why it ended there."""
    total = facts.max_steps
    left = "" if facts.seconds_left is None else span(facts.seconds_left)
    share = "" if facts.progress is None else f" ({facts.progress:.0%})".replace("%", " %")
    figure = f"{facts.step:,} of {total:,} steps{share}" if total else f"{facts.step:,} steps"
    values = {"why": facts.why or "-", "left": left or "?", "step": facts.newest_whole or 0}
    cases = {FINISHED: "finished", RUNNING: "running", EARLY: "early", INTERRUPTED: "interrupted", KILLED: "killed"}
    case = cases.get(facts.status, "unfinished")
    if case == "early" and not facts.setting("early_stopping"):
        case = "unfinished"
    if case in ("interrupted", "killed") and not facts.newest_whole:
        case = "lost"
    return Outcome(case, figure, values)


def early_stopping(facts: RunFacts) -> Outcome | None:
    """What early stopping saved, would have saved, or cut off."""
    curve, total = facts.trained_evaluations, facts.max_steps
    if facts.setting("early_stopping") is None or not total or len(curve) < 1:
        return None
    on = bool(facts.setting("early_stopping"))
    delta = facts.amount("early_stopping_min_delta") if on else USUAL_MIN_DELTA
    patience = int(facts.amount("early_stopping_patience") or USUAL_PATIENCE) if on else USUAL_PATIENCE
    metric = str(facts.setting("metric_for_best_model") or f"eval_{facts.view.primary}").removeprefix("eval_")
    watched = facts.evaluated(metric).points()
    state = measure_patience(watched, delta or 0.0, bool(facts.setting("greater_is_better")))
    seconds = facts.seconds_a_step
    if facts.status == EARLY and on:
        saved = 1 - facts.step / total
        time = f", {span(seconds * (total - facts.step))}" if seconds else ""
        epochs = f", {_epochs(facts, total - facts.step)} epochs" if _epochs(facts, 1) else ""
        figure = f"{total - facts.step:,} of {total:,} steps saved ({percent(-saved)}{epochs}{time})"
        values = {"saved": f"{saved:.0%}".replace("%", " %"), "patience": patience, "delta": f"{delta:g}"}
        falling = _still_falling(facts)
        if falling:
            advice = {
                "early_stopping_patience": max(USUAL_PATIENCE, patience),
                "early_stopping_min_delta": USUAL_MIN_DELTA,
            }
            return Outcome("too_early", f"{falling}; {figure}", values, advice)
        return Outcome("saved", figure, values)
    waited = f"eval_{metric}: {state.waited} evaluations since step {state.best_step}"
    if on:
        return Outcome("waiting", f"{waited} (patience {patience})", {"waited": state.waited, "patience": patience})
    would = _would_stop(watched, patience, bool(facts.setting("greater_is_better")))
    if would is not None and 1 - would / total > WORTH_SAVING:
        saved = 1 - would / total
        time = f" ({span(seconds * (total - would))})" if seconds else ""
        figure = (
            f"best at step {state.best_step}; patience {patience} would have ended it at {would:,} of {total:,}{time}"
        )
        values = {"saved": f"{saved:.0%}".replace("%", " %"), "patience": patience, "step": would}
        return Outcome("would_save", figure, values, {"early_stopping": True, "early_stopping_patience": patience})
    return Outcome("not_needed", waited)


def _epochs(facts: RunFacts, steps: int) -> str:
    per = facts.observed_number("steps_per_epoch")
    return f"{steps / per:.1f}" if per else ""


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
    if 0 < last < 0.99 * before and best(curve)[1] == last:
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
    if facts.status != FINISHED or len(curve) < 3:
        return None
    gain = still_improving(curve)
    figure = f"eval_{facts.view.primary} " + " -> ".join(number(value) for value in curve.values[-3:])
    if gain is None:
        return Outcome("settled", figure)
    epochs, steps = facts.amount("num_train_epochs"), facts.amount("max_steps")
    advice: dict[str, object] = {"max_steps": int(1.5 * steps)} if steps and steps > 0 else {}
    if not advice and epochs:
        advice = {"num_train_epochs": round(1.5 * epochs, 2)}
    return Outcome("falling", figure, {"gain": percent(-gain, 1)}, advice)


def saving(facts: RunFacts) -> Outcome | None:
    """Whether there is a checkpoint to go on from and the best one is kept."""
    if facts.path.is_file() or (not facts.record and not facts.checkpoints):
        return None
    count, megabytes = len(facts.checkpoints), sum(facts.checkpoints.values()) / 1e6
    best_step = facts.record.get("best_step")
    figure = (
        f"{count} checkpoints, {megabytes:,.1f} MB, newest whole: {facts.newest_whole or '-'}, best: {best_step or '-'}"
    )
    is_over = facts.status in (FINISHED, EARLY)
    if is_over and facts.disk.get("model"):
        return Outcome("model", figure)
    if facts.newest_whole is None:
        if facts.status == RUNNING:
            return Outcome("not_yet", figure)
        return Outcome(
            "nothing", figure, {}, {"save_strategy": "epoch"} if facts.setting("save_strategy") == "no" else {}
        )
    values = {"step": facts.newest_whole, "lost": facts.step - facts.newest_whole, "best": best_step or "-"}
    if best_step and best_step not in facts.checkpoints:
        return Outcome("best_gone", figure, values)
    return Outcome("kept", figure, values)


def speed(facts: RunFacts) -> Outcome | None:
    """Throughput in the last third beside the first."""
    rates = facts.training(facts.view.speed) if facts.view.speed else facts.training("")
    if len(rates) < 6:
        return None
    third = len(rates) // 3
    early, late = statistics.median(rates.values[:third]), statistics.median(rates.values[-third:])
    figure = f"{facts.view.speed} {early:,.0f} -> {late:,.0f} (median of the first and last third)"
    return Outcome("slower" if late < SLOWER * early else "even", figure, {"change": percent(late / early - 1)})


RULES = (
    Rule(
        "complete",
        TRAINING,
        "Did the run come to its end?",
        "训练是否完成？",
        complete,
        {
            "finished": ok("all planned steps were made.", "计划的步数已全部完成。"),
            "running": ok(
                "it is under way; about {left} are left at its mean speed.", "正在进行，按平均速度还需约 {left}。"
            ),
            "early": ok(
                "early stopping ended it; see the rule early-stopping.", "由早停结束，见 early-stopping 一条。"
            ),
            "interrupted": problem(
                "it was interrupted ({why}); the same command with --resume goes on from step {step}.",
                "训练被中断（{why}）；用相同命令加 --resume 可从第 {step} 步继续。",
            ),
            "killed": problem(
                "its record says running but its process is gone: it was killed; the same command with --resume goes "
                "on from step {step}.",
                "记录显示仍在运行，但进程已不存在：训练被强行终止；用相同命令加 --resume 可从第 {step} 步继续。",
            ),
            "lost": problem(
                "it ended before its time and no checkpoint is whole: it has to begin anew.",
                "训练提前终止，且没有完整的检查点：只能从头开始。",
            ),
            "unfinished": watch(
                "not all planned steps were made, and nothing says why: it is still running, or was stopped by hand.",
                "计划的步数未完成，且没有记录原因：可能仍在运行，或被手动停止。",
            ),
        },
        ("nothing was recorded", "没有任何记录"),
        zh_figure=(
            (r"([\d,]+) of ([\d,]+) steps", r"\1 / \2 步"),
            (r"([\d,]+) steps", r"\1 步"),
        ),
    ),
    Rule(
        "early-stopping",
        TRAINING,
        "Does early stopping end the run at the right time?",
        "早停的时机合适吗？",
        early_stopping,
        {
            "saved": ok(
                "stopped after {patience} evaluations without a gain: {saved} of the full schedule saved.",
                "连续 {patience} 次验证没有进步后停止：节省了完整计划的 {saved}。",
            ),
            "too_early": problem(
                "it was still getting better: a gain of {delta} and a patience of {patience} ended it too soon.",
                "停止时仍在进步：要求的进步 {delta} 与耐心值 {patience} 使训练过早结束。",
            ),
            "waiting": ok(
                "{waited} of {patience} evaluations without a gain so far.",
                "目前连续 {waited} 次验证没有进步（上限 {patience}）。",
            ),
            "would_save": watch(
                "it is off; with a patience of {patience} the run would have ended at step {step}, {saved} sooner.",
                "早停未启用；若耐心值为 {patience}，训练会在第 {step} 步结束，节省 {saved}。",
            ),
            "not_needed": ok("it is off, and would have saved little.", "早停未启用，启用也节省不了多少。"),
        },
        ("early stopping or the evaluations are not recorded", "没有记录早停设置或验证结果"),
        zh_figure=(
            (r"([\d,]+) of ([\d,]+) steps saved", r"节省 \1 / \2 步"),
            (r"([\d.]+) epochs", r"\1 轮"),
            (r" in the last evaluation, the best of all", r"（最后一次验证，为全程最佳）"),
            (r" in the last half", r"（后半程）"),
            (r"(\d+) evaluations since step (\d+)", r"自第 \2 步起 \1 次验证"),
            (r"\(patience (\d+)\)", r"（耐心值 \1）"),
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
                "the last evaluations hardly differ: longer would bring little.",
                "最后几次验证相差很小：再训练收益不大。",
            ),
            "falling": watch(
                "validation was still falling at the end ({gain} in the last evaluation): a longer run would do "
                "better.",
                "结束时验证值仍在下降（最后一次变化 {gain}）：更长的训练会更好。",
            ),
        },
        ("the run is not at its end, or was evaluated fewer than three times", "训练未结束，或验证不足三次"),
    ),
    Rule(
        "saving",
        TRAINING,
        "Is the work saved?",
        "训练成果保存了吗？",
        saving,
        {
            "model": ok("the model of the run is written, beside its checkpoints.", "模型已写入，检查点也在。"),
            "kept": ok(
                "step {step} can be gone on from; {lost} steps are not saved.",
                "可从第 {step} 步继续；有 {lost} 步尚未保存。",
            ),
            "not_yet": watch("no checkpoint was written yet.", "尚未写入任何检查点。"),
            "nothing": problem(
                "no checkpoint is whole and no model was written: nothing of it can be used.",
                "没有完整的检查点，也没有模型：无法使用任何成果。",
            ),
            "best_gone": watch(
                "the checkpoint of the best step {best} is not there any more.", "最佳步 {best} 的检查点已不存在。"
            ),
        },
        ("only a Trainer's state is there", "只有 Trainer 的状态文件"),
        zh_figure=(
            (r"(\d+) checkpoints", r"\1 个检查点"),
            (r"newest whole:", r"最新完整："),
            (r"best:", r"最佳："),
        ),
    ),
    Rule(
        "speed",
        TRAINING,
        "Is it as fast throughout?",
        "训练速度稳定吗？",
        speed,
        {
            "even": ok(
                "the last third runs at the speed of the first ({change}).",
                "后三分之一与前三分之一速度相当（{change}）。",
            ),
            "slower": watch(
                "the last third is slower ({change}): another load on the machine, or memory that runs short.",
                "后三分之一变慢（{change}）：机器有其他负载，或内存不足。",
            ),
        },
        ("throughput was logged fewer than six times", "吞吐量的记录不足六次"),
        zh_figure=((r"\(median of the first and last third\)", r"（首尾三分之一的中位数）"),),
    ),
)
