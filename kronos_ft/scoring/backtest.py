"""Long/flat back-test of the forecast close return, with costs, compared with buy-and-hold.

Rules:
- The forecast at origin o uses bars before o. The decision is made at the close of bar o - 1 and executed at the open
  of bar o.
- Long if the forecast log return of the close, `horizon` bars ahead, is above the threshold; otherwise flat, without
  interest.
- A position lasts until the open of the next origin, at most `horizon` bars. If the next origin confirms it, it is kept
  without trading. At the end, all positions are sold.
- Each side costs fee_bps + slippage_bps of the amount traded. Buy-and-hold pays both sides once, on the same bars.

Each symbol is traded separately: this is not a portfolio simulation.

Shapes: N origins, K bars from the first origin to the end of the last position.
"""

from dataclasses import dataclass, field

import numpy as np

from ..data.candles import CandleSeries
from .targets import CLOSE, check_origins

OPEN = 0
YEAR_SECONDS = 365.25 * 86_400
LEAST_ANNUALISED_DAYS = 30  # extrapolating a shorter span to a year is meaningless
WARNING = (
    "This is one past period with assumed costs and says little about the future. It ignores the order book, market "
    "impact, taxes, funding, interest, liquidation and downtime, and fills every order at the open. If many settings "
    "are tried, some do well by luck. It is not investment advice."
)


@dataclass(frozen=True)
class Performance:
    """Performance of a capital of 1.

    Attributes:
        total_return (`float`): gain over the whole span, after costs.
        annualised_return (`float`, *optional*): compounded gain per year; None below 30 days.
        volatility (`float`, *optional*): annualised standard deviation of returns from open to open.
        sharpe (`float`, *optional*): annualised Sharpe ratio of these returns, with a risk-free rate of 0.
        max_drawdown (`float`): largest decline from a peak, at opens, as a share of the peak; 0 or more.
        turnover (`float`): amount traded as a multiple of the capital; 2 per round trip.
        trades (`int`): number of purchases.
        exposure (`float`): share of bars invested.
        note (`str`, *optional*): why values are None.
    """

    total_return: float
    annualised_return: float | None
    volatility: float | None
    sharpe: float | None
    max_drawdown: float
    turnover: float
    trades: int
    exposure: float
    note: str | None = None


@dataclass(frozen=True)
class Backtest:
    """Outcome of [`backtest`].

    Attributes:
        strategy, buy_and_hold ([`Performance`]): on the same bars, with the same costs.
        symbol (`str`), first, last (`str`): the symbol, and the times of the first and last open.
        bars (`int`), origins (`int`), horizon (`int`), fee_bps (`float`), slippage_bps (`float`), threshold (`float`).
        equity (`np.ndarray` of shape `(2, K + 1)`): capital of strategy and buy-and-hold at each open, starting at 1.
        warning (`str`): the limitations of the back-test.
    """

    strategy: Performance
    buy_and_hold: Performance
    symbol: str
    first: str
    last: str
    bars: int
    origins: int
    horizon: int
    fee_bps: float
    slippage_bps: float
    threshold: float
    equity: np.ndarray = field(repr=False)
    warning: str = WARNING

    def to_dict(self) -> dict:
        """Plain values for JSON, without the equity curves."""
        kept = {name: value for name, value in vars(self).items() if name != "equity"}
        return {**kept, "strategy": vars(self.strategy).copy(), "buy_and_hold": vars(self.buy_and_hold).copy()}

    def line(self) -> str:
        """The result in one line, and the warning in a second."""
        return (
            f"back-test {self.symbol}, {self.first} to {self.last}, long or flat, {self.horizon} bars ahead, "
            f"{self.fee_bps:g} bp fee and {self.slippage_bps:g} bp slippage per side: {_summary(self.strategy)}; "
            f"buy and hold {_summary(self.buy_and_hold)}\n{self.warning}"
        )


def _summary(found: Performance) -> str:
    sharpe = "-" if found.sharpe is None else f"{found.sharpe:.2f}"
    trades = f"{found.trades} trade{'s' * (found.trades != 1)}"
    return f"{found.total_return:+.1%} (Sharpe {sharpe}, max drawdown {found.max_drawdown:.1%}, {trades})"


def _held(origins: np.ndarray, long: np.ndarray, horizon: int) -> np.ndarray:
    """Whether the capital is invested in each bar from the first origin on, shape `(K,)`."""
    bars = np.arange(origins[0], origins[-1] + horizon)
    latest = np.searchsorted(origins, bars, side="right") - 1
    return long[latest] & (bars - origins[latest] < horizon)


def _equity(held: np.ndarray, growth: np.ndarray, cost: float) -> tuple[np.ndarray, np.ndarray]:
    """Capital at each open after its trades, and the trades (+1, 0, -1), each `(K + 1,)`."""
    trades = np.diff(held.astype(np.int64), prepend=0, append=0)
    steps = np.concatenate(([1.0], np.where(held, growth, 1.0)))
    return np.cumprod(steps * np.where(trades != 0, 1 - cost, 1.0)), trades


def _performance(held: np.ndarray, equity: np.ndarray, trades: np.ndarray, years: float) -> Performance:
    capital = np.concatenate(([1.0], equity))  # includes the cost of the first purchase
    # the costs at an open belong to the previous bar; those at the first open to the first bar
    returns = capital[2:] / np.concatenate(([1.0], capital[2:-1])) - 1
    notes = []
    total = float(equity[-1] - 1)
    annualised = None
    if years * 365.25 < LEAST_ANNUALISED_DAYS:
        notes.append(
            f"{years * 365.25:.1f} days are too few to annualise the return (at least {LEAST_ANNUALISED_DAYS})"
        )
    else:
        annualised = float((1 + total) ** (1 / years) - 1)
    volatility = sharpe = None
    if len(returns) < 2:
        notes.append("one bar has no volatility")
    else:
        a_year = len(returns) / years
        spread = float(returns.std(ddof=1))
        volatility = spread * a_year**0.5
        if spread > 1e-12:
            sharpe = float(returns.mean() / spread * a_year**0.5)
        else:
            notes.append("returns are constant: no Sharpe ratio")
    return Performance(
        total_return=total,
        annualised_return=annualised,
        volatility=volatility,
        sharpe=sharpe,
        max_drawdown=float((1 - capital / np.maximum.accumulate(capital)).max()),
        turnover=float(np.abs(trades).sum()),
        trades=int((trades > 0).sum()),
        exposure=float(held.mean()),
        note="; ".join(notes) or None,
    )


def backtest(
    series: CandleSeries,
    origins: np.ndarray,
    forecast: np.ndarray,
    horizon: int,
    *,
    fee_bps: float = 10.0,
    slippage_bps: float = 5.0,
    threshold: float = 0.0,
) -> Backtest:
    """Trades the forecasts of one symbol by the rules above.

    Args:
        series ([`CandleSeries`]): one symbol's candles.
        origins (`np.ndarray` of integers, shape `(N,)`): indices of the first bars to forecast, increasing.
        forecast (`np.ndarray` of shape `(N,)`): forecast log return of the close, `horizon` bars ahead, such as the
            median of `path_targets(...)[:, :, horizon - 1, 3]` over paths.
        horizon (`int`): bars ahead that the forecast is for, 1 or more.
        fee_bps, slippage_bps (`float`): costs per side in basis points of the amount traded.
        threshold (`float`): buy above this log return.

    Raises:
        ValueError: no origins, origins not increasing or too late, a wrong number of forecasts, invalid costs.
    """
    if horizon < 1:
        raise ValueError(f"horizon={horizon} is below 1; use 1 or more")
    origins = check_origins(series, origins, 1, horizon)
    forecast = np.asarray(forecast, dtype=np.float64)
    if not len(origins) or (np.diff(origins) <= 0).any():
        raise ValueError("origins must be strictly increasing and not empty; sort them and remove duplicates")
    if forecast.shape != origins.shape or not np.isfinite(forecast).all():
        raise ValueError(
            f"forecast of shape {forecast.shape} must contain one finite number per origin ({len(origins)}); correct it"
        )
    for name, bps in (("fee_bps", fee_bps), ("slippage_bps", slippage_bps)):
        if not 0 <= bps < 5000:
            raise ValueError(f"{name}={bps} must be basis points from 0 to below 5000; use e.g. 10 for 0.1 %")
    first, end = int(origins[0]), int(origins[-1]) + horizon
    prices = series.values[first : end + 1, OPEN]
    times = series.timestamps[first : end + 1]
    if end == len(series):  # no next open: sell at the last close
        step = np.timedelta64(round(series.report.step_seconds * 1e9), "ns")
        prices, times = np.append(prices, series.values[-1, CLOSE]), np.append(times, times[-1] + step)
    years = float((times[-1] - times[0]) / np.timedelta64(1, "s")) / YEAR_SECONDS
    cost = (fee_bps + slippage_bps) / 10_000
    growth = prices[1:] / prices[:-1]
    held = _held(origins, forecast > threshold, horizon)
    curves = [_equity(one, growth, cost) for one in (held, np.ones_like(held))]
    return Backtest(
        strategy=_performance(held, *curves[0], years),
        buy_and_hold=_performance(np.ones_like(held), *curves[1], years),
        symbol=series.symbol,
        first=str(times[0].astype("datetime64[s]")),
        last=str(times[-1].astype("datetime64[s]")),
        bars=len(held),
        origins=len(origins),
        horizon=horizon,
        fee_bps=float(fee_bps),
        slippage_bps=float(slippage_bps),
        threshold=float(threshold),
        equity=np.stack([curve for curve, _ in curves]),
    )
