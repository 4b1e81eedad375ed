"""Retention: the best k by metric and the last one, whatever the order and however often it is resumed."""

from types import SimpleNamespace

import pytest
from hypothesis import given, strategies as st
from transformers import TrainerControl, TrainerState

from ft_core.checkpoints.listing import list_checkpoints
from ft_core.checkpoints.retention import KeepBestCheckpoints, steps_to_keep

METRIC = "eval_recon_all"
VALUES = {1: 0.9, 2: 0.5, 3: 0.2, 4: 0.8, 5: 0.7, 6: 0.1, 7: 0.3, 8: 0.6, 9: 0.65}


def save_all(folder, values, keep_best, callback=None):
    """Saves a checkpoint at each step, as the Trainer would, and calls the callback after each."""
    args = SimpleNamespace(output_dir=str(folder), metric_for_best_model=METRIC, greater_is_better=False)
    state = TrainerState(log_history=[], is_world_process_zero=True)
    for step, value in values.items():
        state.log_history.append({METRIC: value, "step": step})
        (folder / f"checkpoint-{step}").mkdir()
        (folder / f"checkpoint-{step}" / "model.safetensors").write_text("x")
        (callback or KeepBestCheckpoints(keep_best)).on_save(args, state, TrainerControl())
    return set(list_checkpoints(folder))


def test_keeps_the_true_best_three_and_the_last(tmp_path):
    """The stock rotation keeps {2, 3, 7} or {7, 8, 9} of this history."""
    assert save_all(tmp_path, VALUES, keep_best=3) == {3, 6, 7, 9}
    assert not list(tmp_path.glob(".deleting*"))


def test_ties_go_to_the_earlier(tmp_path):
    assert save_all(tmp_path, dict.fromkeys(range(1, 6), 0.5), keep_best=2) == {1, 2, 5}


def test_nan_ranks_last(tmp_path):
    assert save_all(tmp_path, {1: float("nan"), 2: 0.5, 3: float("nan"), 4: 0.6}, keep_best=2) == {2, 4}


def test_other_folders_are_left_alone(tmp_path):
    (tmp_path / "checkpoint-best").mkdir()
    (tmp_path / "best_model").mkdir()
    save_all(tmp_path, VALUES, keep_best=1)
    assert (tmp_path / "checkpoint-best").is_dir()
    assert (tmp_path / "best_model").is_dir()


def test_other_ranks_delete_nothing(tmp_path):
    args = SimpleNamespace(output_dir=str(tmp_path), metric_for_best_model=METRIC, greater_is_better=False)
    for step in (1, 2, 3):
        (tmp_path / f"checkpoint-{step}").mkdir()
    KeepBestCheckpoints(1).on_save(args, TrainerState(log_history=[], is_world_process_zero=False), TrainerControl())
    assert set(list_checkpoints(tmp_path)) == {1, 2, 3}


@given(st.dictionaries(st.integers(1, 50), st.floats(0, 1), min_size=1), st.integers(1, 5), st.booleans())
def test_ranking_by_brute_force(metric, keep_best, greater):
    kept = steps_to_keep(list(metric), metric, keep_best, greater)
    assert max(metric) in kept
    best = {*sorted(metric, key=lambda step: (-metric[step] if greater else metric[step], step))[:keep_best]}
    assert kept == best | {max(metric)}


def test_at_least_one_is_kept():
    with pytest.raises(ValueError, match="keep_best=0 is below 1"):
        KeepBestCheckpoints(0)
