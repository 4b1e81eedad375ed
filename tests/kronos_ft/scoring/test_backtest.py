"""The back-test against five bars computed by hand, its rules and its edge cases."""

import dataclasses
import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest

from kronos_ft.data.candles import load_candles
from kronos_ft.scoring.backtest import WARNING, backtest

OPENS = [100.0, 102.0, 110.0, 99.0, 104.0, 107.0]


@pytest.fixture(scope="module")
def five_bars():
    """A first bar to forecast from, and five that are traded, ten days each."""
    opens = np.array(OPENS)
    closes = opens + 1
    table = pd.DataFrame(
        {
            "timestamps": pd.date_range("2024-01-01", periods=6, freq="10D"),
            "open": opens,
            "high": closes + 1,
            "low": opens - 1,
            "close": closes,
            "volume": 1.0,
            "amount": 1.0,
        }
    )
    return load_candles({"FIVE": table})[0]


def test_five_bars_by_hand(five_bars):
    """Origins 1 to 5, long at 1, 2 and 4: bought at 102, sold at 99, bought at 104, sold at 107."""
    signals = np.array([0.01, 0.02, -0.01, 0.01, 0.0])
    found = backtest(five_bars, np.arange(1, 6), signals, 1, fee_bps=70, slippage_bps=30)
    side = 0.99
    capital = side * 99 / 102 * side * side * 107 / 104 * side
    strategy = found.strategy
    assert strategy.total_return == pytest.approx(capital - 1)
    assert (strategy.trades, strategy.turnover, strategy.exposure) == (2, 4.0, 0.6)
    equity = [side, side * 110 / 102, side**2 * 99 / 102, side**3 * 99 / 102, capital, capital]
    assert found.equity[0].tolist() == pytest.approx(equity)
    returns = [equity[1] - 1] + [b / a - 1 for a, b in itertools.pairwise(equity[1:])]
    years = 50 / 365.25  # the last bar has no next open: sold at its close, a step later
    assert strategy.annualised_return == pytest.approx(capital ** (1 / years) - 1)
    assert strategy.volatility == pytest.approx(np.std(returns, ddof=1) * math.sqrt(5 / years))
    assert strategy.sharpe == pytest.approx(np.mean(returns) / np.std(returns, ddof=1) * math.sqrt(5 / years))
    assert strategy.max_drawdown == pytest.approx(1 - min(equity[3], capital) / equity[1])
    assert found.buy_and_hold.total_return == pytest.approx(side * 108 / 102 * side - 1)
    assert (found.buy_and_hold.trades, found.buy_and_hold.exposure) == (1, 1.0)
    assert (found.first, found.last, found.bars) == ("2024-01-11T00:00:00", "2024-03-01T00:00:00", 5)


def test_costs_alone_make_the_difference(five_bars):
    origins, signals = np.arange(1, 5), np.ones(4)
    free = backtest(five_bars, origins, signals, 1, fee_bps=0, slippage_bps=0)
    assert free.strategy == free.buy_and_hold
    assert free.strategy.total_return == pytest.approx(107 / 102 - 1)
    dear = backtest(five_bars, origins, signals, 1, fee_bps=100, slippage_bps=0)
    assert dear.strategy.total_return == pytest.approx(107 / 102 * 0.99**2 - 1)


def test_a_position_ends_with_its_forecast(five_bars):
    """Origins three bars apart, a forecast of two bars: flat in the third."""
    found = backtest(five_bars, np.array([1, 4]), np.array([0.1, 0.1]), 2, fee_bps=0, slippage_bps=0)
    assert found.strategy.total_return == pytest.approx(110 / 102 * 99 / 110 * 108 / 104 - 1)
    assert (found.strategy.trades, found.bars) == (2, 5)


def test_a_longer_forecast_is_decided_again_at_the_next_origin(five_bars):
    found = backtest(five_bars, np.array([1, 3]), np.array([0.1, -0.1]), 3, fee_bps=0, slippage_bps=0)
    assert found.strategy.total_return == pytest.approx(99 / 102 - 1)
    assert found.strategy.trades == 1


def test_threshold_and_ties(five_bars):
    signals = np.array([0.0, 0.01, 0.011, 0.0])
    assert backtest(five_bars, np.arange(1, 5), signals, 1, threshold=0.01).strategy.exposure == 0.25
    assert backtest(five_bars, np.arange(1, 5), np.zeros(4), 1).strategy.exposure == 0


def test_always_flat_and_one_bar_have_reasons(five_bars):
    flat = backtest(five_bars, np.arange(1, 5), -np.ones(4), 1).strategy
    assert (flat.total_return, flat.sharpe, flat.volatility, flat.max_drawdown, flat.turnover) == (0, None, 0, 0, 0)
    assert flat.note == "returns are constant: no Sharpe ratio"
    one = backtest(five_bars, np.array([2]), np.ones(1), 1).strategy
    assert (one.volatility, one.sharpe, one.annualised_return) == (None, None, None)
    assert one.note == "10.0 days are too few to annualise the return (at least 30); one bar has no volatility"


def test_execution_is_at_the_open_not_at_the_close_decided_on(five_bars):
    values = five_bars.values.copy()
    values[0] = np.nan  # the bar that the decision is made on is never traded at
    signals = np.ones(4)
    changed = backtest(dataclasses.replace(five_bars, values=values), np.arange(1, 5), signals, 1)
    assert changed.strategy == backtest(five_bars, np.arange(1, 5), signals, 1).strategy


def test_printed_and_written(five_bars):
    found = backtest(five_bars, np.arange(1, 6), np.ones(5), 1)
    first, second = found.line().split("\n")
    assert first.startswith(
        "back-test FIVE, 2024-01-11T00:00:00 to 2024-03-01T00:00:00, long or flat, 1 bars ahead, 10 bp fee and 5"
    )
    assert "buy and hold +5.6%" in first
    assert second == WARNING
    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert written["warning"] == WARNING
    assert written["strategy"]["trades"] == 1
    assert "equity" not in written


def test_wrong_input_is_named(five_bars):
    with pytest.raises(ValueError, match="origins must be strictly increasing and not empty"):
        backtest(five_bars, np.array([2, 1]), np.ones(2), 1)
    with pytest.raises(ValueError, match="origins must be strictly increasing"):
        backtest(five_bars, np.array([], dtype=int), np.ones(0), 1)
    with pytest.raises(ValueError, match="origin 5 of FIVE needs 1 bars before it and 2 after"):
        backtest(five_bars, np.array([5]), np.ones(1), 2)
    with pytest.raises(ValueError, match=r"must contain one finite number per origin \(2\)"):
        backtest(five_bars, np.array([1, 2]), np.array([1.0, np.nan]), 1)
    with pytest.raises(ValueError, match="fee_bps=-1 must be basis points"):
        backtest(five_bars, np.array([1]), np.ones(1), 1, fee_bps=-1)
    with pytest.raises(ValueError, match="horizon=0 is below 1"):
        backtest(five_bars, np.array([1]), np.ones(1), 0)
