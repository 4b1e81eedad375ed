"""Rules on the length of a run: did early stopping end it at the right time, and was the schedule long enough."""

import math

import pandas as pd

from ...training.early_stopping import measure_patience
from ..answers import TRAINING, Answer, rule
from ..curves import best, still_improving, trend
from ..facts import EARLY, FINISHED, RUNNING, UNFINISHED, RunFacts
from .symptoms import explosion

USUAL_PATIENCE, PATIENCES = 5, (3, 5, 10)
USUAL_MIN_DELTA = 1e-5
WORTH_SAVING = 0.2  # share of the schedule
DECAYED = 0.05  # of the highest learning rate
SHORT = 1.0  # times that the data were seen
LONGER = 1.5  # times the schedule, if validation was still falling at its end
LONG_WAIT = 3  # evaluations without a gain


@rule(
    TRAINING,
    ok="saved waiting would_miss not_needed missed_later improving saves_little",
    watch="would_save stopped_before flat_now",
    problem="too_early",
    on_validation=True,
)
def early_stopping(facts: RunFacts) -> Answer | None:
    """What early stopping saved, would have saved, or cut off."""
    curve, total = facts.trained_evaluations, facts.max_steps
    if total and len(curve) > 1 and not facts.record:
        return _of_plain_trainer(facts, total)
    if facts.settings.get("early_stopping") is None or not total or curve.empty:
        return None
    on = bool(facts.settings.get("early_stopping"))
    delta = (facts.settings.number("early_stopping_min_delta") if on else USUAL_MIN_DELTA) or 0.0
    patience = (facts.settings.count("early_stopping_patience") if on else 0) or USUAL_PATIENCE
    metric = (facts.settings.text("metric_for_best_model") or facts.view.primary).removeprefix("eval_")
    greater = bool(facts.settings.get("greater_is_better"))
    watched = facts.evaluated(metric)
    state = measure_patience(watched.items(), delta, greater)
    values = {"patience": patience, "delta": delta, "waited": state.waited, "on": on, "metric": metric}
    values["best_step"] = state.best_step
    if on:
        return _stopped(facts, total, values) if facts.status == EARLY else Answer("waiting", values)
    would = _would_stop(watched, patience, greater)
    if would is None or 1 - would / total <= WORTH_SAVING:
        return Answer("not_needed", values)
    values |= {"would": would, "saved": 1 - would / total}
    (_, before), (step, value) = best(watched.loc[:would], greater), best(watched, greater)
    if abs(value - before) > USUAL_MIN_DELTA:  # the best of all is no worse than the best before
        return Answer("would_miss", values | {"before": before, "best": value, "step": step})
    values["seconds"] = facts.seconds_a_step and facts.seconds_a_step * (total - would)
    return Answer("would_save", values, {"early_stopping": True, "early_stopping_patience": patience})


def _of_plain_trainer(facts: RunFacts, total: int) -> Answer:
    """Where early stopping would end a run of a plain Trainer, by its validation loss."""
    curve, is_over = facts.trained_evaluations, facts.step >= total
    state = measure_patience(curve.items(), USUAL_MIN_DELTA, False)
    last, apart = int(curve.index[-1]), int(curve.index[-1] - curve.index[-2])
    stops = {patience: _would_stop(curve, patience, False) for patience in PATIENCES}
    ends = []
    for patience, would in stops.items():
        ahead = last + (patience - state.waited) * apart
        if would or ahead < total:
            ends.append({"patience": patience, "is_ahead": would is None, **facts.place(would or ahead)})
    values = {"best": state.best, "best_at": facts.place(state.best_step), "waited": state.waited, "ends": ends}
    values |= {"patience": USUAL_PATIENCE, "left": None if is_over else facts.seconds_left}
    advice = {"load_best_model_at_end": True, "metric_for_best_model": f"eval_{facts.view.primary}"}
    advice |= {"early_stopping_patience": USUAL_PATIENCE}
    would = stops[USUAL_PATIENCE]
    if would is not None and 1 - would / total > WORTH_SAVING:
        values |= {"would": facts.place(would), "saved": 1 - would / total}
        return Answer("missed_later", values) if state.best_step > would else Answer("stopped_before", values, advice)
    if state.waited < LONG_WAIT:
        return Answer("improving", values)
    return Answer("saves_little", values) if is_over else Answer("flat_now", values, advice)


def _stopped(facts: RunFacts, total: int, values: dict[str, object]) -> Answer:
    """Of a run that early stopping ended: how much it saved, and whether validation was still improving."""
    seconds, left, per_epoch = facts.seconds_a_step, total - facts.step, facts.observed.number("steps_per_epoch")
    values |= {"left": left, "saved": left / total, "seconds": seconds and seconds * left}
    values["epochs"] = per_epoch and left / per_epoch
    falling = _still_falling(facts)
    if not falling:
        return Answer("saved", values)
    patience = max(USUAL_PATIENCE, values["patience"])
    advice = {"early_stopping_patience": patience, "early_stopping_min_delta": USUAL_MIN_DELTA}
    return Answer("too_early", values | falling, advice)


def _would_stop(curve: pd.Series, patience: int, greater: bool) -> int | None:
    """The step at which early stopping would have ended the run."""
    for count in range(2, len(curve) + 1):
        if measure_patience(curve.iloc[:count].items(), USUAL_MIN_DELTA, greater).waited >= patience:
            return int(curve.index[count - 1])
    return None


def _still_falling(facts: RunFacts) -> dict[str, object]:
    """What was still improving when early stopping ended the run; empty if nothing was."""
    curve, name = facts.primary_evaluated, facts.view.primary
    if len(curve) < 2:
        return {}
    before, last = curve.iloc[-2], curve.iloc[-1]
    is_best = last == curve.min()
    delta = facts.settings.number("early_stopping_min_delta") or 0.0  # one that no gain can reach always stops
    if 0 < last < (1 if delta > 0.05 * before else 0.99) * before and is_best:
        return {"series": f"eval_{name}", "first": before, "last": last, "half": False}
    found = trend(facts.primary.loc[facts.step - facts.step // 2 + 1 :], least=0.05)
    rates = facts.training("learning_rate")
    is_high = len(rates) > 0 and rates.iloc[-1] > 0.5 * rates.max()
    if found is not None and found.direction < 0 and is_high and before > last and is_best:
        return {"series": name, "first": found.first, "last": found.last, "half": True}
    return {}


@rule(
    TRAINING,
    ok="settled decayed",
    watch="decayed_short falling",
    not_applicable="rising exploded not_ended",
    on_validation=True,
)
def long_enough(facts: RunFacts) -> Answer | None:
    """Whether validation was still falling where the schedule ended."""
    curve, rates = facts.trained_evaluations, facts.training("learning_rate")
    if facts.status in (RUNNING, EARLY) or (facts.status == UNFINISHED and len(curve)):
        return Answer("not_ended")
    if facts.status != FINISHED or len(curve) < 3:
        return None
    values: dict[str, object] = {"last": curve.iloc[-3:].tolist()}
    if explosion(facts):
        return Answer("exploded", values)
    gain, peak = still_improving(curve), facts.settings.number("learning_rate")
    if gain is not None:
        return Answer("falling", values | {"gain": -gain}, longer(facts, LONGER))
    if peak and len(rates) > 3 and rates.iloc[0] < rates.iloc[-1] == rates.max() < 0.9 * peak:
        return Answer("rising", values)
    if rates.empty or rates.iloc[-1] > DECAYED * rates.max():
        return Answer("settled", values)
    if facts.epoch is None or facts.epoch * _views_an_epoch(facts) >= SHORT:
        return Answer("decayed", values)
    return Answer("decayed_short", values, _one_epoch(facts))


def _views_an_epoch(facts: RunFacts) -> float:
    """How often an epoch shows a bar: overlapping windows hold it more than once."""
    lookback, horizon, stride = (facts.observed.number("shape", name) for name in ("lookback", "horizon", "stride"))
    if lookback is None or horizon is None or not stride:
        return 1.0
    return max((lookback + horizon + 1) / stride, 1.0)


def longer(facts: RunFacts, factor: float) -> dict[str, object]:
    """Advises a schedule that is longer by a factor."""
    epochs, steps = facts.settings.number("num_train_epochs"), facts.settings.number("max_steps") or 0
    if steps > 0:
        return {"max_steps": int(factor * steps)}
    return {"num_train_epochs": round(factor * epochs, 2)} if epochs else {}


def _one_epoch(facts: RunFacts) -> dict[str, object]:
    """Advises a schedule that sees all data once."""
    steps, epoch = facts.settings.number("max_steps"), facts.observed.number("steps_per_epoch")
    if steps and steps > 0:
        return {"max_steps": math.ceil(epoch)} if epoch and epoch > steps else {}
    return {"num_train_epochs": 1.0} if facts.settings.number("num_train_epochs") is not None else {}
