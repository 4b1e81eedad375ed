"""Rules on the course of a run: did it finish, is it saved, was throughput stable."""

import statistics

from ...runs.folder import SWEEP_FILE, TRIALS
from ..answers import TRAINING, Answer, rule
from ..facts import EARLY, FINISHED, INTERRUPTED, KILLED, PRUNED, RUNNING, UNFINISHED, RunFacts
from .symptoms import leaves_no_model

SLOWER, A_LITTLE_SLOWER, FASTER = 0.7, 0.9, 1.15  # throughput at the end over that at the start
CASES = {EARLY: "early"} | {status: status for status in (FINISHED, RUNNING, INTERRUPTED, KILLED, PRUNED)}


@rule(TRAINING, ok="finished running early pruned", watch="unfinished", problem="interrupted killed lost")
def complete(facts: RunFacts) -> Answer | None:
    """How far it came, and why it ended there."""
    if facts.status in (INTERRUPTED, KILLED) and not facts.newest_complete:
        return Answer("lost")
    if facts.status == EARLY and not facts.settings.get("early_stopping"):
        return Answer(UNFINISHED)
    return Answer(CASES.get(facts.status, UNFINISHED))


@rule(TRAINING, ok="given_up freed model_alone model kept", watch="broken not_yet best_gone", problem="nothing")
def saving(facts: RunFacts) -> Answer | None:
    """Whether there is a checkpoint to resume from and the best one is kept."""
    if facts.path.is_file() or (not facts.record and not facts.checkpoints):
        return None
    values = {"best": facts.record.count("best_step"), "lost": facts.step - (facts.newest_complete or 0)}
    is_over = facts.status in (FINISHED, EARLY)
    if facts.status == PRUNED:
        return Answer("given_up", values)
    if is_over and facts.disk.get("model"):
        return Answer("broken" if leaves_no_model(facts) else "model" if facts.checkpoints else "model_alone", values)
    trials = facts.path.resolve().parent
    if is_over and trials.name == TRIALS and (trials.parent / SWEEP_FILE).is_file():
        return Answer("freed", values)
    if facts.newest_complete is not None:
        is_gone = values["best"] and values["best"] not in facts.checkpoints
        return Answer("best_gone" if is_gone else "kept", values)
    if facts.status == RUNNING:
        return Answer("not_yet", values)
    is_off = facts.settings.get("save_strategy") == "no"
    return Answer("nothing", values, {"save_strategy": "epoch"} if is_off else {})


@rule(TRAINING, ok="even faster a_little_slower", watch="slower")
def speed(facts: RunFacts) -> Answer | None:
    """Throughput in the last third beside the first; of a plain Trainer the seconds of its epochs."""
    epochs, term = facts.epoch_seconds, facts.view.speed
    logged = [1 / seconds for seconds in epochs if seconds > 0] or facts.training(term).tolist()
    rates = [rate for rate in logged if rate > 0]
    if len(rates) < 6:
        return None
    third = len(rates) // 3
    early, late = statistics.median(rates[:third]), statistics.median(rates[-third:])
    limits = ((SLOWER, "slower"), (A_LITTLE_SLOWER, "a_little_slower"), (FASTER, "even"))
    case = next((case for limit, case in limits if late < limit * early), "faster")
    return Answer(case, {"epochs": epochs, "term": term, "early": early, "late": late, "change": late / early - 1})
