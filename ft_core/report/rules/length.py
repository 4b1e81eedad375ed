"""Rules on the length of a run: did early stopping end it at the right time, and was the schedule long enough."""

import math

from ...training.early_stopping import measure_patience
from ..answers import TRAINING, Answer, Rule
from ..facts import EARLY, FINISHED, RUNNING, UNFINISHED, RunFacts
from ..trends import best, still_improving, trend
from .symptoms import explosion

USUAL_PATIENCE, PATIENCES = 5, (3, 5, 10)
USUAL_MIN_DELTA = 1e-5
WORTH_SAVING = 0.2  # share of the schedule
DECAYED = 0.05  # of the highest learning rate
SHORT = 1.0  # times that the data were seen
LONG_WAIT = 3  # evaluations without a gain

Points = list[tuple[int, float]]


def early_stopping(facts: RunFacts) -> Answer | None:
    """What early stopping saved, would have saved, or cut off."""
    curve, total = facts.trained_evaluations, facts.max_steps
    if total and len(curve) > 1 and not facts.record:
        return _of_plain_trainer(facts, total)
    if facts.setting("early_stopping") is None or not total or len(curve) < 1:
        return None
    on = bool(facts.setting("early_stopping"))
    delta = (facts.amount("early_stopping_min_delta") if on else USUAL_MIN_DELTA) or 0.0
    patience = int(facts.amount("early_stopping_patience") or USUAL_PATIENCE) if on else USUAL_PATIENCE
    metric = str(facts.setting("metric_for_best_model") or f"eval_{facts.view.primary}").removeprefix("eval_")
    greater = bool(facts.setting("greater_is_better"))
    watched = facts.evaluated(metric).points()
    state = measure_patience(watched, delta, greater)
    values = {"patience": patience, "delta": delta, "waited": state.waited, "step": state.best_step, "on": on}
    values |= {"metric": metric, "best_step": state.best_step, "total": total}
    if facts.status == EARLY and on:
        return _stopped(facts, total, values)
    if on:
        return Answer("waiting", values)
    would = _would_stop(watched, patience, greater)
    if would is None or 1 - would / total <= WORTH_SAVING:
        return Answer("not_needed", values)
    values |= {"would": would, "saved": 1 - would / total}
    sign = -1.0 if greater else 1.0
    before = min(sign * value for step, value in watched if step <= would)
    step, value = best(facts.evaluated(metric), greater)
    if sign * value < before - USUAL_MIN_DELTA:
        return Answer("would_miss", values | {"before": sign * before, "best": value, "step": step})
    seconds = facts.seconds_a_step
    values |= {"seconds": seconds and seconds * (total - would), "step": would}
    return Answer("would_save", values, {"early_stopping": True, "early_stopping_patience": patience})


def _of_plain_trainer(facts: RunFacts, total: int) -> Answer:
    """Where early stopping would end a run of a plain Trainer, by its validation loss."""
    points, term = facts.trained_evaluations.points(), facts.view.primary
    state = measure_patience(points, USUAL_MIN_DELTA, False)
    apart = points[-1][0] - points[-2][0]
    ends = []
    for patience in PATIENCES:
        would = _would_stop(points, patience, False)
        ahead = points[-1][0] + (patience - state.waited) * apart
        if would or ahead < total:
            ends.append({"patience": patience, "is_ahead": would is None, **facts.place(would or ahead)})
    would = _would_stop(points, USUAL_PATIENCE, False)
    values = {"term": term, "best": state.best, "best_at": facts.place(state.best_step), "waited": state.waited}
    values |= {"patience": USUAL_PATIENCE, "ends": ends, "left": facts.seconds_left if facts.step < total else None}
    advice = {"load_best_model_at_end": True, "metric_for_best_model": f"eval_{term}"}
    advice |= {"early_stopping_patience": USUAL_PATIENCE}
    if would is not None and 1 - would / total > WORTH_SAVING:
        values |= {"would": facts.place(would), "saved": 1 - would / total}
        return Answer("missed_later", values) if state.best_step > would else Answer("stopped_before", values, advice)
    if state.waited < LONG_WAIT:
        return Answer("improving", values)
    return Answer("flat_now", values, advice) if facts.step < total else Answer("saves_little", values)


def _stopped(facts: RunFacts, total: int, values: dict[str, object]) -> Answer:
    """Of a run that early stopping ended: how much it saved, and whether validation was still improving."""
    seconds, left = facts.seconds_a_step, total - facts.step
    per = facts.observed_number("steps_per_epoch")
    values |= {"at": facts.step, "left": left, "share": left / total, "saved": left / total}
    values |= {"epochs": per and left / per, "seconds": seconds and seconds * left}
    falling = _still_falling(facts)
    if not falling:
        return Answer("saved", values)
    advice = {
        "early_stopping_patience": max(USUAL_PATIENCE, int(values["patience"])),
        "early_stopping_min_delta": USUAL_MIN_DELTA,
    }
    return Answer("too_early", values | falling, advice)


def _would_stop(points: Points, patience: int, greater: bool) -> int | None:
    """The step at which early stopping would have ended the run."""
    for count in range(1, len(points)):
        if measure_patience(points[: count + 1], USUAL_MIN_DELTA, greater).waited >= patience:
            return points[count][0]
    return None


def _still_falling(facts: RunFacts) -> dict[str, object]:
    """What was still improving when early stopping ended the run; empty if nothing was."""
    curve, name = facts.primary_evaluated, facts.view.primary
    if len(curve) < 2:
        return {}
    before, last = curve.values[-2:]
    lowest = best(curve)[1]
    logged = facts.training("learning_rate").values
    delta = facts.amount("early_stopping_min_delta") or 0.0  # one that no gain can reach stops whatever happens
    if 0 < last < (1 if delta > 0.05 * before else 0.99) * before and lowest == last:
        return {"series": f"eval_{name}", "first": before, "last": last, "half": False}
    found = trend(facts.primary.between(facts.step - facts.step // 2, float("inf")), least=0.05)
    is_high = bool(logged) and logged[-1] > 0.5 * max(logged)
    if found is not None and found.direction < 0 and is_high and before > last == lowest:
        return {"series": name, "first": found.first, "last": found.last, "half": True}
    return {}


def long_enough(facts: RunFacts) -> Answer | None:
    """Whether validation was still falling where the schedule ended."""
    curve = facts.trained_evaluations
    if facts.status in (RUNNING, EARLY) or (facts.status == UNFINISHED and len(curve)):
        return Answer("not_ended")
    if facts.status != FINISHED or len(curve) < 3:
        return None
    values: dict[str, object] = {"term": facts.view.primary, "last": curve.values[-3:], "epoch": facts.epoch}
    if explosion(facts):
        return Answer("exploded", values)
    gain = still_improving(curve)
    if gain is not None:
        epochs, steps = facts.amount("num_train_epochs"), facts.amount("max_steps")
        advice: dict[str, object] = {"max_steps": int(1.5 * steps)} if steps and steps > 0 else {}
        if not advice and epochs:
            advice = {"num_train_epochs": round(1.5 * epochs, 2)}
        return Answer("falling", values | {"gain": -gain}, advice)
    rates, peak = facts.training("learning_rate").values, facts.amount("learning_rate")
    if peak and len(rates) > 3 and rates[-1] == max(rates) < 0.9 * peak and rates[-1] > rates[0]:
        return Answer("rising", values)
    if not rates or rates[-1] > DECAYED * max(rates):
        return Answer("settled", values)
    if facts.epoch is None or facts.epoch * _views_an_epoch(facts) >= SHORT:
        return Answer("decayed", values)
    return Answer("decayed_short", values, _one_epoch(facts))


def _views_an_epoch(facts: RunFacts) -> float:
    """How often an epoch shows a bar: overlapping windows hold it more than once."""
    lookback, horizon, stride = (facts.observed_number("shape", name) for name in ("lookback", "horizon", "stride"))
    if lookback is None or horizon is None or not stride:
        return 1.0
    return max((lookback + horizon + 1) / stride, 1.0)


def _one_epoch(facts: RunFacts) -> dict[str, object]:
    """Advises a schedule that sees all data once."""
    steps, epoch = facts.amount("max_steps"), facts.observed_number("steps_per_epoch")
    if steps and steps > 0:
        return {"max_steps": math.ceil(epoch)} if epoch and epoch > steps else {}
    return {"num_train_epochs": 1.0} if facts.amount("num_train_epochs") is not None else {}


RULES = (
    Rule(
        "early-stopping",
        TRAINING,
        early_stopping,
        "saved waiting would_miss not_needed missed_later improving saves_little",
        "would_save stopped_before flat_now",
        "too_early",
        on_validation=True,
    ),
    Rule(
        "long-enough",
        TRAINING,
        long_enough,
        "settled decayed",
        "decayed_short falling",
        "",
        "rising exploded not_ended",
        on_validation=True,
    ),
)
