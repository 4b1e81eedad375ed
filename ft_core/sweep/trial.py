"""One trial: a complete run, pruned at its evaluations, and its outcome."""

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


class ReportToTrial(TrainerCallback):
    """Reports each evaluation to the trial, counted from 1, and ends the run if the trial is pruned.

    The evaluation of the starting weights does not count. With one evaluation per epoch, counting evaluations instead
    of steps compares trials with different batch sizes at the same share of their training.

    Args:
        trial: of Optuna.
        metric (`str`): logged name of the objective.
    """

    def __init__(self, trial: Trial, metric: str):
        self.trial = trial
        self.metric = metric

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        history = [value for step, value in metric_history(state, self.metric) if step > 0]
        if state.global_step == 0 or not history:
            return
        # a resumed run repeats the evaluations after its checkpoint; each value counts once
        if len(history) not in self.trial.storage.get_trial(self.trial._trial_id).intermediate_values:
            self.trial.report(history[-1], len(history))
        if state.global_step < state.max_steps and self.trial.should_prune():
            raise RunPruned(f"pruned after {len(history)} evaluations")


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


def run_trial(study: Study, plan: SweepPlan, trial: Trial) -> None:
    """Runs a claimed trial from its start or its checkpoint to its end, and records the outcome in the study.

    Raises:
        ValueError: the disk is full, so other trials would fail too.
        StoppedBySignal: after SIGTERM or Ctrl-C, once the step is saved; a resumed search continues the trial.
    """
    folder = plan.trial_folder(trial.number)

    reason = state = value = None
    try:
        settings = plan.settings(folder, trial.params, resume=folder.exists())
        free_memory()  # from the previous trial
        # lines of several workers do not show which trial they belong to
        with quiet(notes=plan.search.workers > 1), trials_of(plan.folder):
            plan.stage.run(settings, [ReportToTrial(trial, plan.metric)])
        value = objective_of(folder, plan.metric, plan.direction)
    except RunPruned:
        state = TrialState.PRUNED
    except StoppedBySignal:
        release_trial(trial)
        raise
    except TRIAL_FAULTS as error:
        reason = fault_in_one_line(error)
    with claim_lock(plan):
        if reason is not None:
            fail_trial(study, trial, reason)
        else:
            study.tell(trial.number, value, state)
        free_disk(study, plan)
        renew_results(study, plan)
