"""A run that is not the one asked for is refused."""

import pytest

from ft_core.launch import check_precision, check_world_size


def test_world_size(monkeypatch):
    check_world_size(None)
    check_world_size(1)
    with pytest.raises(ValueError, match="expected_world_size=2 but 1 process run"):
        check_world_size(2)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="the launcher started 2 processes but 1 train together"):
        check_world_size(None)


def test_fp16_on_a_cpu():
    with pytest.raises(ValueError, match="mixed_precision=fp16 has no effect on a CPU; use bf16"):
        check_precision("fp16", "cpu")
    check_precision("bf16", "cpu")
    check_precision("fp16", "cuda")
