"""The projection is the nearest candle with the same open and close; spikes are marked where the definition says."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize

from kronos_ft.data.quality import contradictions
from kronos_ft.data.sources import simulate_candles
from kronos_ft.forecasting.feasible_candles import project_candles, spikes

BARS = arrays(
    np.float64,
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.just(6)),
    elements=st.floats(-1e9, 1e9) | st.sampled_from([0.0, -0.0, 1.0, 100.0]),
)


def candles(bars=50, seed=0):
    return simulate_candles(bars, seed=seed).iloc[:, 1:].to_numpy(copy=True)


def assert_possible(bars):
    opened, high, low, close, volume, amount = np.moveaxis(bars, -1, 0)
    assert (low <= np.minimum(opened, close)).all()
    assert (high >= np.maximum(opened, close)).all()
    assert (volume >= 0).all()
    assert (amount >= 0).all()


def nearest_by_solver(bar, hold_body):
    """Nearest possible candle by a general solver; `hold_body` keeps open and close."""
    limits = np.array(
        [[-1, 1, 0, 0, 0, 0], [0, 1, 0, -1, 0, 0], [1, 0, -1, 0, 0, 0], [0, 0, -1, 1, 0, 0], [0, 0, 0, 0, 1, 0],
         [0, 0, 0, 0, 0, 1]], dtype=float,
    )  # fmt: skip
    constraints = [{"type": "ineq", "fun": lambda x: limits @ x, "jac": lambda x: limits}]
    if hold_body:
        body = np.eye(6)[[0, 3]]
        constraints.append({"type": "eq", "fun": lambda x: body @ (x - bar), "jac": lambda x: body})
    found = minimize(
        lambda x: ((x - bar) ** 2).sum(), bar, jac=lambda x: 2 * (x - bar), method="SLSQP", constraints=constraints
    )
    assert found.success
    return found.x


def test_is_the_solvers_nearest_candle_with_that_body():
    bars = np.random.default_rng(0).normal(size=(100, 6))
    projected, touched = project_candles(bars)
    expected = np.stack([nearest_by_solver(bar, hold_body=True) for bar in bars])
    np.testing.assert_allclose(projected, expected, atol=1e-6)
    np.testing.assert_array_equal(touched, np.abs(expected - bars).max(axis=1) > 1e-6)


def test_the_nearest_candle_of_all_would_move_the_close():
    """Why open and close are held: without, a high that is off by 2 takes the close along by 1."""
    bar = np.array([100.0, 101.0, 99.0, 103.0, 5.0, 500.0])
    np.testing.assert_allclose(nearest_by_solver(bar, hold_body=False)[:4], [100, 102, 99, 102], atol=1e-6)
    np.testing.assert_array_equal(project_candles(bar)[0][:4], [100, 103, 99, 103])


def test_a_low_above_the_high_does_not_become_the_high():
    bar = np.array([100.0, 99.0, 101.0, 100.0, 5.0, 500.0])
    np.testing.assert_array_equal(project_candles(bar)[0][:4], [100, 100, 100, 100])


@pytest.mark.fault(21)
@given(BARS)
def test_result_is_possible_keeps_the_body_and_is_idempotent(bars):
    before = bars.tobytes()
    projected, touched = project_candles(bars)
    assert bars.tobytes() == before
    assert_possible(projected)
    assert projected[..., [0, 3]].tobytes() == bars[..., [0, 3]].tobytes()
    again, moved = project_candles(projected)
    assert again.tobytes() == projected.tobytes()
    assert not moved.any()
    assert touched.shape == bars.shape[:-1]
    assert projected[~touched].tobytes() == bars[~touched].tobytes()


@pytest.mark.fault(21)
@given(BARS)
def test_every_price_is_one_of_the_bars_own(bars):
    prices, given_ = project_candles(bars)[0][..., :4], bars[..., :4]
    assert (prices[..., :, None] == given_[..., None, :]).any(axis=-1).all()


@given(arrays(np.float64, (6, 4), elements=st.floats(1e-9, 1e9)), st.floats(0, 1e6))
def test_possible_candles_keep_every_bit(prices, volume):
    bars = np.column_stack(
        (prices[:, 0], prices.max(axis=1), prices.min(axis=1), prices[:, 1], np.full(6, volume), np.full(6, -0.0))
    )
    projected, touched = project_candles(bars)
    assert projected.tobytes() == bars.tobytes()
    assert not touched.any()


def test_rounding_in_float32_leaves_no_contradiction():
    bars = candles().astype(np.float32)
    bars[:, 1] = np.nextafter(bars[:, [0, 3]].max(axis=1), np.float32(0))
    projected, touched = project_candles(bars)
    assert projected.dtype == np.float32
    assert touched.all()
    assert_possible(projected)
    assert not contradictions(projected).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", range(6))
def test_refuses_what_is_no_number(bad, column):
    bars = candles()
    bars[3, column] = bad
    with pytest.raises(ValueError, match=r"^paths contains NaN or infinity in 1 of 50 bars"):
        project_candles(bars)
    with pytest.raises(ValueError, match=r"^context contains NaN or infinity"):
        spikes(candles(), bars)


def test_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"paths has shape \(5, 4\); the last axis must contain open, high"):
        project_candles(np.ones((5, 4)))
    with pytest.raises(ValueError, match=r"context has shape \(0, 6\)"):
        spikes(candles(), np.ones((0, 6)))
    for k in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match="must be positive and finite"):
            spikes(candles(), candles(), k)


def test_spikes_begin_just_beyond_k_ranges():
    context = np.tile([100.0, 104.0, 96.0, 101.0, 1.0, 100.0], (5, 1))  # range 8 around the close of 101
    bars = np.tile([101.0, 101.0, 101.0, 101.0, 1.0, 100.0], (4, 1))
    bars[0, 1], bars[1, 1] = 125.0, np.nextafter(125.0, np.inf)
    bars[2, 2], bars[3, 2] = 77.0, np.nextafter(77.0, 0)
    np.testing.assert_array_equal(spikes(bars, context), [False, True, False, True])
    assert not spikes(bars, context, k=3.1).any()


def test_a_raw_close_beyond_a_wrong_high_is_a_spike():
    context = candles()
    bar = context[-1:].copy()
    bar[0, 3] *= 100
    assert spikes(bar, context).all()


@given(st.integers(0, 1000), st.floats(0.01, 10), st.floats(1e-3, 1e3))
def test_spikes_do_not_depend_on_the_unit_of_price_and_shrink_with_k(seed, k, scale):
    context, paths = candles(30, seed), candles(40, seed + 1).reshape(2, 20, 6)
    marked = spikes(paths, context, k)
    assert marked.shape == (2, 20)
    assert not (spikes(paths, context, 2 * k) & ~marked).any()
    scaled = spikes(paths * 2.0 ** np.round(np.log2(scale)), context * 2.0 ** np.round(np.log2(scale)), k)
    np.testing.assert_array_equal(scaled, marked)


def test_in_a_context_without_range_every_move_is_a_spike():
    context = np.full((4, 6), 10.0)
    assert not spikes(context, context).any()
    assert spikes(context + 1e-9, context).all()
