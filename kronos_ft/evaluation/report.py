"""Writes an evaluation as JSON and Markdown, and a short form for the terminal.

Both texts start with the verdict and the warnings that invalidate it (a model has seen test bars), and end with the
back-test and its limitations. Returns, errors and widths are in basis points (0.01 %) of log return.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ft_core.io.files import write_json, write_text
from ft_core.io.spreadsheet import markdown_text

from ..scoring.regimes import REGIMES
from ..scoring.targets import TARGETS
from .verdict import PERSISTENCE, best_distribution, models_of, p_words, verdict

SHOWN_HORIZONS = 8
NOTHING = "-"
SCORE_HEADER = (
    *("forecaster", "MAE bp", "RMSE bp", "MASE", "CRPS bp", "pinball bp", "in 50 %", "in 80 %", "in 90 %"),
    *("90 % width bp", "direction", "IC", "RankIC"),
)
SKILL_HEADER = ("", "absolute error", "all horizons", "CRPS", "all horizons")
SKILL_NOTE = (
    "Above 0 %: better than the reference. p: two-sided Diebold-Mariano test (HAC variance); without any difference, "
    "one comparison in twenty has p < 0.05. The CRPS of a point forecast is its absolute error, which most "
    "distributions beat."
)
CALIBRATION_HEADER = ("", "coverage", "calibrated", "width bp", "calibrated")
BACKTEST_HEADER = ("", "total return", "per year", "Sharpe", "max drawdown", "trades", "time invested")


EVALUATION_FILE = "evaluation.json"
REPORT_FILE = "evaluation.md"
SHOWN_SYMBOLS = 40


def _conditions(evaluation: dict) -> list[str]:
    settings, origins = evaluation["settings"], evaluation["origins"]
    lines = [
        f"- {origins['test']:,} test origins, every {settings['step']} bars; {origins['validation']:,} validation "
        f"origins for calibration; context {settings['lookback']} bars, horizon {settings['horizon']} bars, embargo "
        f"{settings['embargo']} bars between the splits",
    ]
    for symbol, one in list(evaluation["data"].items())[:SHOWN_SYMBOLS]:
        test = one["test"]
        span = f"origins {test['first'][:10]} to {test['last'][:10]}" if test["origins"] else "no origin"
        about = f"{one['bars']:,} bars of {one['step_seconds']:g} s, {span} ({test['origins']})"
        lines.append(f"- {markdown_text(symbol)}: {about}")
    return [*lines, *(f"- {markdown_text(note)}" for note in evaluation["notes"]), ""]


def markdown(evaluation: dict, pictures: Sequence[tuple[str, str]] = ()) -> str:
    """The full report as Markdown.

    Args:
        evaluation (`dict`): from [`evaluate_forecasters`].
        pictures (`Sequence` of (title, file)): shown after the tables.
    """
    horizon, models = evaluation["settings"]["horizon"], models_of(evaluation)
    lines = [f"**{markdown_text(verdict(evaluation))}.**", ""]
    for warning in evaluation.get("warnings", ()):
        lines += [f"**WARNING: {markdown_text(warning)}.**", ""]
    lines += _conditions(evaluation)
    lines += [f"## Close, {horizon} bars ahead", "", *markdown_table(SCORE_HEADER, score_rows(evaluation))]
    lines += ["bp: 0.01 % of log return. Direction: accuracy with 95 % confidence interval. IC: over origins.", ""]
    lines += [f"## Skill of the close, {horizon} bars ahead", "", *markdown_table(SKILL_HEADER, skill_rows(evaluation))]
    lines += [SKILL_NOTE, ""]
    for model in models:
        name = markdown_text(model)
        lines += [f"## {name}: every target, {horizon} bars ahead", "", *target_table(evaluation, model)]
        lines += [f"## {name}: close by horizon", "", *horizon_table(evaluation, model)]
    if evaluation["regimes"]:
        groups = {name: evaluation["regimes"][name] for name in REGIMES}
        lines += ["## By volatility of the context", "", *group_table(evaluation, groups, "volatility")]
    if evaluation["symbols"]:
        shown = dict(list(evaluation["symbols"].items())[:SHOWN_SYMBOLS])
        lines += ["## By symbol", "", *group_table(evaluation, shown, "symbol")]
        if len(shown) < len(evaluation["symbols"]):
            lines += [
                f"The first {len(shown)} of {len(evaluation['symbols'])} symbols; {EVALUATION_FILE} contains all.",
                "",
            ]
    if evaluation["calibration"]:
        lines += [f"## Prediction intervals of the close, {horizon} bars ahead, calibrated on the validation split", ""]
        lines += markdown_table(CALIBRATION_HEADER, calibration_rows(evaluation))
        notes = sorted({note for one in evaluation["calibration"].values() for note in one["notes"]})
        lines += [line for note in notes for line in (f"{markdown_text(note)}.", "")]
    for title, file in pictures:
        lines += [f"![{markdown_text(title)}]({file})", ""]
    lines += ["## Back-test", ""]
    for symbol, found in list(evaluation["backtest"]["symbols"].items())[:SHOWN_SYMBOLS]:
        lines += [f"{markdown_text(backtest_title(symbol, found))}.", ""]
        lines += markdown_table(BACKTEST_HEADER, backtest_rows(evaluation, symbol))
    return "\n".join([*lines, f"**{evaluation['backtest']['warning']}**", ""])


def terminal_text(evaluation: dict) -> str:
    """The verdict, scores of the close, calibration of the models' intervals, and the back-test with its warning."""
    horizon, models = evaluation["settings"]["horizon"], models_of(evaluation)
    warnings = evaluation.get("warnings", [])
    lines = [verdict(evaluation), *(f"WARNING: {warning}" for warning in warnings), ""]
    lines += [f"note: {note}" for note in evaluation["notes"] if note not in warnings]
    lines += [f"close, {horizon} bars ahead (bp: 0.01 % of log return)"]
    lines += text_table(SCORE_HEADER, score_rows(evaluation))
    rows = [row for row in calibration_rows(evaluation) if row[0].rsplit(",", 1)[0] in models]
    if rows:
        lines += [
            "",
            "prediction intervals, calibrated on the validation split",
            *text_table(CALIBRATION_HEADER, rows),
        ]
    for symbol, found in list(evaluation["backtest"]["symbols"].items())[:3]:
        lines += ["", f"back-test {backtest_title(symbol, found)}"]
        lines += text_table(BACKTEST_HEADER, backtest_rows(evaluation, symbol))
    return "\n".join([*lines, evaluation["backtest"]["warning"]])


def write_report(evaluation: dict, folder: Path, pictures: Sequence[tuple[str, str]] = ()) -> None:
    """Writes `evaluation.json` (with the verdict) and `evaluation.md`, each atomically."""
    write_json(folder / EVALUATION_FILE, {"verdict": verdict(evaluation), **evaluation})
    write_text(folder / REPORT_FILE, markdown(evaluation, pictures))


def _figure(value: float | None, form: str = ".3f", factor: float = 1.0) -> str:
    return NOTHING if value is None else f"{value * factor:{form}}"


def _basis_points(value: float | None) -> str:
    return _figure(value, ".1f", 1e4)


def _percent(value: float | None, form: str = ".0f") -> str:
    return NOTHING if value is None else f"{100 * value:{form}} %"


def _at(figures: dict | None, at: int = -1) -> float | None:
    """The value at a position, by default the last horizon, from full scores, or from short ones of the last."""
    if not figures:
        return None
    return figures["last"] if "last" in figures else figures["by_horizon"][at]


def _skill(outcome: dict | None, at: int | None = -1) -> str:
    """`-3.1 % (p = 0.41)` at a position, or over all horizons if None."""
    if outcome is None:
        return NOTHING
    value, p_value = (
        outcome[name]["overall"] if at is None else _at(outcome[name], at) for name in ("skill", "p_value")
    )
    if value is None or p_value is None:
        return _percent(value, "+.1f")
    return f"{_percent(value, '+.1f')} ({p_words(p_value)})"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table; the first column is text (escaped, it may be untrusted), the others are numbers."""
    lines = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
    return [*lines, *("| " + " | ".join((markdown_text(name), *figures)) + " |" for name, *figures in rows), ""]


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The same table for a terminal, with columns aligned by spaces."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    ]


def _score_row(name: str, scores: dict) -> list[str]:
    """One forecaster's scores of one target at the last horizon."""
    direction, interval = scores["direction"], ""
    low, high = (_at(direction[end]) for end in ("lower", "upper")) if direction else (None, None)
    if low is not None:
        interval = f" [{100 * low:.0f}, {100 * high:.0f}]"
    return [
        name,
        _basis_points(_at(scores["mae"])),
        _basis_points(_at(scores["rmse"])),
        _figure(_at(scores.get("mase"))),
        _basis_points(_at(scores["crps"])),
        _basis_points(_at(scores["pinball"]["mean"])),
        *(_percent(_at(scores["bands"][level]["coverage"])) for level in ("0.5", "0.8", "0.9")),
        _basis_points(_at(scores["bands"]["0.9"]["width"])),
        _percent(_at(direction["accuracy"]) if direction else None) + interval,
        _figure(_at(scores["ic"])),
        _figure(_at(scores["rank_ic"])),
    ]


def score_rows(evaluation: dict, target: str = "close") -> list[list[str]]:
    """Scores of every forecaster at the last horizon, under `SCORE_HEADER`."""
    return [_score_row(name, scores[target]) for name, scores in evaluation["scores"].items()]


def shown_horizons(horizon: int) -> list[int]:
    """The horizons to show: from 1 to `horizon`, geometrically spaced."""
    steps, h = {1, horizon}, 1.0
    while h < horizon:
        steps.add(round(h))
        h *= max(horizon ** (1 / (SHOWN_HORIZONS - 1)), 1.05)
    return sorted(steps)


def skill_rows(evaluation: dict, target: str = "close") -> list[list[str]]:
    """Skill of each model against each reference, at the last horizon and over all, under `SKILL_HEADER`."""
    return [
        [
            f"{model} against {reference}",
            *(_skill(outcome[target][loss], at) for loss in ("absolute", "crps") for at in (-1, None)),
        ]
        for model, against in evaluation["skill"].items()
        for reference, outcome in against.items()
    ]


COLUMNS: dict[str, Callable[[dict, int], str]] = {
    "MAE bp": lambda scores, at: _basis_points(_at(scores["mae"], at)),
    "MASE": lambda scores, at: _figure(_at(scores.get("mase"), at)),
    "CRPS bp": lambda scores, at: _basis_points(_at(scores["crps"], at)),
    "in 90 %": lambda scores, at: _percent(_at(scores["bands"]["0.9"]["coverage"], at)),
    "direction": lambda scores, at: _percent(_at(scores["direction"]["accuracy"], at)),
}


@dataclass(frozen=True)
class _Row:
    """A row of a table: labels, the scores and skill of a model for a target, and the position of the horizon."""

    labels: tuple[str, ...]
    scores: dict
    skill: dict
    target: str = "close"
    at: int = -1


def _model_table(evaluation: dict, labels: Sequence[str], columns: Sequence[str], rows: Iterable[_Row]) -> list[str]:
    """A table of scores, with skill in absolute error against persistence and in CRPS against the best naive
    distribution."""
    point = PERSISTENCE if PERSISTENCE in evaluation["forecasters"] else None
    best = best_distribution(evaluation)
    against = (f"absolute error against {point or NOTHING}", f"CRPS against {best or NOTHING}")
    cells = [
        [
            *row.labels,
            *(COLUMNS[name](row.scores[row.target], row.at) for name in columns),
            _skill(row.skill[point][row.target]["absolute"], row.at) if point else NOTHING,
            _skill(row.skill[best][row.target]["crps"], row.at) if best else NOTHING,
        ]
        for row in rows
    ]
    return markdown_table((*labels, *columns, *against), cells)


def target_table(evaluation: dict, model: str) -> list[str]:
    scores, skill = evaluation["scores"][model], evaluation["skill"][model]
    rows = (_Row((target,), scores, skill, target) for target in TARGETS)
    return _model_table(evaluation, ("target",), ("MAE bp", "MASE", "CRPS bp", "in 90 %"), rows)


def horizon_table(evaluation: dict, model: str) -> list[str]:
    scores, skill = evaluation["scores"][model], evaluation["skill"][model]
    horizons = shown_horizons(evaluation["settings"]["horizon"])
    rows = (_Row((str(horizon),), scores, skill, at=horizon - 1) for horizon in horizons)
    return _model_table(evaluation, ("bars ahead",), tuple(COLUMNS), rows)


def group_table(evaluation: dict, groups: dict[str, dict], word: str) -> list[str]:
    """Scores and skill of each model by group of origins (regimes or symbols)."""
    models = models_of(evaluation)
    rows = (
        _Row(
            (f"{name}, {model}" if len(models) > 1 else name, str(group["origins"])),
            group["scores"][model],
            group["skill"][model],
        )
        for name, group in groups.items()
        for model in models
    )
    return _model_table(evaluation, (word, "origins"), ("MAE bp", "CRPS bp", "in 90 %", "direction"), rows)


def calibration_rows(evaluation: dict, target: str = "close") -> list[list[str]]:
    """Coverage and width at the last horizon before and after calibration, one row per forecaster and level."""
    rows = []
    for name, calibration in evaluation["calibration"].items():
        for level, band in calibration["targets"][target]["levels"].items():
            before, after = band["before"], band["after"]
            rows.append(
                [
                    f"{name}, {100 * float(level):.0f} % interval",
                    _percent(_at(before["coverage"]), ".1f") if before else NOTHING,
                    _percent(_at(after["coverage"]), ".1f"),
                    _basis_points(_at(before["width"])) if before else NOTHING,
                    _basis_points(_at(after["width"])),
                ]
            )
    return rows


def _performance_row(name: str, found: dict) -> list[str]:
    return [
        name,
        _percent(found["total_return"], "+.1f"),
        _percent(found["annualised_return"], "+.1f"),
        _figure(found["sharpe"], ".2f"),
        _percent(found["max_drawdown"], ".1f"),
        str(found["trades"]),
        _percent(found["exposure"]),
    ]


def backtest_rows(evaluation: dict, symbol: str) -> list[list[str]]:
    """Performance of each forecaster's signals and of buy-and-hold, under `BACKTEST_HEADER`."""
    found = evaluation["backtest"]["symbols"][symbol]
    rows = [_performance_row(name, one) for name, one in found["strategies"].items()]
    return [*rows, _performance_row("buy and hold", found["buy_and_hold"])]


def backtest_title(symbol: str, found: dict) -> str:
    return (
        f"{symbol}, {found['first'][:10]} to {found['last'][:10]}, long or flat by the forecast close "
        f"{found['horizon']} bars ahead, bought at the next bar's open, {found['fee_bps']:g} bp fee and "
        f"{found['slippage_bps']:g} bp slippage per side"
    )
