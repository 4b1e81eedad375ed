"""Patience from the last real improvement, and the stock callback's fault that it is there for."""

import math
from types import SimpleNamespace

import pytest
from transformers import EarlyStoppingCallback, TrainerControl, TrainerState

from ft_core.training.early_stopping import EarlyStopping, measure_patience

METRIC = "eval_recon_all"
ARGS = SimpleNamespace(
    metric_for_best_model=METRIC, greater_is_better=False, load_best_model_at_end=True, eval_strategy="steps"
)


def stops_at(values, patience, min_delta):
    """Evaluation at which ours stops, or None."""
    callback, state = EarlyStopping(patience, min_delta), TrainerState(log_history=[])
    for step, value in enumerate(values, 1):
        control = TrainerControl()
        state.log_history.append({METRIC: value, "step": step})
        callback.on_evaluate(ARGS, state, control)
        if control.should_training_stop:
            return step
    return None


def stock_stops_at(values, patience, threshold):
    callback, state = EarlyStoppingCallback(patience, threshold), TrainerState(log_history=[])
    for step, value in enumerate(values, 1):
        control = TrainerControl()
        callback.on_evaluate(ARGS, state, control, metrics={METRIC: value})
        if state.best_metric is None or value < state.best_metric:  # what Trainer._determine_best_metric does
            state.best_metric = value
        if control.should_training_stop:
            return step
    return None


def test_slow_steady_improvement_goes_on_where_the_stock_callback_stops():
    values = [1.0 - 0.009 * step for step in range(50)]
    assert stock_stops_at(values, patience=3, threshold=0.02) == 4
    assert stops_at(values, patience=3, min_delta=0.02) is None


def test_stops_after_patience_without_a_gain():
    assert stops_at([1.0, 0.5, 0.5, 0.5, 0.5], patience=3, min_delta=0.0) == 5
    assert stops_at([1.0, 0.5, 0.49999, 0.49998, 0.49997], patience=3, min_delta=1e-3) == 5
    assert stops_at([1.0, 0.5, 0.6, 0.4, 0.6, 0.6], patience=3, min_delta=0.0) is None


def test_survives_a_resume_because_it_reads_the_history():
    history = [1.0, 0.5, 0.6, 0.6]
    resumed = EarlyStopping(3, 0.0)
    state = TrainerState(log_history=[{METRIC: value, "step": step} for step, value in enumerate([*history, 0.7])])
    control = TrainerControl()
    resumed.on_evaluate(ARGS, state, control)
    assert control.should_training_stop


def test_nan_is_never_an_improvement():
    assert stops_at([1.0, math.nan, math.nan], patience=2, min_delta=0.0) == 3
    found = measure_patience([(1, math.nan), (2, 0.5), (3, math.nan)], 0.0, greater_is_better=False)
    assert (found.best, found.best_step, found.waited) == (0.5, 2, 1)


def test_growing_metrics():
    found = measure_patience([(1, 0.1), (2, 0.3), (3, 0.29)], 0.0, greater_is_better=True)
    assert (found.best, found.waited) == (0.3, 1)


def test_settings_out_of_range():
    with pytest.raises(ValueError, match="early_stopping_patience=0 is below 1"):
        EarlyStopping(0, 0.0)
    with pytest.raises(ValueError, match="early_stopping_min_delta=-1 is negative"):
        EarlyStopping(1, -1)
