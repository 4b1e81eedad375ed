"""A run that is not the one asked for is refused."""

import pytest

from ft_core.runs.processes import check_precision, check_world_size, warn_of_ignored_sharding


def test_world_size(monkeypatch):
    check_world_size(None)
    check_world_size(1)
    with pytest.raises(ValueError, match="expected_world_size=2 but 1 process run"):
        check_world_size(2)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="the launcher started 2 processes but 1 train together"):
        check_world_size(None)


def test_fsdp_that_is_ignored_is_said(monkeypatch, caplog):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    warn_of_ignored_sharding(uses_fsdp=True)
    assert not caplog.records
    warn_of_ignored_sharding(uses_fsdp=False)
    assert "FSDP is not used on this device" in caplog.text


def test_fp16_on_a_cpu():
    with pytest.raises(ValueError, match="mixed_precision=fp16 has no effect on a CPU; use bf16"):
        check_precision("fp16", "cpu")
    check_precision("bf16", "cpu")
    check_precision("fp16", "cuda")
