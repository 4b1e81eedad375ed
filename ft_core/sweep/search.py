"""Runs a search: folder, trials, and results."""

from collections.abc import Sequence
from pathlib import Path

from optuna.study import Study
from optuna.trial import FrozenTrial

from ..io.console import echo
from ..runs.clearing import clear, is_being_cleared
from ..runs.folder import REPEATS, TRIALS, check_outside_of_runs, check_writable, is_empty
from ..runs.lock import run_lock
from ..runs.processes import process_group
from ..training.interruption import StoppedBySignal
from .engines.interface import Engine, SweepCommand
from .engines.local import local_engine
from .engines.ray_cluster import ray_engine
from .importance import importance_of, note_on, plot_importance
from .plan import SweepPlan
from .repeats import drop_stale, gain_lines, gain_of, run_repeats
from .results import (
    BEST_FILE,
    END_FACTS,
    IDENTITY,
    IMPORTANCE_FILE,
    OWN_FILES,
    SWEEP_FILE,
    differences,
    read_sweep,
    write_results,
)
from .stage import MakeStage
from .study import (
    CLAIM_LOCK,
    STUDY_FILE,
    TooManyFailures,
    begin_session,
    best_trials,
    check_study,
    claim_lock,
    ended_trials,
    free_disk,
    open_study,
    running_trials,
)
from .table import final_table, values_of

ENGINES: dict[str, Engine] = {"local": local_engine, "ray": ray_engine}


class NoTrialFinished(ValueError):
    """All trials have ended and none has an objective."""


def run_sweep(make_stage: MakeStage, argv: Sequence[str], program: str) -> None:
    """Searches a space from a command line to `best.yaml`.

    Args:
        make_stage: describes the runs; importable by name, for workers.
        argv: the command line.
        program: name for messages.

    Raises:
        ValueError: settings, a space or data that cannot be used; a folder that holds another search; too many failed
            trials in a row; no trial that finished.
        StoppedBySignal: after SIGTERM or Ctrl-C, once the running trials are saved.
    """
    command = SweepCommand(make_stage, list(argv), program)
    plan = command.plan()
    if process_group().num_processes > 1:
        raise ValueError(
            f"{program} runs each trial in one process; start it without a launcher, and pass --workers N to run "
            "several trials in parallel"
        )
    check_writable(plan.folder)
    with ENGINES[plan.search.engine](plan, command) as run_trials, run_lock(plan.folder, plan.overwrite_lock):
        _check_folder(plan)
        identity = plan.identity(plan.stage.check(plan.settings(plan.folder, {})))
        record = _settle_folder(plan, identity)
        further = {name: record[name] for name in END_FACTS if name in record}
        study = open_study(plan)
        check_study(study, plan, len(record.get("trials", ())))
        write_results(study, plan, identity, "running", further)
        begin_session(study)
        for line in _describe(plan, study):
            echo(line)
        try:
            run_trials(study)
            write_results(study, plan, identity, "running", further)
            with claim_lock(plan):
                free_disk(study, plan)  # the process may have been killed in between
            _finish(study, plan, identity, further)
        except BaseException as error:  # after any end, the files show the current state
            write_results(study, plan, identity, _status_after(error), further)
            raise


def _status_after(error: BaseException) -> str:
    """The status of a search that ended with an error."""
    if isinstance(error, NoTrialFinished | TooManyFailures):
        return "failed"
    return f"interrupted: {error.name if isinstance(error, StoppedBySignal) else type(error).__name__}"


def _check_folder(plan: SweepPlan) -> None:
    """Raises ValueError if the folder is not empty and neither `resume` nor `overwrite` is set."""
    if plan.resume and plan.overwrite:
        raise ValueError("--resume and --overwrite exclude each other; choose one")
    check_outside_of_runs(plan.folder)
    if is_empty(plan.folder):
        return
    if not plan.resume and not plan.overwrite:
        raise ValueError(
            f"output_dir={plan.folder} is not empty; pass --resume to continue the sweep or --overwrite to replace it"
        )
    if not (plan.folder / SWEEP_FILE).is_file():
        raise ValueError(f"output_dir={plan.folder} is not a sweep folder (no {SWEEP_FILE}); choose another folder")


def _settle_folder(plan: SweepPlan, identity: dict) -> dict:
    """The record of a resumed search; an empty one for a new search, whose folder is cleared.

    Raises:
        ValueError: the folder's search is another one.
    """
    path = plan.folder / SWEEP_FILE
    record = read_sweep(plan.folder) if plan.resume and not is_being_cleared(path) else None
    if record is not None:
        changes = differences(record[IDENTITY], identity)
        if changes:
            raise ValueError(
                f"{plan.folder} cannot continue with another space or other settings ({'; '.join(changes)}); use the "
                "same, or start over in another folder or with --overwrite"
            )
        if not (plan.folder / STUDY_FILE).is_file():  # Optuna would create an empty one
            raise ValueError(
                f"{plan.folder / STUDY_FILE} is missing, but it holds the trials; restore it, or start over with "
                "--overwrite"
            )
        return record
    if path.is_file():
        files = [name for name in (STUDY_FILE, f"{STUDY_FILE}-journal", CLAIM_LOCK, *OWN_FILES) if name != SWEEP_FILE]
        folders = [plan.folder / name for name in (TRIALS, REPEATS)]
        clear(path, folders, [plan.folder / name for name in files], **{IDENTITY: {}})
    return {}


def _describe(plan: SweepPlan, study: Study) -> list[str]:
    search, ended = plan.search, len(ended_trials(study))
    better = "lower" if plan.direction == "minimize" else "higher"
    lines = [
        f"objective   {plan.metric} on the validation split, {better} is better; the test split is not used",
        f"space       {', '.join(map(str, plan.space))}",
        f"search      {search.method}, {plan.trials} trials, pruner {search.pruner}, {search.workers} "
        f"worker{'s' * (search.workers > 1)}",
    ]
    return [*lines, f"resumed     {ended} of {plan.trials} trials are finished"] if ended else lines


def _finish(study: Study, plan: SweepPlan, identity: dict, further: dict[str, object]) -> None:
    left = running_trials(study)
    if left:
        raise ValueError(
            f"trial {left[0].number} is not finished, and no process works on it; continue with --resume before "
            "the best trial is selected"
        )
    best = best_trials(study)
    if not best:
        raise NoTrialFinished(
            f"none of {len(ended_trials(study))} trials succeeded, so there is no best trial; see the reasons in "
            f"{plan.folder / SWEEP_FILE}"
        )
    drop_stale(plan, further, best[0])
    for line in final_table(study, plan):
        echo(line)
    further["importance"] = importance = importance_of(study, plan.search.sampler_seed)
    if "values" in importance:
        title = f"{plan.stage.command}: importance of each setting for {plan.metric}"
        plot_importance(importance["values"], importance["trials"], title, plan.folder / IMPORTANCE_FILE)
        shares = ", ".join(f"{name} {share:.0%}" for name, share in importance["values"].items())
        echo(f"importance  {shares} ({note_on(importance['trials'])})")
    else:
        echo(f"importance  unknown: {importance['reason']}")
    echo(f"best        trial {best[0].number}: {plan.metric} {best[0].value:.6g} with {values_of(best[0].params)}")
    echo(
        f"            selecting the best of {len(ended_trials(study))} trials makes this value too optimistic"
        + (
            ""
            if plan.search.repeat_best
            else "; use --resume --repeat_best 3 to measure the gain over the default settings"
        )
    )
    _look_at_test(plan, best[0], further)
    write_results(study, plan, identity, "running", further)
    if plan.search.repeat_best:

        def note(entries: list[dict]) -> None:
            further["repeats"] = entries
            write_results(study, plan, identity, "running", further)

        further["repeats"] = run_repeats(plan, best[0], further.get("repeats", []), note)
        further["gain"] = gain_of(further["repeats"], plan.direction)
        for line in gain_lines(further["gain"], plan.metric):
            echo(line)
    write_results(study, plan, identity, "finished", further)
    echo(f"train       {plan.stage.command} --config {plan.folder / BEST_FILE} --output_dir RUN")
    echo(f"sweep       {plan.folder}")


def _look_at_test(plan: SweepPlan, best: FrozenTrial, further: dict[str, object]) -> None:
    """Evaluates the best trial on the test split once; repeated evaluations after further trials are counted."""
    if plan.stage.test is None:
        return
    seen = further.get("test") or {"looks": 0}
    if seen.get("trial") != best.number:
        folder = plan.trial_folder(best.number)
        figures = plan.stage.test(plan.settings(folder, best.params), Path(folder) / plan.stage.model_folder)
        if figures is None:
            echo("test split  has no window")
            return
        further["test"] = seen = {"trial": best.number, "looks": seen["looks"] + 1, "figures": figures}
    metric = plan.metric.removeprefix("eval_")
    value = seen["figures"].get(metric)
    again = (
        ""
        if seen["looks"] == 1
        else f"; {seen['looks']} trials were tested so far, so this is no longer a held-out value"
    )
    shown = "-" if value is None else f"{value:.6g}"
    echo(f"test split  {metric} {shown} of trial {best.number}{again or ', the first trial tested'}")
