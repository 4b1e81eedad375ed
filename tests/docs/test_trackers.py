"""What docs/tracking.md says of the extra `tracking`: trackers take the figures of a run, without a network."""

import os
import sqlite3
import subprocess
import sys

import pytest

from tests.docs.markdown import ROOT

pytestmark = pytest.mark.docs
TINY = [
    *("tokenizer", "--data", "sample", "--model", "tiny", "--from_scratch", "--stride", "80", "--max_steps", "4"),
    *("--per_device_train_batch_size", "8", "--logging_steps", "2"),
]


def train(folder, *words, **environment):
    """One run in a process of its own: trackers keep threads and settings of the process."""
    done = subprocess.run(
        [sys.executable, "-m", "kronos_ft", *TINY, "--output_dir", str(folder / "run"), *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **environment},
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(tmp_path, "--report_to", "tensorboard")
    names = set()
    for path in (tmp_path / "run" / "runs").rglob("events.out.tfevents.*"):
        names |= set(EventAccumulator(str(path)).Reload().Tags()["scalars"])
    assert {"train/recon_all", "eval/recon_all", "eval/loss", "test/recon_all"} <= names


def test_trackio_keeps_one_run_by_name(tmp_path):
    pytest.importorskip("trackio")
    words = ("--report_to", "trackio", "--project", "btc", "--run_name", "first")
    train(tmp_path, *words, TRACKIO_DIR=str(tmp_path / "trackio"))
    with sqlite3.connect(tmp_path / "trackio" / "btc.db") as database:
        rows = database.execute("select run_name, metrics from metrics").fetchall()
    assert {name for name, _ in rows} == {"first"}
    text = " ".join(str(metrics) for _, metrics in rows)
    assert "recon_all" in text
    assert "eval/recon_all" in text
