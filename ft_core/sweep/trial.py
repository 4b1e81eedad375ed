"""One trial: a complete run, pruned at its evaluations, and its outcome."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from optuna.study import Study
from optuna.trial import Trial, TrialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..checkpoints.retention import metric_history
from ..checkpoints.saving import CheckpointNotSaved
from ..io.console import quiet
from ..io.files import is_full_disk
from ..io.formats import is_number, json_lines
from ..io.memory import free_memory
from ..io.secrets import without_secrets
from ..runs.folder import LOG_FILE, trials_of
from ..runs.record_schema import RESTORE, read_record
from ..training.interruption import RunPruned, StoppedBySignal
from .plan import SweepPlan
from .results import renew_results
from .study import claim_lock, fail_trial, free_disk, release_trial

TRIAL_FAULTS = (ValueError, RuntimeError, MemoryError, OSError, ImportError, ArithmeticError)
MOST_REASON = 300  # characters
# takes a value, the number of its evaluation and whether the trial may be pruned; returns whether it is pruned
Report = Callable[[float, int, bool], bool]


@dataclass(frozen=True)
class Outcome:
    """How the run of a trial ended.

    Attributes:
        value (`float`, *optional*): the objective of a run that finished.
        state (*optional*): `PRUNED` for a pruned run.
        reason (`str`, *optional*): why a run failed.
    """

    value: float | None = None
    state: TrialState | None = None
    reason: str | None = None


class ReportToTrial(TrainerCallback):
    """Reports each evaluation to the trial, counted from 1, and ends the run if the trial is pruned.

    The evaluation of the starting weights does not count. With one evaluation per epoch, counting evaluations instead
    of steps compares trials with different batch sizes at the same share of their training.

    Args:
        report ([`Report`]): tells the study, and returns its decision.
        metric (`str`): logged name of the objective.
    """

    def __init__(self, report: Report, metric: str):
        self.report = report
        self.metric = metric

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        history = [value for step, value in metric_history(state, self.metric) if step > 0]
        if state.global_step == 0 or not history:
            return
        if self.report(history[-1], len(history), state.global_step < state.max_steps):
            raise RunPruned(f"pruned after {len(history)} evaluations")


def report_evaluation(trial: Trial, value: float, evaluation: int, may_prune: bool) -> bool:
    """Records an evaluation of a trial in the study; returns whether the trial is pruned."""
    # a resumed run repeats the evaluations after its checkpoint; each value counts once
    if evaluation not in trial.storage.get_trial(trial._trial_id).intermediate_values:
        trial.report(value, evaluation)
    return may_prune and trial.should_prune()


def objective_of(folder: Path, metric: str, direction: str) -> float:
    """The objective of an ended run: that of its best checkpoint, or its best evaluation if no checkpoint was kept.

    Raises:
        ValueError: it was never evaluated, or no evaluation is finite.
    """
    kept = read_record(folder)["best_metric"]
    entries = [entry for _, entry in json_lines(folder / LOG_FILE, RESTORE) if is_number(entry.get("step"))]
    logged = [entry[metric] for entry in entries if metric in entry and entry["step"] > 0]
    values = [value for value in (logged if kept is None else [kept]) if is_number(value)]
    if not values:
        raise ValueError(
            f"no evaluation of the run gave a finite {metric}; lower learning_rate"
            if logged
            else f"{metric} was not evaluated after the first step; lower eval_steps or train for longer"
        )
    return min(values) if direction == "minimize" else max(values)


def fault_in_one_line(error: BaseException) -> str:
    """The reason of a failed trial, in one line.

    Raises:
        ValueError: the disk is full, so other trials would fail too.
    """
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    message = without_secrets(" ".join(f"{kind}{error}".split()))
    if isinstance(error, CheckpointNotSaved) or is_full_disk(error):
        raise ValueError(f"the sweep cannot continue: {message}") from error
    return message[:MOST_REASON]


def train_trial(
    plan: SweepPlan, number: int, values: Mapping[str, object], report: Report, **further: object
) -> Outcome:
    """Runs a trial from its start or its checkpoint to its end; the study is not changed, except by `report`.

    Args:
        plan: the search.
        number (`int`): of the trial.
        values: of the settings that are searched over.
        report ([`Report`]): called after each evaluation.
        further: other settings of this run alone.

    Raises:
        ValueError: the disk is full, so other trials would fail too.
        StoppedBySignal: after SIGTERM or Ctrl-C, once the step is saved; a resumed search continues the trial.
    """
    folder = plan.trial_folder(number)
    try:
        settings = plan.settings(folder, dict(values), resume=folder.exists(), **further)
        free_memory()  # from the previous trial
        # lines of several workers do not show which trial they belong to
        with quiet(notes=plan.search.workers > 1), trials_of(plan.folder):
            plan.stage.run(settings, [ReportToTrial(report, plan.metric)])
        return Outcome(value=objective_of(folder, plan.metric, plan.direction))
    except RunPruned:
        return Outcome(state=TrialState.PRUNED)
    except TRIAL_FAULTS as error:
        return Outcome(reason=fault_in_one_line(error))


def end_trial(study: Study, plan: SweepPlan, trial: Trial, outcome: Outcome) -> None:
    """Records the outcome of a trial in the study and the files, and removes what is no longer needed of it."""
    with claim_lock(plan):
        if outcome.reason is not None:
            fail_trial(study, trial, outcome.reason)
        else:
            study.tell(trial.number, outcome.value, outcome.state)
        free_disk(study, plan)
        renew_results(study, plan)


def run_trial(study: Study, plan: SweepPlan, trial: Trial) -> None:
    """Runs a claimed trial, and records its outcome.

    Raises:
        ValueError, StoppedBySignal: as [`train_trial`].
    """
    try:
        outcome = train_trial(plan, trial.number, trial.params, partial(report_evaluation, trial))
    except StoppedBySignal:
        release_trial(trial)
        raise
    end_trial(study, plan, trial, outcome)
