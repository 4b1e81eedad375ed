"""Faults of the machine: one line with what is left of the run, also after its training."""

import errno
import subprocess
import sys
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from torch.utils.data import DataLoader

from ft_core.checkpoints.manifest import write_manifest
from ft_core.hub.resolve import check_name
from ft_core.runs.faults import environment_fault
from ft_core.runs.folder import BEST_MODEL, RUN_FILE
from ft_core.runs.lock import run_lock
from ft_core.training.run import preflight


def arguments(folder, **further):
    values = {"output_dir": str(folder), "resume": True, "overwrite": False, "overwrite_lock": False}
    further = {"report_to": [], **further}
    return SimpleNamespace(**values, expected_world_size=None, push_to_hub=False, hub_model_id=None, **further)


@pytest.fixture
def run(tmp_path):
    """A run with one checkpoint, and no model yet."""
    folder = tmp_path / "run"
    (folder / "checkpoint-8").mkdir(parents=True)
    (folder / "checkpoint-8" / "config.json").write_text("{}")
    write_manifest(folder / "checkpoint-8", {})
    (folder / RUN_FILE).write_text("{}")
    return folder


@pytest.mark.fault(10)
def test_a_disk_that_fills_while_results_and_report_are_written(run, monkeypatch):
    monkeypatch.setattr("ft_core.training.run.check_hub", lambda args: None)
    expected = (
        r"the disk of .*run is full \(.*No space left.*\); checkpoint-8 is complete: free some space and continue"
    )
    with pytest.raises(ValueError, match=expected), preflight(run, arguments(run)):
        raise OSError(errno.ENOSPC, "No space left on device", str(run / "report.md"))
    with pytest.raises(RuntimeError, match="a bug"), preflight(run, arguments(run)):
        raise RuntimeError("a bug")


KILLED = """
import os, signal
from torch.utils.data import DataLoader
from ft_core.runs.faults import lost_worker

class Killing:
    def __len__(self):
        return 8

    def __getitem__(self, index):
        if index == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return index

try:
    list(DataLoader(Killing(), batch_size=1, num_workers=1))
except Exception as error:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print(lost_worker(error), flush=True)
    os._exit(0)
"""


def test_a_killed_loader_worker():
    """In a process of its own: torch reports the dead worker in its handler of SIGCHLD, at any later moment."""
    killed = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, timeout=120)
    assert killed.stdout.startswith("a data-loading worker has ended ("), (killed.stdout, killed.stderr)


@pytest.mark.parametrize("broken", [ConnectionResetError(), EOFError(), FileNotFoundError()])
def test_a_worker_that_ends_while_it_hands_over_a_batch(run, broken):
    batches = iter(DataLoader(range(4), num_workers=1))
    batches._data_queue.get = Mock(side_effect=broken)
    with pytest.raises(type(broken)) as caught:
        next(batches)
    message = environment_fault(caught.value, run)
    assert message.startswith(f"a data-loading worker has ended ({type(broken).__name__} while it handed over a batch")
    assert "checkpoint-8 is complete: continue with --resume" in message


def test_other_errors_are_no_lost_worker(run):
    for error in (RuntimeError("DataLoader"), ConnectionResetError(), ValueError("no space left on device")):
        assert environment_fault(error, run) is None


def test_a_run_in_training_has_no_model_yet(run):
    for named in (run, run / BEST_MODEL):
        with pytest.raises(ValueError, match=r"has no model yet; continue it with --resume, or pass .*checkpoint-8$"):
            check_name(str(named))
    with run_lock(run), pytest.raises(ValueError, match="has no model yet; wait until it has finished, or pass its"):
        check_name(str(run))
    check_name(str(run / "checkpoint-8"))
    (run / BEST_MODEL).mkdir()
    check_name(str(run))
