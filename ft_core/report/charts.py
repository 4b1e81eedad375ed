"""Line charts as SVG: no font, file or network of their own, in the colours of the page around them, light or dark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, Template

WIDTH, HEIGHT = 520, 250
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 36, 30
NAMES, LINE_HEIGHT, LETTER = 28, 14, 6.2
MOST_POINTS, TICKS, MOST_DECADES = 400, 5, 7
OUTLYING = 1e3  # times the median of the sizes, beyond which a plain axis shows nothing but its outliers
# distinct for colour-blind readers (Okabe-Ito), lighter on dark
LIGHT = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b07d00", "#3a8fb7")
DARK = ("#56b4e9", "#ff9a4d", "#2fd1a0", "#e8a6cb", "#e6c04d", "#9bd3f0")


@dataclass(frozen=True)
class Line:
    """One line of a chart: values by step; `dots` marks the points of evaluations."""

    name: str
    curve: pd.Series
    colour: int
    dots: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart over optimizer steps; `steps` names the horizontal axis."""

    title: str
    lines: Sequence[Line]
    log_scale: bool = False
    steps: str = ""


def _thin(curve: pd.Series) -> pd.Series:
    """At most `MOST_POINTS` points: of each stretch the lowest and the highest, so that no jump is lost."""
    if len(curve) <= MOST_POINTS:
        return curve
    stretches = curve.groupby(np.arange(len(curve)) * (MOST_POINTS // 2) // len(curve))
    return curve.loc[sorted({*stretches.idxmin(), *stretches.idxmax()})]


def ticks(low: float, high: float, log_scale: bool = False) -> list[float]:
    """Round values between two others for an axis."""
    if log_scale:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        decades = [10.0**power for power in range(first, last + 1) if low <= 10.0**power <= high]
        if len(decades) >= 3:
            return decades[:: -(-len(decades) // MOST_DECADES)]
        values = [factor * 10.0**power for power in range(first, last + 1) for factor in (1, 2, 5)]
        return [value for value in values if low <= value <= high]
    step = 10 ** math.floor(math.log10((high - low) / TICKS))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= TICKS)
    return [index * step for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def outlying_unit(values: Sequence[float]) -> float:
    """Linear threshold of a symmetric log axis: the median absolute value if there are outliers, else 0."""
    sizes = np.abs(values)
    usual = float(np.median(sizes))
    return usual if usual > 0 and sizes.max() > OUTLYING * usual else 0.0


def squeezed_ticks(low: float, high: float) -> list[float]:
    """0, and at most five powers of ten on either side, on an axis with outliers."""
    most = math.floor(math.log10(max(abs(low), abs(high))))
    powers = [10.0**power for power in range(0, most + 1, max(1, math.ceil(most / 4)))]
    return [value for value in (*(-power for power in reversed(powers)), 0.0, *powers) if low <= value <= high]


def _label(value: float) -> str:
    if value and (abs(value) >= 1e5 or abs(value) < 1e-3):
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:.4g}"


def _legend(names: Sequence[str]) -> list[tuple[int, int]]:
    """Where each name of the legend begins, and in which of its rows."""
    places, x, row = [], LEFT, 0
    for name in names:
        width = 30 + round(LETTER * len(name))
        if x + width > WIDTH and x > LEFT:
            x, row = LEFT, row + 1
        places.append((x, row))
        x += width
    return places


@cache
def _template(name: str) -> Template:
    environment = Environment(loader=PackageLoader("ft_core.report"), autoescape=True, trim_blocks=True)
    return environment.get_template(name)


def style() -> str:
    """The style sheet of charts."""
    return _template("chart.css.j2").render(light=LIGHT, dark=DARK)


def draw(chart: Chart) -> str:
    """The SVG of a chart; empty without a point to show."""
    drawn = [(line, _thin(line.curve)) for line in chart.lines if len(line.curve)]
    if not drawn:
        return ""
    curve = pd.concat([points for _, points in drawn])
    low, high, log_scale = curve.min(), curve.max(), chart.log_scale and curve.min() > 0
    unit = 0.0 if log_scale else outlying_unit(curve)
    if high - low <= 1e-12 * max(abs(high), abs(low), 1e-300):
        low, high = (low / 2, high * 2) if log_scale else (low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2)
    first, last = int(curve.index.min()), max(int(curve.index.max()), int(curve.index.min()) + 1)
    legend = _legend([line.name for line, _ in drawn])
    room = HEIGHT - BOTTOM - TOP - LINE_HEIGHT * legend[-1][1]

    def scaled(value: float) -> float:
        if log_scale:
            return math.log(value)
        return math.copysign(math.log10(1 + abs(value) / unit), value) if unit else value

    def across(step: float) -> float:
        return LEFT + (step - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def down(value: float) -> float:
        return HEIGHT - BOTTOM - (scaled(value) - scaled(low)) / (scaled(high) - scaled(low)) * room

    levels = squeezed_ticks(low, high) if unit else ticks(low, high, log_scale)
    lines = []
    for (line, points), (x, row) in zip(drawn, legend, strict=True):
        named = [(across(step), down(value), f"{line.name}, {step:,}: {value:.6g}") for step, value in points.items()]
        lines.append((line, named, x, NAMES + LINE_HEIGHT * row))
    return _template("chart.svg.j2").render(
        chart=chart, width=WIDTH, height=HEIGHT, left=LEFT, right=WIDTH - RIGHT,
        levels=[(down(value), _label(value)) for value in levels],
        marks=[(across(step), f"{step:,.0f}") for step in ticks(first, last) if step == int(step)], lines=lines,
    )  # fmt: skip
