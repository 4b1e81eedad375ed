"""Steps common to every training run: pre-flight checks, and resuming a run that has finished."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from accelerate import PartialState
from transformers import TrainingArguments

from ..checkpoints.weights import holds_complete_model
from ..hub.training_push import FindRun, check_hub, push_finished
from ..io.console import echo
from ..io.formats import read_json
from ..runs.clearing import is_being_cleared
from ..runs.faults import environment_fault
from ..runs.folder import METRICS_FILE, RUN_FILE, check_output_folder, check_writable, tidy
from ..runs.lock import run_lock
from ..runs.processes import check_world_size
from .stock.trackers import check_trackers


@contextmanager
def preflight(folder: Path, *runs: TrainingArguments) -> Iterator[None]:
    """Checks number of processes, output folder and Hub before any data are read, and locks the folder.

    Args:
        folder (`Path`): the run folder; with several runs the folder that holds theirs.
        runs: training settings of each run.

    Raises:
        ValueError: the launch, a folder, a tracker or the Hub's settings cannot be used; nothing has been written then.
    """
    first = runs[0]
    check_world_size(first.expected_world_size)
    with run_lock(folder, first.overwrite_lock):
        if len(runs) > 1 and first.overwrite:  # the old runs lie one level deeper
            check_writable(folder)
        else:
            check_output_folder(folder, first.resume, first.overwrite)
        for args in runs:
            if len(runs) > 1:
                check_output_folder(Path(args.output_dir), args.resume, args.overwrite)
            check_trackers(args)
            check_hub(args)
        if first.resume and PartialState().is_main_process:
            for args in runs:
                tidy(Path(args.output_dir))
        PartialState().wait_for_everyone()
        try:
            yield
        except Exception as error:  # after training too, such as a disk that fills while results are written
            message = environment_fault(error, _last_begun(runs))
            if message is None:
                raise
            raise ValueError(message) from error


def _last_begun(runs: Sequence[TrainingArguments]) -> Path:
    """The folder of the last run that has begun, or of the first."""
    folders = [Path(args.output_dir) for args in runs]
    return next((folder for folder in reversed(folders) if (folder / RUN_FILE).is_file()), folders[0])


def finished_metrics(run: Path, model_folder: str) -> dict | None:
    """The metrics of a finished run whose model was written, or None; of a run that is being replaced, None."""
    if is_being_cleared(run / RUN_FILE):
        return None
    if not (run / METRICS_FILE).is_file() or not holds_complete_model(run / model_folder):
        return None
    return read_json(run / METRICS_FILE, "remove it and continue with --resume to write it again", dict)


def resume_finished(args: TrainingArguments, program: str, model_folder: str, find_run: FindRun) -> dict | None:
    """The figures of a run that is resumed although it has finished, after a push that may be missing; else None.

    Args:
        args: training settings; `resume_force` may ask for more steps than the run had.
        program (`str`): the command that pushes such models.
        model_folder (`str`): where the run puts its model.
        find_run: gives the model folder of a run and its card.
    """
    if not args.resume or args.resume_force:
        return None
    run = Path(args.output_dir)
    if metrics := finished_metrics(run, model_folder):
        echo(f"finished    {run} is already finished: there is nothing left to train")
        push_finished(program, args, find_run)
    return metrics
