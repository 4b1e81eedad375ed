"""What each worker gets of the machine."""

import pytest
import torch

from ft_core.sweep.workers import DEVICES, THREADS, device_share


def test_cores_are_shared(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setenv(THREADS, "8")
    assert [device_share(worker, 3) for worker in range(3)] == [{THREADS: "2"}] * 3
    monkeypatch.setenv(THREADS, "1")
    assert device_share(0, 4) == {THREADS: "1"}


@pytest.mark.parametrize(("visible", "expected"), [(None, ["0", "1", "0"]), ("4,7", ["4", "7", "4"])])
def test_devices_go_round(monkeypatch, visible, expected):
    """Which device a worker is told to use; no device computes here."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv(DEVICES, raising=False)
    if visible:
        monkeypatch.setenv(DEVICES, visible)
    assert [device_share(worker, 3)[DEVICES] for worker in range(3)] == expected
