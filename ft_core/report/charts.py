"""Line charts as SVG: no font, no file and no network of their own, in the colours of the page that holds them.

A chart is drawn once with classes for its colours. Inside a page the page's style sheet sets them, light or dark; alone
it carries a style sheet.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .history import Curve

WIDTH, HEIGHT = 520, 250
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 36, 30
NAMES, LINE_HEIGHT, LETTER = 28, 14, 6.2
MOST_POINTS = 400
TICKS = 5
MOST_DECADES = 7
OUTLYING = 1e3  # times the median of the sizes, beyond which a plain axis shows nothing but its outliers
# distinct for colour-blind readers (Okabe-Ito), lighter on dark
LIGHT = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b07d00", "#3a8fb7")
DARK = ("#56b4e9", "#ff9a4d", "#2fd1a0", "#e8a6cb", "#e6c04d", "#9bd3f0")


def _colours(colours: Sequence[str], ink: str, grid: str) -> str:
    lines = "".join(f".s{i} {{ stroke: {c}; }} .f{i} {{ fill: {c}; }} " for i, c in enumerate(colours))
    return f".ink {{ fill: {ink}; }} .grid {{ stroke: {grid}; }} {lines}"


STYLE = (
    "svg { max-width: 100%; height: auto; } .line { fill: none; stroke-width: 1.6; } text { font: 11px system-ui, "
    "sans-serif; } .head { font-weight: 600; font-size: 12px; } "
    + _colours(LIGHT, "#333", "#ddd")
    + "@media (prefers-color-scheme: dark) { "
    + _colours(DARK, "#ddd", "#444")
    + "}"
)


@dataclass(frozen=True)
class Line:
    """One line of a chart; `dots` marks the points of evaluations."""

    name: str
    curve: Curve
    colour: int
    dots: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart over optimizer steps."""

    title: str
    lines: Sequence[Line]
    log_scale: bool = False
    steps: str = ""  # what the horizontal axis shows


def _thin(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most `MOST_POINTS` of them: of each stretch the lowest and the highest, so that no jump is lost."""
    if len(points) <= MOST_POINTS:
        return points
    size, found = 2 * len(points) / MOST_POINTS, []
    for piece in range(MOST_POINTS // 2):
        some = points[int(piece * size) : int((piece + 1) * size)]
        if some:
            found += sorted({min(some, key=lambda p: p[1]), max(some, key=lambda p: p[1])})
    return found


def ticks(low: float, high: float, log_scale: bool = False) -> list[float]:
    """Round values between two others for an axis."""
    if log_scale:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        values = [factor * 10.0**power for power in range(first, last + 1) for factor in (1, 2, 5)]
        inside = [value for value in values if low <= value <= high]
        decades = [value for value in inside if f"{value:e}".startswith("1.0")]
        apart = -(-len(decades) // MOST_DECADES)
        return decades[::apart] if len(decades) >= 3 else inside
    step = 10 ** math.floor(math.log10((high - low) / TICKS))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= TICKS)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def outlying_unit(values: Sequence[float]) -> float:
    """The median size of values with outliers, around which an axis is plain and beyond which it is logarithmic; 0 of
    values without outliers."""
    usual = statistics.median(map(abs, values))
    return usual if usual > 0 and max(map(abs, values)) > OUTLYING * usual else 0.0


def squeezed(value: float, unit: float) -> float:
    """A value on an axis that is plain up to about a unit and logarithmic beyond it, either side of 0."""
    return math.copysign(math.log10(1 + abs(value) / unit), value)


def squeezed_ticks(low: float, high: float) -> list[float]:
    """0, and at most five powers of ten on either side, on an axis with outliers."""
    most = math.floor(math.log10(max(abs(low), abs(high))))
    apart = max(1, math.ceil(most / 4))
    powers = [10.0**power for power in range(0, most + 1, apart)]
    return [value for value in (*(-power for power in reversed(powers)), 0.0, *powers) if low <= value <= high]


def _label(value: float) -> str:
    if value and (abs(value) >= 1e5 or abs(value) < 1e-3):
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:.4g}"


def _places_of_names(names: Sequence[str]) -> list[tuple[int, int]]:
    """Where each name of the legend begins, and in which of its rows."""
    places, x, row = [], LEFT, 0
    for name in names:
        width = 30 + round(LETTER * len(name))
        if x + width > WIDTH and x > LEFT:
            x, row = LEFT, row + 1
        places.append((x, row))
        x += width
    return places


def draw(chart: Chart, alone: bool = False) -> str:
    """The SVG of a chart; empty without a point to show.

    Args:
        alone (`bool`): with a style sheet of its own, for a file.
    """
    drawn = [(line, _thin(line.curve.points())) for line in chart.lines]
    drawn = [(line, points) for line, points in drawn if points]
    values = [value for _, points in drawn for _, value in points]
    if not values:
        return ""
    log_scale = chart.log_scale and min(values) > 0
    steps = [step for _, points in drawn for step, _ in points]
    low, high = min(values), max(values)
    unit = 0.0 if log_scale else outlying_unit(values)
    if high - low <= 1e-12 * max(abs(high), abs(low), 1e-300):
        low, high = (low / 2, high * 2) if log_scale else (low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2)
    first, last = min(steps), max(max(steps), min(steps) + 1)
    places_of_names = _places_of_names([line.name for line, _ in drawn])
    top = TOP + LINE_HEIGHT * places_of_names[-1][1]

    def across(step: float) -> float:
        return LEFT + (step - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def down(value: float) -> float:
        if unit:
            bottom, top_end = squeezed(low, unit), squeezed(high, unit)
            return HEIGHT - BOTTOM - (squeezed(value, unit) - bottom) / (top_end - bottom) * (HEIGHT - top - BOTTOM)
        place = (math.log(value / low) / math.log(high / low)) if log_scale else (value - low) / (high - low)
        return HEIGHT - BOTTOM - place * (HEIGHT - top - BOTTOM)

    named = ", ".join(line.name for line, _ in drawn)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" aria-label="{escape(f"{chart.title}: {named}", quote=True)}">'
    ]
    if alone:
        parts.append(f"<style>{STYLE}</style>")
    parts.append(f'<text class="ink head" x="4" y="13">{escape(chart.title)}</text>')
    for value in squeezed_ticks(low, high) if unit else ticks(low, high, log_scale):
        y = down(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="ink" x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{_label(value)}</text>')
    for step in (tick for tick in ticks(first, last) if tick == int(tick)):
        parts.append(
            f'<text class="ink" x="{across(step):.1f}" y="{HEIGHT - 12}" text-anchor="middle">{step:,.0f}</text>'
        )
    if chart.steps:
        parts.append(
            f'<text class="ink" x="{WIDTH - RIGHT}" y="{HEIGHT - 1}" text-anchor="end">{escape(chart.steps)}</text>'
        )
    for line, points in drawn:
        places = [(across(step), down(value)) for step, value in points]
        if not line.dots or len(places) > 1:
            thin = ' stroke-dasharray="3 3"' if line.dots else ""
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            parts.append(f'<polyline class="line s{line.colour}" points="{path}"{thin}/>')
        if line.dots or len(places) == 1:
            for (x, y), (step, value) in zip(places, points, strict=True):
                tip = escape(f"{line.name}, {step:,}: {value:.6g}")
                parts.append(
                    f'<circle class="f{line.colour}" cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{tip}</title></circle>'
                )
    for (line, _), (x, row) in zip(drawn, places_of_names, strict=True):
        y = NAMES + LINE_HEIGHT * row
        mark = f'<line class="s{line.colour}" x1="{x}" x2="{x + 12}" y1="{y - 4}" y2="{y - 4}" stroke-width="2"/>'
        if line.dots:
            mark = f'<circle class="f{line.colour}" cx="{x + 6}" cy="{y - 4}" r="3"/>'
        parts.append(f'{mark}<text class="ink" x="{x + 16}" y="{y}">{escape(line.name)}</text>')
    return "".join([*parts, "</svg>"])
