"""Trackers of `report_to`: a run has one tracker run, with its name and all its settings, also after a resume.

transformers' callbacks log into a tracker run that is already open, and open one of their own otherwise. Measured with
transformers 5.23: their own has no name, a resume opens a second one, metrics of the test split are lost in a further
run (MLflow, Trackio), and the second stage of a process logs into the run of the first (W&B, SwanLab).
[`TrackerRuns`] therefore opens the tracker run before they do, and closes it when the run is finished.
"""

import contextlib
import importlib
import importlib.util
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK, TensorBoardCallback

from ...io.files import plain

PACKAGES = {  # module that is imported, and what to install
    "mlflow": ("mlflow", '"mlflow-skinny>=3" alembic'),
    "swanlab": ("swanlab", "swanlab"),
    "tensorboard": ("tensorboard", "tensorboard"),
    "trackio": ("trackio", "trackio"),
    "wandb": ("wandb", "wandb"),
}
STOCK_PROJECT = TrainingArguments.project
NOT_LOGGED_BY_TRACKIO = (  # by its stock callback
    *("train_runtime", "train_samples_per_second", "train_steps_per_second", "train_loss", "total_flos"),
)


def check_trackers(args: TrainingArguments) -> None:
    """Raises ValueError for a tracker of `report_to` that is not known or not installed."""
    for name in args.report_to:
        if name not in INTEGRATION_TO_CALLBACK:
            near = get_close_matches(name, INTEGRATION_TO_CALLBACK, 1)
            hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(sorted(PACKAGES))}, or none"
            raise ValueError(f"report_to={name} is not a tracker; {hint}")
        module, package = PACKAGES.get(name, ("sys", ""))
        if importlib.util.find_spec(module) is None:
            raise ValueError(f"report_to={name} needs a package that is not installed: pip install {package}")


def flat_settings(facts: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested facts as one level, names joined by `/`: values and lists of values.

    Left out are tokens, lists of tables, and the model's configuration, which the stock callbacks log.
    """
    found: dict[str, object] = {}
    for name, value in plain(dict(facts)).items():
        if name == "config" or name.endswith("_token"):
            continue
        if isinstance(value, dict):
            found |= flat_settings(value, f"{prefix}{name}/")
        elif not (isinstance(value, list) and any(isinstance(one, dict | list) for one in value)):
            found[prefix + name] = value
    return found


@dataclass(frozen=True)
class TrackedRun:
    """A run as trackers see it: `id` of the run record (None for records of earlier versions), name and project."""

    id: str | None
    name: str
    project: str


class WandbRun:
    """A run of Weights & Biases; its id is that of the run record."""

    remedy = "log in with `wandb login`, or set WANDB_MODE=offline"

    def current(self) -> str | None:
        """Id of the open run."""
        run = importlib.import_module("wandb").run
        return None if run is None else run.id

    def open(self, run: TrackedRun) -> None:
        """Starts a run, or continues the one of this id."""
        importlib.import_module("wandb").init(
            project=os.getenv("WANDB_PROJECT", run.project),
            name=os.getenv("WANDB_NAME", run.name),
            id=os.getenv("WANDB_RUN_ID", run.id),
            resume=os.getenv("WANDB_RESUME", "allow"),
        )

    def close(self, failed: bool) -> None:
        """Ends the open run."""
        importlib.import_module("wandb").finish(exit_code=int(failed))


class MLflowRun:
    """A run of MLflow, which gives it an id; the tag `run_id` holds that of the run record."""

    remedy = "set MLFLOW_TRACKING_URI, e.g. to sqlite:///mlflow.db"
    _TAG = "run_id"
    _LIMIT = "MLFLOW_MAX_LOG_PARAMS"

    def current(self) -> str | None:
        """Id of the open run."""
        run = importlib.import_module("mlflow").active_run()
        return None if run is None else run.info.run_id

    def open(self, run: TrackedRun) -> None:
        """Starts a run, or continues the one with the tag; its parameters cannot change, so they stay as they are."""
        mlflow = importlib.import_module("mlflow")
        self._stock_limit = os.environ.get(self._LIMIT)
        if os.getenv("MLFLOW_RUN_ID") or os.getenv("MLFLOW_NESTED_RUN"):
            return  # the stock callback opens the run
        experiment = os.getenv("MLFLOW_EXPERIMENT_NAME") or (run.project if run.project != STOCK_PROJECT else None)
        if experiment:
            chosen = mlflow.set_experiment(experiment).experiment_id
        else:
            chosen = os.getenv("MLFLOW_EXPERIMENT_ID", "0")
        found = mlflow.MlflowClient().search_runs([chosen], f"tags.{self._TAG} = '{run.id}'") if run.id else []
        if found:
            os.environ[self._LIMIT] = "0"
            mlflow.start_run(run_id=found[0].info.run_id)
        else:
            mlflow.start_run(run_name=run.name, tags={self._TAG: run.id} if run.id else None)

    def close(self, failed: bool) -> None:
        """Ends the open run, once everything is written."""
        mlflow = importlib.import_module("mlflow")
        mlflow.flush_async_logging()
        mlflow.end_run("FAILED" if failed else "FINISHED")
        os.environ.pop(self._LIMIT, None)
        if self._stock_limit is not None:
            os.environ[self._LIMIT] = self._stock_limit


class SwanLabRun:
    """An experiment of SwanLab; its id is that of the run record."""

    remedy = "log in with `swanlab login`, or set SWANLAB_MODE=offline"

    def current(self) -> str | None:
        """Id of the open experiment."""
        swanlab = importlib.import_module("swanlab")
        return swanlab.get_run().id if swanlab.has_run() else None

    def open(self, run: TrackedRun) -> None:
        """Starts an experiment, or continues the one of this id."""
        importlib.import_module("swanlab").init(
            project=os.getenv("SWANLAB_PROJECT", run.project),
            name=run.name,
            id=os.getenv("SWANLAB_RUN_ID", run.id),
            resume=os.getenv("SWANLAB_RESUME", "allow"),
        )

    def close(self, failed: bool) -> None:
        """Ends the open experiment."""
        importlib.import_module("swanlab").finish(state="crashed" if failed else "success")


class TrackioRun:
    """A run of Trackio, which is identified by its name; the stock callback opens it, by `args.run_name`."""

    remedy = "check TRACKIO_DIR"

    def current(self) -> str | None:
        """Name of the open run."""
        run = importlib.import_module("trackio").context_vars.current_run.get()
        return None if run is None else run.name

    def open(self, run: TrackedRun) -> None:
        """Does nothing: the stock callback continues the run of this name."""

    def close(self, failed: bool) -> None:
        """Ends the open run, in which the metrics of the test split are."""
        importlib.import_module("trackio").finish()


Tracker = WandbRun | MLflowRun | SwanLabRun | TrackioRun
TRACKERS: dict[str, Tracker] = {
    "wandb": WandbRun(),
    "mlflow": MLflowRun(),
    "swanlab": SwanLabRun(),
    "trackio": TrackioRun(),
}


class TrackerRuns(TrainerCallback):
    """Opens and closes the tracker runs of a run; the first of a Trainer's callbacks.

    A tracker run that the caller has opened is used, and stays open.

    Args:
        stage (`str`): what is trained, for the name of a run that has none.
    """

    _ours: ClassVar[dict[str, str]] = {}  # by tracker: the open run that this library opened

    def __init__(self, stage: str):
        self.stage = stage
        self.run_id: str | None = None
        self.settings: Mapping[str, object] = {}
        self.callbacks: Iterable[TrainerCallback] = ()

    def default_name(self, folder: Path) -> str:
        """Name of the run folder, with that of the folder above where it is only the stage, and the start of the id."""
        folder = folder.resolve()
        parts = [folder.parent.name, folder.name] if folder.name == self.stage else [folder.name]
        return "-".join([*parts, *([self.run_id[:6]] if self.run_id else [])])

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if state.is_hyper_param_search:
            return  # the stock callbacks make a run for each trial
        args.further_settings = flat_settings(self.settings)
        if args.run_name in (None, args.chosen_run_name):
            args.run_name = args.chosen_run_name = self.default_name(Path(args.output_dir))
        if not state.is_world_process_zero:
            return
        run = TrackedRun(self.run_id, args.run_name, args.project)
        for name in args.report_to:
            if name in TRACKERS:
                with _one_line(name):
                    self._open(name, run)
        for callback in self.callbacks:
            if isinstance(callback, TensorBoardCallback) and state.global_step:
                _continue_tensorboard(callback, Path(args.output_dir), state.global_step)

    def _open(self, name: str, run: TrackedRun) -> None:
        tracker = TRACKERS[name]
        current = tracker.current()
        if current is not None and current != self._ours.get(name):
            return
        if current is not None:
            tracker.close(failed=False)
        tracker.open(run)
        self._ours[name] = tracker.current() or run.name

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        lost = {f"train/{name}": logs[name] for name in NOT_LOGGED_BY_TRACKIO if name in (logs or {})}
        if lost and "trackio" in args.report_to and TRACKERS["trackio"].current() and state.is_world_process_zero:
            importlib.import_module("trackio").log(lost | {"train/global_step": state.global_step})

    def close(self, failed: bool = False) -> None:
        """Closes the tracker runs that this library opened; `failed` marks them so."""
        for name in [*self._ours]:
            tracker, ours = TRACKERS[name], self._ours.pop(name)
            if tracker.current() == ours:
                tracker.close(failed)


@contextlib.contextmanager
def _one_line(name: str) -> Iterator[None]:
    """Turns an error of a tracker into a one-line message."""
    try:
        yield
    except Exception as error:
        text = " ".join(str(error).split()).rstrip(".")
        raise ValueError(f"report_to={name} could not open a run: {text}; {TRACKERS[name].remedy}") from error


def _continue_tensorboard(callback: TensorBoardCallback, run: Path, step: int) -> None:
    """Continues in the newest folder of event files; what was logged there after `step` is replaced."""
    folders = {path.parent for path in run.glob("runs/*/events.out.tfevents.*")}
    if callback.logging_dir is None and folders:
        from torch.utils.tensorboard import SummaryWriter

        callback.logging_dir = str(max(folders, key=lambda folder: folder.stat().st_mtime))
        callback.tb_writer = SummaryWriter(callback.logging_dir, purge_step=step + 1)
