"""Trackers: which are refused, the name and settings of a run, and whose tracker runs are opened and closed."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from transformers import TrainerControl, TrainerState

from ft_core.training.run import preflight
from ft_core.training.stock import trackers
from ft_core.training.stock.trackers import TrackerRuns, check_trackers, flat_settings
from kronos_ft import KronosTokenizerArguments


class FakeTracker:
    """A tracker that keeps what it is told; `name` is its open run."""

    remedy = "log in"

    def __init__(self):
        self.name, self.opened, self.closed = None, [], []

    def current(self):
        return self.name

    def open(self, run):
        if run.name == "refused":
            raise RuntimeError("no key\nwas found.")
        self.name = run.name
        self.opened.append(run)

    def close(self, failed):
        self.closed.append((self.name, failed))
        self.name = None


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setitem(trackers.TRACKERS, "wandb", FakeTracker())
    monkeypatch.setattr(TrackerRuns, "_ours", {})
    return trackers.TRACKERS["wandb"]


def settings(folder, **more):
    return KronosTokenizerArguments(output_dir=str(folder), use_cpu=True, report_to=["wandb"], **more)


def begin(runs, args, **state):
    runs.on_train_begin(args, TrainerState(is_world_process_zero=True, **state), TrainerControl())


@pytest.mark.parametrize(
    ("name", "install"),
    [
        ("wandb", "wandb"),
        ("mlflow", '"mlflow-skinny>=3" alembic'),
        ("swanlab", "swanlab"),
        ("tensorboard", "tensorboard"),
        ("trackio", "trackio"),
    ],
)
def test_a_tracker_that_is_not_installed_is_refused_before_anything_is_read(name, install, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    args = SimpleNamespace(
        report_to=[name], output_dir=str(tmp_path / "run"), resume=False, overwrite=False, overwrite_lock=False,
        expected_world_size=None,
    )  # fmt: skip
    message = f"report_to={name} needs a package that is not installed: pip install {install}"
    with pytest.raises(ValueError, match=message), preflight(tmp_path / "run", args):
        pass


def test_an_unknown_tracker_is_refused():
    with pytest.raises(ValueError, match=r"report_to=wandbb is not a tracker; did you mean wandb\?"):
        check_trackers(SimpleNamespace(report_to=["wandbb"]))
    with pytest.raises(ValueError, match=r"report_to=x is not a tracker; use one of mlflow, .* wandb, or none"):
        check_trackers(SimpleNamespace(report_to=["x"]))


def test_settings_are_flat_and_hold_no_secrets():
    facts = {
        "data": {"lookback_window": 90, "split_ratios": (0.8, 0.2), "symbols": [{"rows": 5}], "nan": float("nan")},
        "config": {"d_model": 8},
        "hub_token": "secret",
        "stage": "tokenizer",
        "folder": Path("runs/x"),
    }
    assert flat_settings(facts) == {
        "data/lookback_window": 90,
        "data/split_ratios": [0.8, 0.2],
        "data/nan": None,
        "stage": "tokenizer",
        "folder": "runs/x",
    }


def test_what_trackers_log_has_the_settings_of_model_and_data(fake, tmp_path):
    runs, args = TrackerRuns("tokenizer"), settings(tmp_path)
    runs.settings = {"data": {"lookback_window": 90}}
    begin(runs, args)
    assert args.to_dict()["data/lookback_window"] == 90
    assert '"data/lookback_window": 90' in args.to_json_string()
    assert "data/lookback_window" not in settings(tmp_path).to_dict()


@pytest.mark.parametrize(
    ("folder", "run_id", "name"),
    [
        ("btc", "0123456789", "btc-012345"),
        ("btc/tokenizer", "0123456789", "btc-tokenizer-012345"),
        ("btc", None, "btc"),
    ],
)
def test_a_run_without_a_name_has_that_of_its_folder(folder, run_id, name, fake, tmp_path):
    runs, args = TrackerRuns("tokenizer"), settings(tmp_path / folder)
    runs.run_id = run_id
    begin(runs, args)
    assert [(run.id, run.name, run.project) for run in fake.opened] == [(run_id, name, "huggingface")]
    assert args.run_name == name
    runs.run_id = "9876543210"  # another training with the same settings
    begin(runs, args)
    assert args.run_name.endswith("-987654")
    assert fake.closed == [(name, False)]


def test_a_name_that_is_given_is_kept(fake, tmp_path):
    runs, args = TrackerRuns("tokenizer"), settings(tmp_path, run_name="first", project="btc")
    begin(runs, args)
    assert [(run.name, run.project) for run in fake.opened] == [("first", "btc")]


@pytest.mark.parametrize("failed", [False, True])
def test_a_tracker_run_is_closed_once(failed, fake, tmp_path):
    runs = TrackerRuns("tokenizer")
    begin(runs, settings(tmp_path, run_name="first"))
    runs.close(failed)
    runs.close()
    assert fake.closed == [("first", failed)]


def test_a_tracker_run_of_the_caller_is_used_and_stays_open(fake, tmp_path):
    fake.name = "of the caller"
    runs = TrackerRuns("tokenizer")
    begin(runs, settings(tmp_path))
    runs.close()
    assert (fake.opened, fake.closed) == ([], [])


def test_other_processes_and_trials_of_a_search_open_nothing(fake, tmp_path):
    runs, args = TrackerRuns("tokenizer"), settings(tmp_path)
    runs.on_train_begin(args, TrainerState(is_world_process_zero=False), TrainerControl())
    begin(runs, args, is_hyper_param_search=True)
    assert fake.opened == []


def test_an_error_of_a_tracker_is_one_line(fake, tmp_path):
    with pytest.raises(ValueError, match=r"^report_to=wandb could not open a run: no key was found; log in$"):
        begin(TrackerRuns("tokenizer"), settings(tmp_path, run_name="refused"))
