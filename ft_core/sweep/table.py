"""Text output of trials: a line for each, a progress line, the final table."""

import statistics
from collections.abc import Mapping

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ..io.progress_lines import span
from .plan import SweepPlan
from .study import REASON, best_trials, ended_trials

STATES = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
MOST_ROWS = 10
MOST_REASON = 90  # maximum characters of a failure in the table


def written(value: object) -> str:
    """A short form of a value."""
    return f"{value:.4g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def values_of(params: Mapping[str, object]) -> str:
    """Values of a trial in one line."""
    return ", ".join(f"{name} {written(value)}" for name, value in params.items())


def trial_line(plan: SweepPlan, number: int, params: Mapping[str, object]) -> str:
    """A line for a trial that begins."""
    return f"trial {number:<6}{values_of(params)}"


def seconds_of(trial: FrozenTrial) -> float:
    """Time from the start to the end of a trial."""
    return (trial.datetime_complete - trial.datetime_start).total_seconds()


def best_reported(trial: FrozenTrial, direction: str) -> float | None:
    """The best evaluation of a trial, finished or not."""
    values = [value for value in trial.intermediate_values.values() if value == value]
    return (min if direction == "minimize" else max)(values) if values else None


def progress_line(study: Study, plan: SweepPlan, number: int) -> str:
    """A line for an ended trial: its outcome, trials done, the best so far, time left."""
    ended = ended_trials(study)
    trial = next(trial for trial in ended if trial.number == number)
    if trial.state == TrialState.COMPLETE:
        outcome = f"{plan.metric} {trial.value:.6g}"
    elif trial.state == TrialState.PRUNED:
        outcome = f"pruned after {len(trial.intermediate_values)} evaluations"
    else:
        outcome = f"failed: {trial.user_attrs.get(REASON, '')}"
    best = best_trials(study)[:1]
    so_far = f", best {best[0].value:.6g} of trial {best[0].number}" if best else ", none finished yet"
    left = plan.trials - len(ended)
    each = statistics.median(seconds_of(trial) for trial in ended)
    time_left = f", about {span(each * left / min(plan.search.workers, max(left, 1)))} left" if left > 0 else ""
    return f"trial {number:<6}{outcome} ({len(ended)} of {plan.trials} done{so_far}{time_left})"


def final_table(study: Study, plan: SweepPlan) -> list[str]:
    """The finished trials, best first, then the pruned, then the failed ones."""
    best = best_trials(study)
    others = [trial for trial in ended_trials(study) if trial.state != TrialState.COMPLETE]
    others.sort(key=lambda trial: (trial.state == TrialState.FAIL, trial.number))
    counts = {name: sum(STATES[trial.state] == name for trial in [*best, *others]) for name in STATES.values()}
    lines = [f"{'trial':>6}  {plan.metric:>16}  {'state':9} values"]
    for trial in [*best, *others][:MOST_ROWS]:
        value = trial.value if trial.state == TrialState.COMPLETE else best_reported(trial, plan.direction)
        reason = trial.user_attrs.get(REASON, "")
        shown = reason if len(reason) <= MOST_REASON else f"{reason[:MOST_REASON]}..."
        lines.append(
            f"{trial.number:>6}  {'-' if value is None else f'{value:.6g}':>16}  {STATES[trial.state]:9} "
            f"{values_of(trial.params)}{f' ({shown})' if reason else ''}"
        )
    if len(best) + len(others) > MOST_ROWS:
        lines.append(f"{'':6}  ({len(best) + len(others) - MOST_ROWS} more in trials.csv)")
    lines.append("trials      " + ", ".join(f"{count} {name}" for name, count in counts.items() if count))
    return lines
