"""The page's chart as SVG: candles, paths, prediction intervals and actual candles.

Notable:
- Unlike the pictures of `kronos_ft.forecasting.plots`, the chart takes colours from the page's style sheet and fonts
  from the browser, so it is readable in the light and dark theme and in Chinese.
- Each bar has a title with its time and prices, which browsers show as a tooltip.
- With a quantile head, bands between its own levels take the place of the 50 % and 90 % intervals.

Shapes: L bars of context, H horizon, K known bars after the origin, Q levels.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from ..forecasting.forecast import Forecast
from ..forecasting.plots import shown_paths
from .candle_choice import time_text
from .forecast_view import CLOSE, LEVELS, price
from .markup import text

LAYERS = ("paths", "90", "50", "truth")
HEAD_LAYERS = ("paths", "levels", "truth")
WIDTH, HEIGHT, PRICES_END = 1000, 470, 352
LEFT, RIGHT, TOP, VOLUMES_START, VOLUMES_END = 8, 84, 14, 372, 432
SHOWN_PATHS = 40
SHOWN_CONTEXT, LEAST_CONTEXT, MOST_CONTEXT = 3, 60, 240  # horizons of context, and bars
ALONE = 120  # bars without a forecast
MARGIN = 0.05
NEAR = (0.02, 0.98)  # quantiles that are always inside the chart
FULL = f'height="{VOLUMES_END - TOP}"'  # spans prices and volumes
OPEN, HIGH, LOW, VOLUME = 0, 1, 2, 4


def shown_context(bars: int, horizon: int) -> int:
    """Number of bars drawn before the origin."""
    return min(bars, max(LEAST_CONTEXT, min(SHOWN_CONTEXT * horizon, MOST_CONTEXT)) if horizon else ALONE)


def _line(xs: Sequence[float], ys: Sequence[float]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(xs, ys, strict=True))


def _candles(bars: np.ndarray, xs: np.ndarray, width: float, y: Callable, kind: str) -> str:
    """Wicks and bodies as one path for rising and one for falling bars."""
    parts = {"up": [], "down": []}
    for x, bar in zip(xs, bars, strict=True):
        top, bottom = y(max(bar[OPEN], bar[CLOSE])), y(min(bar[OPEN], bar[CLOSE]))
        bottom = max(bottom, top + 0.8)  # draw an unchanged close as a line
        half = width / 2
        parts["up" if bar[CLOSE] >= bar[OPEN] else "down"].append(
            f"M{x:.1f} {y(bar[HIGH]):.1f}V{top:.1f}M{x:.1f} {bottom:.1f}V{y(bar[LOW]):.1f}"
            f"M{x - half:.1f} {top:.1f}H{x + half:.1f}V{bottom:.1f}H{x - half:.1f}Z"
        )
    return "".join(f'<path class="{kind} {way}" d="{"".join(found)}"/>' for way, found in parts.items() if found)


def _band(xs: np.ndarray, low: np.ndarray, high: np.ndarray, y: Callable, name: str) -> str:
    upper = _line(xs, [y(value) for value in high])
    lower = _line(xs[::-1], [y(value) for value in low[::-1]]).replace("M", "L", 1)
    return f'<path class="band band-{name}" d="{upper}{lower}Z"/>'


def _titles(
    times: np.ndarray, context: np.ndarray, quantiles: np.ndarray | None, truth: np.ndarray, words: Mapping[str, str]
) -> list[str]:
    """The tooltip of each bar."""
    names = [words[name] for name in ("open", "high", "low", "close")]
    found = []
    for bar, time in enumerate(times):
        lines = [f"{time_text(time)} UTC"]
        ahead = bar - len(context)
        if ahead < 0 or ahead < len(truth):
            values = context[bar, :4] if ahead < 0 else truth[ahead, :4]
            lines.append("  ".join(f"{name} {price(value)}" for name, value in zip(names, values, strict=True)))
        if ahead >= 0 and quantiles is not None:
            lines += [
                f"{100 * level:g} %: {price(value)}" for level, value in zip(LEVELS, quantiles[:, ahead], strict=True)
            ]
        found.append("&#10;".join(text(line) for line in lines))
    return found


def _volumes(context: np.ndarray, paths: np.ndarray | None, xs: np.ndarray, width: float) -> str:
    """Bars of known volume, and of the median forecast volume."""
    volumes = context[:, VOLUME]
    if paths is not None:
        volumes = np.concatenate((volumes, np.median(paths[:, :, VOLUME], axis=0)))
    most = volumes.max(initial=0)
    if not most > 0:
        return ""
    heights = np.clip(volumes / most, 0, 1) * (VOLUMES_END - VOLUMES_START)
    parts = {"known": "", "ahead": ""}
    for bar, (x, height) in enumerate(zip(xs, heights, strict=False)):
        parts["known" if bar < len(context) else "ahead"] += (
            f"M{x - width / 2:.1f} {VOLUMES_END}v{-height:.1f}h{width:.1f}V{VOLUMES_END}Z"
        )
    return "".join(f'<path class="volume volume-{name}" d="{path}"/>' for name, path in parts.items() if path)


def _price_range(context: np.ndarray, ahead: Sequence[np.ndarray], truth: np.ndarray) -> tuple[float, float]:
    """The lowest and the highest price of the chart; `ahead` are quantiles of forecasts."""
    lows = [context[:, LOW].min(), *(values.min() for values in ahead)]
    highs = [context[:, HIGH].max(), *(values.max() for values in ahead)]
    if len(truth):
        lows.append(truth[:, LOW].min())
        highs.append(truth[:, HIGH].max())
    low, high = float(min(lows)), float(max(highs))
    margin = MARGIN * (high - low) or 0.01 * abs(high) or 1.0
    return low - margin, high + margin


def _label(kind: str, x: float, y: float, words: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{text(words)}</text>'


def _axes(low: float, high: float, y: Callable, times: np.ndarray, xs: np.ndarray) -> str:
    parts = []
    ticks = MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    digits = max(0, -int(np.floor(np.log10(np.diff(ticks).min()) + 1e-9)) + 1) if np.diff(ticks).min() < 10 else 0
    for tick in ticks:
        if low < tick < high and y(tick) > TOP + 4:
            parts.append(f'<path class="grid" d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}"/>')
            parts.append(_label("tick", WIDTH - RIGHT + 8, y(tick) + 4, f"{tick:,.{digits}f}"))
    for bar in np.unique(np.linspace(0, len(times) - 1, 8).round().astype(int))[1:-1]:
        day, hour = time_text(times[bar]).split(" ")
        parts.append(f'<path class="grid" d="M{xs[bar]:.1f} {TOP}V{VOLUMES_END}"/>')
        parts += [_label("tick mid", xs[bar], HEIGHT - 22, day), _label("tick mid", xs[bar], HEIGHT - 7, hour)]
    return "".join(parts)


def _pairs(levels: Sequence[float]) -> list[tuple[float, float]]:
    """The lowest with the highest level, and so on inwards."""
    return list(zip(levels[: len(levels) // 2], levels[::-1], strict=False))


def _legend(layers: Collection[str], levels: Sequence[float], drawn: Collection[str], words: Mapping[str, str]) -> str:
    """The legend; `drawn` names what there is to draw: forecast, raw, truth."""
    shown = [("candle", words["known"])]
    if "forecast" in drawn:
        shown += [("median", words["median"])]
        shown += [(name, words[f"layer_{name}"]) for name in ("paths", "50", "90") if name in layers]
        if "levels" in layers:
            bands = ", ".join(f"{100 * low:g}–{100 * high:g}" for low, high in _pairs(levels))
            shown.append(("levels", f"{words['layer_levels']} {bands} %"))
    if "raw" in drawn:
        shown.append(("raw", words["legend_raw"]))
    if "truth" in drawn:
        shown.append(("truth", words["layer_truth"]))
    items = "".join(f'<li><i class="key key-{name}"></i>{text(label)}</li>' for name, label in shown)
    return f'<ul class="kf-legend">{items}</ul>'


def _from(last: float, values: np.ndarray) -> np.ndarray:
    """Values of H bars, after the last known close: `(..., H + 1)`."""
    return np.concatenate((np.full((*values.shape[:-1], 1), last), values), axis=-1)


def _quantiles(forecast: Forecast, levels: Sequence[float], last: float) -> np.ndarray:
    """Quantiles of the close, starting at the last known close: `(Q, H + 1)`."""
    return _from(last, forecast.quantiles(levels).to_numpy().T)


def _ahead(
    xs: np.ndarray, forecast: Forecast, last: float, levels: Sequence[float], layers: Collection[str], y: Callable
) -> str:
    """Bands, paths and the median, starting at the last known close."""
    parts = []
    if forecast.direct is not None or forecast.num_paths > 1:
        bands = [(pair, "levels") for pair in _pairs(levels)] if "levels" in layers else []
        bands += [(pair, name) for name, pair in (("90", (0.05, 0.95)), ("50", (0.25, 0.75))) if name in layers]
        parts += [_band(xs, *_quantiles(forecast, pair, last), y, name) for pair, name in bands]
    if "paths" in layers:
        closes = forecast.paths[..., CLOSE]
        closes = _from(last, closes[shown_paths(closes, SHOWN_PATHS)])
        lines = "".join(_line(xs, [y(value) for value in one]) for one in closes)
        parts.append(f'<path class="paths" d="{lines}"/>')
    (median,) = _quantiles(forecast, (0.5,), last)
    parts.append(f'<path class="median" d="{_line(xs, [y(value) for value in median])}"/>')
    return "".join(parts)


def _raw(xs: np.ndarray, forecast: Forecast, last: float, y: Callable) -> str:
    """The median and the 90 % interval of a second forecast, as dashed lines without an area."""
    low, median, high = _quantiles(forecast, (0.05, 0.5, 0.95), last)
    lines = {"raw raw-median": median, "raw raw-low": low, "raw raw-high": high}
    return "".join(f'<path class="{kind}" d="{_line(xs, [y(one) for one in line])}"/>' for kind, line in lines.items())


def _tag(value: float, y: Callable) -> str:
    """The median's last value at the axis."""
    at = y(value)
    box = f'<rect class="tag" x="{WIDTH - RIGHT + 3}" y="{at - 9:.1f}" width="{RIGHT - 5}" height="18" rx="4"/>'
    return box + _label("tag-text", WIDTH - RIGHT + 8, at + 4, price(value))


def candle_chart(
    context: np.ndarray,
    times: np.ndarray,
    words: Mapping[str, str],
    *,
    forecast: Forecast | None = None,
    raw: Forecast | None = None,
    truth: np.ndarray | None = None,
    layers: Collection[str] = LAYERS,
    levels: Sequence[float] = (),
) -> str:
    """Draws the last candles before the origin and, if given, the forecast.

    Args:
        context (`np.ndarray` of shape `(L, 6)`): bars before the origin, in the order of `FEATURES`.
        times (`np.ndarray` of `datetime64`, shape `(L,)` or `(L + H,)`): UTC times of context and forecast.
        words: the page's texts.
        forecast ([`Forecast`], *optional*): drawn with its paths, bands and median.
        raw ([`Forecast`], *optional*): a second forecast of the same bars, drawn over it as dashed lines.
        truth (`np.ndarray` of shape `(K, 6)`, *optional*): actual candles; drawn only with layer `truth`.
        layers (`Collection[str]`): the layers to draw, of `LAYERS` or `HEAD_LAYERS`.
        levels (`Sequence[float]`): of the bands of layer `levels`, increasing.

    Returns:
        `str`: HTML with a legend and an SVG picture.
    """
    horizon = 0 if forecast is None else forecast.horizon
    shown = shown_context(len(context), horizon)
    times, context = times[len(context) - shown :], context[-shown:]
    last = float(context[-1, CLOSE])
    known = np.empty((0, 6)) if truth is None or "truth" not in layers else truth
    slot = (WIDTH - LEFT - RIGHT) / (shown + horizon)
    xs = LEFT + slot * (np.arange(len(times)) + 0.5)
    body = max(min(0.68 * slot, 9.0), 0.8)
    ends = (min((NEAR[0], *levels)), max((NEAR[1], *levels))) if "levels" in layers else NEAR
    drawn = {"forecast": forecast, "raw": raw, "truth": known if len(known) else None}
    drawn = {name: one for name, one in drawn.items() if one is not None}
    inside = [_quantiles(drawn[name], ends if name == "forecast" else NEAR, last) for name in drawn if name != "truth"]
    low, high = _price_range(context, inside, known)

    def y(value: float) -> float:
        return TOP + (high - value) / (high - low) * (PRICES_END - TOP)

    volumes = _volumes(context, None if forecast is None else forecast.paths, xs, body)
    axes = _axes(low, high, y, times, xs)
    candles = _candles(context, xs[:shown], body, y, "candle")
    happened = _candles(known, xs[shown : shown + len(known)], body, y, "truth")
    quantiles = None
    if forecast is None:
        ground, parts, over = "", [candles], ""
    else:
        quantiles = forecast.quantiles(LEVELS).to_numpy().T
        origin = xs[shown] - slot / 2
        ground = f'<rect class="future" x="{origin:.1f}" y="{TOP}" width="{WIDTH - RIGHT - origin:.1f}" {FULL}/>'
        ahead = _ahead(xs[shown - 1 :], forecast, last, levels, layers, y)
        if raw is not None:
            ahead += _raw(xs[shown - 1 :], raw, last, y)
        mark = f'<path class="origin" d="M{origin:.1f} {TOP}V{VOLUMES_END}"/>' + _label(
            "tick origin-label", origin - 6, TOP + 11, words["origin_mark"]
        )
        parts, over = [ahead, mark, candles, happened], _tag(float(quantiles[2, -1]), y)
    titles = _titles(times, context, quantiles, known, words)
    for x, title in zip(xs, titles, strict=True):
        parts.append(
            f'<rect class="pointer" x="{x - slot / 2:.2f}" y="{TOP}" width="{slot:.2f}" {FULL}>'
            f"<title>{title}</title></rect>"
        )
    label = text(f"{words['known']}, {words['tab_forecast']}")
    clip = f'<clipPath id="kf-clip"><rect x="0" y="{TOP}" width="{WIDTH - RIGHT}" {FULL}/></clipPath>'
    svg = (
        f'<svg class="kf-chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f'<defs>{clip}</defs>{ground}{axes}{volumes}<g clip-path="url(#kf-clip)">{"".join(parts)}</g>{over}</svg>'
    )
    return _legend(layers, levels, drawn, words) + svg
