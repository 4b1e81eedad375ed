"""The trials of a search in its SQLite file: claiming the next trial, and recovering trials of ended processes.

Notable:
- Trials are claimed, ended and cleaned up under a lock that is released when its process ends: there are never more
  trials than requested, and two workers never claim the same one.
- A trial whose process ended without a result is claimed first, with the same number, values and run folder: it
  resumes from its checkpoint. A trial that kills its process twice without progress is marked as failed.
"""

import shutil
from collections.abc import Collection
from pathlib import Path

import optuna
from filelock import FileLock
from optuna.exceptions import OptunaError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from ..checkpoints.listing import BROKEN, list_checkpoints, remove_checkpoint
from ..runs.owner import is_gone, is_this_process, this_process
from .plan import SweepPlan
from .samplers import make_pruner, make_sampler

STUDY_FILE = "study.db"
STUDY_NAME = "sweep"
CLAIM_LOCK = ".claim"
LOCK_SECONDS = 120  # seconds to wait for another process's write
MOST_ATTEMPTS = 2
OWNER, ATTEMPTS, FROM_STEP, REASON = "owner", "attempts", "from_step", "reason"
SESSION = "ended_before_session"
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


class TooManyFailures(ValueError):
    """Too many consecutive trials have failed: the cause is probably not the trials."""


def open_study(plan: SweepPlan) -> Study:
    """Opens the search's trials; creates the file if it is missing.

    Raises:
        ValueError: a file that SQLite or Optuna cannot read.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = plan.folder / STUDY_FILE
    try:
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{path.resolve()}", engine_kwargs={"connect_args": {"timeout": LOCK_SECONDS}}
        )
        study = optuna.create_study(
            storage=storage,
            study_name=STUDY_NAME,
            direction=plan.direction,
            pruner=make_pruner(plan.search),
            load_if_exists=True,
        )
        study.get_trials(deepcopy=False)
    except (SQLAlchemyError, OptunaError, RuntimeError) as error:  # RuntimeError: another version of Optuna
        why = " ".join(str(getattr(error, "orig", None) or error).split())
        raise ValueError(f"{path} cannot be read ({why}); restore it, or start over with --overwrite") from error
    return study


def check_study(study: Study, plan: SweepPlan, recorded: int) -> None:
    """Raises ValueError if the study has fewer ended trials than the record, so it belongs to another search."""
    found = len(ended_trials(study))
    if found < recorded:
        raise ValueError(
            f"{plan.folder / STUDY_FILE} has {found} finished trials but the record lists {recorded}; restore the "
            "file, or start over with --overwrite"
        )


def claim_lock(plan: SweepPlan) -> FileLock:
    """The lock for reading and changing the list of trials."""
    return FileLock(plan.folder / CLAIM_LOCK, timeout=LOCK_SECONDS)


def ended_trials(study: Study) -> list[FrozenTrial]:
    """Ended trials, in the order in which they ended."""
    found = study.get_trials(deepcopy=False, states=ENDED)
    return sorted(found, key=lambda trial: (trial.datetime_complete, trial.number))


def running_trials(study: Study) -> list[FrozenTrial]:
    """Trials that have started and not ended; their process may be gone."""
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def best_trials(study: Study) -> list[FrozenTrial]:
    """Finished trials, best first; of equal ones the earlier first."""
    found = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sign = 1.0 if study.direction == optuna.study.StudyDirection.MINIMIZE else -1.0
    return sorted(found, key=lambda trial: (sign * trial.value, trial.number))


def claim_trial(study: Study, plan: SweepPlan, in_work: Collection[int] = ()) -> Trial | None:
    """The next trial to run, with its values: an abandoned trial, or a new one; None if there are enough.

    Args:
        study: with its trials.
        plan: the search.
        in_work: numbers of trials that this process has claimed for workers that run them now.

    Raises:
        TooManyFailures: the last trials have all failed.
    """
    with claim_lock(plan):
        check_failures(study, plan)
        for frozen in running_trials(study):
            owner = frozen.user_attrs.get(OWNER)
            if frozen.number in in_work:
                continue
            if owner is None or is_this_process(owner) or is_gone(owner):
                trial = _take_over(study, plan, frozen)
                if trial is not None:
                    return trial
        number = len(study.get_trials(deepcopy=False))
        if number >= plan.trials:
            return None
        study.sampler = make_sampler(plan.search, plan.points, number)
        trial = study.ask()
        return _own(trial, plan, attempts=1, step=0)


def _take_over(study: Study, plan: SweepPlan, frozen: FrozenTrial) -> Trial | None:
    """An abandoned trial; None if it had too many attempts and is now marked as failed."""
    study.sampler = make_sampler(plan.search, plan.points, frozen.number)
    trial = Trial(study, frozen._trial_id)
    step = max(list_checkpoints(plan.trial_folder(frozen.number)), default=0)
    before = frozen.user_attrs.get(FROM_STEP, 0)
    attempts = 1 if step > before else frozen.user_attrs.get(ATTEMPTS, 0) + 1
    if attempts > MOST_ATTEMPTS:
        fail_trial(study, trial, f"its process ended {MOST_ATTEMPTS} times without progress (out of memory?)")
        free_disk(study, plan)
        return None
    return _own(trial, plan, attempts, step)


def _own(trial: Trial, plan: SweepPlan, attempts: int, step: int) -> Trial:
    trial.set_user_attr(OWNER, this_process())
    trial.set_user_attr(ATTEMPTS, attempts)
    trial.set_user_attr(FROM_STEP, step)
    for dimension in plan.space:
        dimension.suggest(trial)
    return trial


def had_trial(study: Study, pid: int) -> bool:
    """Whether a process of this machine has claimed a trial."""
    owners = [trial.user_attrs.get(OWNER) for trial in study.get_trials(deepcopy=False)]
    return any(owner is not None and owner["pid"] == pid for owner in owners)


def release_trial(trial: Trial) -> None:
    """Makes a stopped and saved trial resumable, as if it had never been interrupted."""
    trial.set_user_attr(ATTEMPTS, 0)
    trial.set_user_attr(OWNER, None)  # a resume, also on another host, does not need to check this process


def fail_trial(study: Study, trial: Trial, reason: str) -> None:
    """Ends a trial as failed, with the reason on record."""
    trial.set_user_attr(REASON, reason)
    study.tell(trial.number, state=TrialState.FAIL)


def begin_session(study: Study) -> None:
    """Resets the failure count for a resumed search, and makes abandoned trials claimable.

    The caller must hold the lock of the folder: then no other process runs a trial. (Processes of other machines cannot
    be checked.)
    """
    study.set_user_attr(SESSION, len(ended_trials(study)))
    for frozen in running_trials(study):
        study._storage.set_trial_user_attr(frozen._trial_id, OWNER, None)


def check_failures(study: Study, plan: SweepPlan) -> None:
    """Raises TooManyFailures when the last `most_failures` trials since the search was started have failed."""
    last = ended_trials(study)[study.user_attrs.get(SESSION, 0) :][-plan.search.most_failures :]
    if len(last) == plan.search.most_failures and all(trial.state == TrialState.FAIL for trial in last):
        raise TooManyFailures(
            f"{len(last)} trials in a row have failed (most_failures={plan.search.most_failures}), the last one: "
            f"{last[-1].user_attrs.get(REASON, 'unknown')}; correct the settings or the space and use --resume"
        )


def free_disk(study: Study, plan: SweepPlan) -> None:
    """Removes checkpoints of trials that are over, and the models of all but the best `keep_models`."""
    kept = {trial.number for trial in best_trials(study)[: plan.search.keep_models]}
    for trial in ended_trials(study):
        folder = plan.trial_folder(trial.number)
        remove_checkpoints(folder)
        if trial.number not in kept:
            shutil.rmtree(folder / plan.stage.model_folder, ignore_errors=True)


def remove_checkpoints(folder: Path) -> None:
    """Removes all checkpoints of a run that will not be resumed."""
    for path in list_checkpoints(folder).values():
        remove_checkpoint(path)
    for path in folder.glob(f"{BROKEN}*"):
        shutil.rmtree(path, ignore_errors=True)
