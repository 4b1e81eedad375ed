"""Rules on the course of a run: did it come to its end, is it saved, was it as fast throughout."""

import statistics

from ...io.progress_lines import span
from ...runs.folder import SWEEP_FILE, TRIALS
from ..answers import TRAINING, Outcome, Rule, ok, percent, problem, watch
from ..facts import EARLY, FINISHED, INTERRUPTED, KILLED, PRUNED, RUNNING, RunFacts
from ..symptoms import counted, leaves_no_model

SLOWER, A_LITTLE_SLOWER, FASTER = 0.7, 0.9, 1.15


def complete(facts: RunFacts) -> Outcome | None:
    """How far it came, and why it ended there."""
    total = facts.max_steps
    left = "" if facts.seconds_left is None else span(facts.seconds_left)
    share = "" if facts.progress is None else f" ({facts.progress:.0%})".replace("%", " %")
    figure = f"{facts.step:,} of {total:,} steps{share}" if total else f"{facts.step:,} steps"
    values = {"why": facts.why or "-", "left": left or "?", "step": facts.newest_whole or 0}
    cases = {FINISHED: "finished", RUNNING: "running", EARLY: "early", INTERRUPTED: "interrupted", KILLED: "killed"}
    case = cases.get(facts.status, PRUNED if facts.status == PRUNED else "unfinished")
    if case == "early" and not facts.setting("early_stopping"):
        case = "unfinished"
    if case in ("interrupted", "killed") and not facts.newest_whole:
        case = "lost"
    return Outcome(case, figure, values)


def saving(facts: RunFacts) -> Outcome | None:
    """Whether there is a checkpoint to go on from and the best one is kept."""
    if facts.path.is_file() or (not facts.record and not facts.checkpoints):
        return None
    count, megabytes = len(facts.checkpoints), sum(facts.checkpoints.values()) / 1e6
    best_step = facts.record.get("best_step")
    figure = f"{counted(count, 'checkpoint', 'checkpoints')}, {megabytes:,.1f} MB, "
    figure += f"newest whole: {facts.newest_whole or '-'}, best: {best_step or '-'}"
    is_over = facts.status in (FINISHED, EARLY)
    if facts.status == PRUNED:
        return Outcome("given_up", figure)
    if is_over and facts.disk.get("model"):
        return Outcome("broken" if leaves_no_model(facts) else "model" if count else "model_alone", figure)
    trials = facts.path.resolve().parent
    if is_over and trials.name == TRIALS and (trials.parent / SWEEP_FILE).is_file():
        return Outcome("freed", figure)
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
    case = "faster" if late > FASTER * early else "even"
    for limit, name in ((A_LITTLE_SLOWER, "a_little_slower"), (SLOWER, "slower")):
        case = name if late < limit * early else case
    values = {"change": percent(late / early - 1), "less": percent(1 - late / early).removeprefix("+")}
    return Outcome(case, figure, values)


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
            "early": ok("early stopping ended it; see the rule early-stopping.", "由早停结束，见 early-stopping。"),
            "pruned": ok(
                "a search ended it, because other trials did better; nothing is wrong with it.",
                "其他试验更好，搜索提前结束了它；并非故障。",
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
        "saving",
        TRAINING,
        "Is the work saved?",
        "训练成果保存了吗？",
        saving,
        {
            "given_up": ok(
                "a search gave the run up and freed its checkpoints.", "搜索放弃了该试验，并删除了它的检查点。"
            ),
            "freed": ok(
                "the search kept the models of other trials and freed this one's.",
                "搜索只保留了其他试验的模型，删除了它的模型。",
            ),
            "model_alone": ok(
                "the model of the run is written; no checkpoint is kept.", "模型已写入；没有保留检查点。"
            ),
            "model": ok("the model of the run is written, beside its checkpoints.", "模型已写入，检查点齐全。"),
            "broken": watch(
                "a model is written, but training had exploded: best_model is of no use, do not resume from any "
                "checkpoint.",
                "模型已写入，但训练曾发散：best_model 不可用，请勿续训。",
            ),
            "kept": ok(
                "a resume goes on at step {step}; {lost} steps are not saved.",
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
            (r"(\d+) checkpoints?", r"\1 个检查点"),
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
            "faster": ok(
                "faster at the end ({change}): the machine was busy at first.",
                "后段更快（{change}）：起初机器可能有其他负载。",
            ),
            "a_little_slower": ok(
                "the last third is slower by {less}, within the tolerance (30 %).",
                "后三分之一慢 {less}，在容许范围内（30 %）。",
            ),
            "slower": watch(
                "the last third is slower ({change}): another load on the machine, or memory that runs short.",
                "后三分之一变慢（{change}）：机器有其他负载，或内存不足。",
            ),
        },
        ("throughput was logged fewer than six times", "吞吐量的记录不足六次"),
        zh_figure=(
            (r"bars_per_second (\S+) -> (\S+)", r"每秒 \1 -> \2 根 K 线"),
            (r"target_tokens_per_second (\S+) -> (\S+)", r"每秒 \1 -> \2 个目标词元"),
            (r"\(median of the first and last third\)", r"（首尾三分之一的中位数）"),
        ),
    ),
)
