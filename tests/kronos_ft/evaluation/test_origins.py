"""Origins: inside their split, apart from training windows, none across an outage, subsampled evenly."""

from dataclasses import replace

import numpy as np
import pytest

from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.evaluation.origins import Origins, find_origins, plan_origins, thin_origins, with_step
from kronos_ft.evaluation.settings import OriginPlan
from kronos_ft.windows.dataset import WindowDataset, WindowShape
from kronos_ft.windows.splits import split_bounds

PLAN = OriginPlan(lookback=20, horizon=4, step=4)


def test_origins_keep_inside_their_split_and_an_embargo_of_one_window(series):
    borders = split_bounds(series[0])
    for split in ("validation", "test"):
        first, end = borders[split]
        origins = find_origins(series[0], split, PLAN).indices
        assert origins[0] == first + 25
        assert (np.diff(origins) == 4).all()
        assert end - 4 < origins[-1] + 4 <= end


@pytest.mark.parametrize("embargo", [None, 0, 3, 60])
def test_no_target_of_a_training_window_lies_in_a_context(series, embargo):
    plan = OriginPlan(lookback=20, horizon=4, step=1, embargo=embargo)
    train = WindowDataset(series, "train", WindowShape(lookback=20, horizon=4))
    last_target = train._starts.max() + train.shape.length - 1
    for split in ("validation", "test"):
        origins = find_origins(series[0], split, plan).indices
        assert len(origins)
        assert (origins - plan.lookback > last_target).all()
        assert origins[0] >= split_bounds(series[0], embargo=plan.embargo_bars)[split][0]


def test_contexts_of_test_may_reach_into_validation_without_an_embargo(series):
    plan = OriginPlan(lookback=20, horizon=4, step=1, embargo=0)
    assert find_origins(series[0], "test", plan).indices[0] == split_bounds(series[0])["test"][0]


def test_no_origin_has_a_gap_in_context_or_horizon(candle_frame):
    gapped = load_candles({"SIM": candle_frame.drop(index=[830, 831])})[0]
    found = find_origins(gapped, "test", OriginPlan(lookback=20, horizon=4, step=1))
    missing = gapped.missing_before()
    for origin in found.indices:
        assert not missing[origin - 19 : origin + 4].any()
    everywhere = find_origins(gapped, "test", OriginPlan(lookback=20, horizon=4, step=1, max_gap=2))
    assert len(everywhere) == len(found) + found.across_gaps
    assert found.across_gaps == 23
    assert everywhere.across_gaps == 0


def test_contexts_of_moves_that_no_model_resolves_are_excluded(candle_frame):
    """A forecast from such a context is refused: an evaluation must not stop there after hours."""
    quiet = candle_frame.copy()
    bars = slice(840, 870)  # both included
    names = ["open", "high", "low", "close"]
    level = quiet.loc[bars.start, "close"]
    quiet.loc[bars, names] = level + (quiet.loc[bars, names] - level) * 1e-8
    series = load_candles({"SIM": quiet})[0]
    plan = OriginPlan(lookback=20, horizon=4, step=1)
    found = find_origins(series, "test", plan)
    inside = set(range(bars.start + 20, bars.stop + 2))
    assert not inside & set(found.indices.tolist())
    assert found.constant == len(inside)
    everywhere = find_origins(load_candles({"SIM": candle_frame})[0], "test", plan)
    assert len(found) + found.constant == len(everywhere)


def test_thinning_is_even_and_fair_to_short_symbols():
    long, short = (Origins(np.arange(count) * 5, count, 0) for count in (200, 4))
    kept = thin_origins([long, short], 24)
    assert [len(one) for one in kept] == [20, 4]
    assert kept[0].indices[[0, -1]].tolist() == [0, 995]
    assert np.ptp(np.diff(kept[0].indices)) <= 5
    assert kept[0].found == 200
    assert kept[0].spacing() == 50
    assert [len(one) for one in thin_origins([long, short], None)] == [200, 4]
    assert [len(one) for one in thin_origins([long, short], 1)] == [1, 1]


def test_several_symbols_have_splits_of_their_own():
    both = load_candles({"A": simulate_candles(900, seed=1), "B": simulate_candles(600, seed=2)})
    origins = plan_origins(both, "test", PLAN)
    for one, found in zip(both, origins, strict=True):
        assert found.indices[0] == split_bounds(one)["test"][0] + 25


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"horizon": 0}, "horizon=0 is below 1"),
        ({"horizon": -3}, "horizon=-3 is below 1"),
        ({"lookback": 1}, "lookback=1 is below 2; use 2"),
        ({"step": 0}, "step=0 is below 1"),
        ({"max_origins": 0}, "max_origins=0 is below 1"),
        ({"embargo": -1}, "embargo=-1 is below 0"),
        ({"max_gap": -1}, "max_gap=-1 is below 0"),
    ],
)
def test_impossible_plans(values, message):
    with pytest.raises(ValueError, match=message):
        OriginPlan(**values)


def test_a_test_split_without_origins_says_why(series, candle_frame):
    with pytest.raises(ValueError, match="lookback=5000 and horizon=4 need 5004 bars, but SIM has 900"):
        plan_origins(series, "test", OriginPlan(lookback=5000, horizon=4))
    with pytest.raises(ValueError, match="test split of SIM has 135 bars: too few for one origin with embargo=205"):
        plan_origins(series, "test", OriginPlan(lookback=200, horizon=4))
    holes = load_candles({"SIM": candle_frame.drop(index=range(770, 900, 13))})
    with pytest.raises(ValueError, match="have a gap in their context or horizon; shorten lookback"):
        plan_origins(holes, "test", PLAN)


@pytest.mark.parametrize(
    ("bars", "horizon", "step"),
    [
        (20_000, 8, 8),  # 3,000 test bars give more than 200 origins at the horizon
        (6_000, 8, 4),  # 868 possible origins: 217 at every fourth bar, 174 at every fifth
        (2_000, 8, 2),  # never 200: a quarter of the horizon
        (2_000, 3, 1),
        (400, 1, 1),
    ],
)
def test_the_step_is_the_largest_that_gives_200_origins(bars, horizon, step):
    series = load_candles({"SIM": simulate_candles(bars, seed=1)})
    plan = OriginPlan(lookback=20, horizon=horizon)
    assert with_step(series, plan).step == step
    counts = {s: sum(map(len, plan_origins(series, "test", replace(plan, step=s)))) for s in range(1, horizon + 1)}
    least = max(horizon // 4, 1)
    assert step == max([s for s, count in counts.items() if count >= 200 and s > least], default=least)
    np.testing.assert_array_equal(
        find_origins(series[0], "test", plan).indices, find_origins(series[0], "test", replace(plan, step=step)).indices
    )
    assert with_step(series, replace(plan, step=17)).step == 17


def test_the_step_counts_the_origins_of_all_symbols(candle_frame):
    series = load_candles({name: simulate_candles(2_000, seed=seed) for seed, name in enumerate("ABCD")})
    plan = OriginPlan(lookback=20, horizon=8)
    assert with_step(series, plan).step > with_step(series[:1], plan).step
    assert sum(map(len, plan_origins(series, "test", plan))) >= 200
    gapped = load_candles({"SIM": candle_frame.drop(index=range(820, 880, 20))})
    assert with_step(gapped, plan).step == 2
