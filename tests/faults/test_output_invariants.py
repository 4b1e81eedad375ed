"""Family 21: whatever the weights, the market and the settings, a forecast is made of candles that can exist."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings, strategies as st

from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.forecasting.predictor import KronosPredictor
from kronos_ft.forecasting.series import forecast_series
from kronos_ft.models.configuration_kronos import KronosConfig, KronosTokenizerConfig
from kronos_ft.models.modeling_kronos import Kronos, KronosTokenizer

pytestmark = pytest.mark.fault(21)

OPEN, HIGH, LOW, CLOSE, VOLUME, AMOUNT = range(6)


def random_predictor(seed, scale):
    torch.manual_seed(seed)
    tokenizer = KronosTokenizer(KronosTokenizerConfig.from_size("tiny"))
    with torch.no_grad():
        tokenizer.head.weight.mul_(scale)
    return KronosPredictor(Kronos(KronosConfig.from_size("tiny")), tokenizer, device="cpu", max_context=32)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1000),
    scale=st.sampled_from([0.1, 5.0, 200.0]),
    price=st.sampled_from([1e-9, 1.0, 1e9]),
    sizes=st.tuples(st.integers(2, 40), st.integers(1, 12), st.integers(1, 5)),
    step=st.sampled_from(["1min", "1h", "1D", "7D"]),
    draw=st.sampled_from(
        [{"T": 0.0}, {"T": 3.0, "top_p": 1.0}, {"top_k": 2}, {"overflow": "roll"}, {"overflow": "trim"}]
    ),
    volume=st.booleans(),
)
def test_forecasts_of_random_models_and_markets(seed, scale, price, sizes, step, draw, volume):
    lookback, horizon, paths = sizes
    frame = simulate_candles(80, seed=seed, step=step)
    frame[["open", "high", "low", "close"]] *= price
    if not volume:
        frame[["volume", "amount"]] = 0.0
    series = load_candles({"A": frame, "B": simulate_candles(80, seed=seed + 1, step=step)})
    found = forecast_series(random_predictor(seed, scale), series, horizon, lookback=lookback, num_paths=paths, **draw)
    assert [one.series.symbol for one in found] == ["A", "B"]
    for one in found:
        bars = one.forecast.paths
        assert bars.shape == (paths, horizon, 6)
        assert np.isfinite(bars).all()
        assert (bars[..., : CLOSE + 1] > 0).all()
        assert (bars[..., VOLUME:] >= 0).all()
        assert (bars[..., HIGH] >= bars[..., [OPEN, CLOSE]].max(axis=-1)).all()
        assert (bars[..., LOW] <= bars[..., [OPEN, CLOSE]].min(axis=-1)).all()
        assert one.times.shape == (horizon,)
        assert one.times[0] > one.series.timestamps[-1]
        assert (np.diff(one.times) > np.timedelta64(0)).all()

        levels = [0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]
        quantiles = one.forecast.quantile_tables(levels)
        ordered = np.stack([quantiles[level].to_numpy() for level in levels])
        assert (np.diff(ordered, axis=0) >= 0).all()
        assert (ordered[..., HIGH] >= ordered[..., CLOSE]).all()
        assert (ordered[..., LOW] <= ordered[..., OPEN]).all()
        lower, upper = one.forecast.band(0.8)
        assert (lower.to_numpy() <= upper.to_numpy()).all()
        mean = one.forecast.mean().to_numpy()
        slack = 1e-12 * mean[:, HIGH]
        assert (mean[:, HIGH] + slack >= mean[:, [OPEN, CLOSE]].max(axis=1)).all()
        assert (mean[:, LOW] - slack <= mean[:, [OPEN, CLOSE]].min(axis=1)).all()
        assert 0 <= one.forecast.projected_share <= 1
        assert 0 <= one.forecast.spike_share <= 1

        table = one.forecast.to_frame(one.times)
        assert len(table) == paths * horizon
        for _, path in table.groupby("path"):
            assert path.timestamps.is_monotonic_increasing
            np.testing.assert_array_equal(path.timestamps.to_numpy(), one.times)


@pytest.mark.parametrize("scale", [0.1, 200.0])
def test_the_published_interface(scale):
    frame = simulate_candles(80, seed=2)
    past, future = frame.timestamps[:60], frame.timestamps[60:]
    found = random_predictor(3, scale).predict(
        frame[:60], past, future, 20, sample_count=3, verbose=False, project=True
    )
    assert found.shape == (20, 6)
    assert list(found.columns) == ["open", "high", "low", "close", "volume", "amount"]
    assert (found.index == pd.DatetimeIndex(future)).all()
    assert np.isfinite(found.to_numpy()).all()
    assert (found.high + 1e-9 >= found[["open", "close"]].max(axis=1)).all()
    assert (found.low - 1e-9 <= found[["open", "close"]].min(axis=1)).all()
