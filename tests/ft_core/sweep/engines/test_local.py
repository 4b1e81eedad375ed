"""What each worker gets of the machine, and what comes of one that ends."""

import multiprocessing
import os
import signal

import pytest
import torch

from ft_core.io.console import lines_to
from ft_core.sweep.engines.local import DEVICES, THREADS, device_share
from ft_core.sweep.search import run_sweep
from tests.sweep_stage import toy_stage


def test_cores_are_shared(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setenv(THREADS, "8")
    assert [device_share(worker, 3) for worker in range(3)] == [{THREADS: "2"}] * 3
    monkeypatch.setenv(THREADS, "1")
    assert device_share(0, 4) == {THREADS: "1"}
    monkeypatch.setenv(THREADS, "4,1")
    assert device_share(0, 2) == {THREADS: "2"}
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    for nonsense in ("many", "", "0", "-2"):
        monkeypatch.setenv(THREADS, nonsense)
        assert device_share(0, 2) == {THREADS: "3"}


@pytest.mark.parametrize(("visible", "expected"), [(None, ["0", "1", "0"]), ("4,7", ["4", "7", "4"])])
def test_devices_go_round(monkeypatch, visible, expected):
    """Which device a worker is told to use; no device computes here."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv(DEVICES, raising=False)
    if visible:
        monkeypatch.setenv(DEVICES, visible)
    assert [device_share(worker, 3)[DEVICES] for worker in range(3)] == expected


def crashing_stage():
    """A stage that takes a worker down before it has a trial, as a library that crashes when it is loaded."""
    if multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGSEGV)
    return toy_stage()


@pytest.mark.thorough
@pytest.mark.distributed
def test_workers_that_never_begin_are_not_started_for_ever(tmp_path):
    (tmp_path / "space.yaml").write_text("layers: [1, 2]\n")
    words = ["--space", tmp_path / "space.yaml", "--output_dir", tmp_path / "sweep", "--trials", 2, "--workers", 2]
    said = []
    unusable = pytest.raises(ValueError, match="3 workers in a row were killed by SIGSEGV before they started a trial")
    with unusable as error, lines_to(said.append):
        run_sweep(crashing_stage, list(map(str, words)), "toy sweep")
    assert "\n" not in str(error.value)
    assert sum("killed by SIGSEGV" in line for line in said) == 2
