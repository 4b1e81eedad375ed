"""Rules on the course of a run: did it finish, is it saved, was throughput stable."""

import statistics

from ...runs.folder import SWEEP_FILE, TRIALS
from ..answers import TRAINING, Answer, Rule
from ..facts import EARLY, FINISHED, INTERRUPTED, KILLED, PRUNED, RUNNING, RunFacts
from .symptoms import leaves_no_model

SLOWER, A_LITTLE_SLOWER, FASTER = 0.7, 0.9, 1.15


def complete(facts: RunFacts) -> Answer | None:
    """How far it came, and why it ended there."""
    cases = {FINISHED: "finished", RUNNING: "running", EARLY: "early", INTERRUPTED: "interrupted", KILLED: "killed"}
    case = (cases | {PRUNED: "pruned"}).get(facts.status, "unfinished")
    if case == "early" and not facts.setting("early_stopping"):
        case = "unfinished"
    if case in ("interrupted", "killed") and not facts.newest_complete:
        case = "lost"
    values = {"step": facts.step, "total": facts.max_steps, "share": facts.progress, "why": facts.why or "-"}
    return Answer(case, values | {"left": facts.seconds_left, "newest": facts.newest_complete or 0})


def saving(facts: RunFacts) -> Answer | None:
    """Whether there is a checkpoint to resume from and the best one is kept."""
    if facts.path.is_file() or (not facts.record and not facts.checkpoints):
        return None
    best_step, newest = facts.record.get("best_step"), facts.newest_complete
    values = {"checkpoints": len(facts.checkpoints), "megabytes": sum(facts.checkpoints.values()) / 1e6}
    values |= {"newest": newest, "best": best_step, "lost": facts.step - (newest or 0)}
    is_over = facts.status in (FINISHED, EARLY)
    if facts.status == PRUNED:
        return Answer("given_up", values)
    if is_over and facts.disk.get("model"):
        found = "broken" if leaves_no_model(facts) else "model" if facts.checkpoints else "model_alone"
        return Answer(found, values)
    trials = facts.path.resolve().parent
    if is_over and trials.name == TRIALS and (trials.parent / SWEEP_FILE).is_file():
        return Answer("freed", values)
    if newest is None:
        if facts.status == RUNNING:
            return Answer("not_yet", values)
        return Answer("nothing", values, {"save_strategy": "epoch"} if facts.setting("save_strategy") == "no" else {})
    return Answer("best_gone" if best_step and best_step not in facts.checkpoints else "kept", values)


def speed(facts: RunFacts) -> Answer | None:
    """Throughput in the last third beside the first; of a plain Trainer the seconds of its epochs."""
    if facts.epoch_seconds:
        rates, values = [1 / seconds for seconds in facts.epoch_seconds], {"epochs": facts.epoch_seconds}
    else:
        rates, values = facts.training(facts.view.speed).values, {"term": facts.view.speed, "epochs": []}
    if len(rates) < 6:
        return None
    third = len(rates) // 3
    early, late = statistics.median(rates[:third]), statistics.median(rates[-third:])
    case = "faster" if late > FASTER * early else "even"
    for limit, name in ((A_LITTLE_SLOWER, "a_little_slower"), (SLOWER, "slower")):
        case = name if late < limit * early else case
    return Answer(case, values | {"early": early, "late": late, "change": late / early - 1})


RULES = (
    Rule("complete", TRAINING, complete, "finished running early pruned", "unfinished", "interrupted killed lost"),
    Rule("saving", TRAINING, saving, "given_up freed model_alone model kept", "broken not_yet best_gone", "nothing"),
    Rule("speed", TRAINING, speed, "even faster a_little_slower", "slower"),
)
