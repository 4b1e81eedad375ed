"""Writes an evaluation as JSON and as Markdown, and its short form for a terminal.

The first line of both texts is the verdict, followed by what takes it back (a model that has seen test bars); the
back-test comes last, with what it does not show. Returns, errors and widths are in basis points (0.01 %) of log return.
"""

from collections.abc import Sequence
from pathlib import Path

from ft_core.io.files import write_json, write_text
from ft_core.io.spreadsheet import markdown_text

from ..scoring.regimes import REGIMES
from .evaluation_tables import (
    BACKTEST_HEADER,
    CALIBRATION_HEADER,
    SCORE_HEADER,
    SKILL_HEADER,
    SKILL_NOTE,
    backtest_rows,
    backtest_title,
    calibration_rows,
    group_table,
    horizon_table,
    markdown_table,
    score_rows,
    skill_rows,
    target_table,
    text_table,
)
from .verdict import models_of, verdict

EVALUATION_FILE = "evaluation.json"
REPORT_FILE = "evaluation.md"
SHOWN_SYMBOLS = 40


def _conditions(evaluation: dict) -> list[str]:
    settings, origins = evaluation["settings"], evaluation["origins"]
    lines = [
        f"- {origins['test']:,} origins, every {settings['step']} bars; {origins['validation']:,} validation origins "
        f"for calibration; context {settings['lookback']} bars, horizon {settings['horizon']}, embargo "
        f"{settings['embargo']} bars between the splits",
    ]
    for symbol, one in list(evaluation["data"].items())[:SHOWN_SYMBOLS]:
        test = one["test"]
        span = f"origins {test['first'][:10]} to {test['last'][:10]}" if test["origins"] else "no origin"
        about = f"{one['bars']:,} bars of {one['step_seconds']:g} s, {span} ({test['origins']})"
        lines.append(f"- {markdown_text(symbol)}: {about}")
    return [*lines, *(f"- {markdown_text(note)}" for note in evaluation["notes"]), ""]


def markdown(evaluation: dict, pictures: Sequence[tuple[str, str]] = ()) -> str:
    """The whole report; its first line is the verdict.

    Args:
        evaluation (`dict`): from [`evaluate_forecasters`].
        pictures (`Sequence` of (title, file)): to show after the tables.
    """
    horizon, models = evaluation["settings"]["horizon"], models_of(evaluation)
    lines = [f"**{markdown_text(verdict(evaluation))}.**", ""]
    for warning in evaluation.get("warnings", ()):
        lines += [f"**WARNING: {markdown_text(warning)}.**", ""]
    lines += _conditions(evaluation)
    lines += [f"## Close, {horizon} bars ahead", "", *markdown_table(SCORE_HEADER, score_rows(evaluation))]
    lines += ["bp: 0.01 % of log return. Direction with its 95 % interval; IC over origins.", ""]
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
                f"The first {len(shown)} of {len(evaluation['symbols'])}; the others are in {EVALUATION_FILE}.",
                "",
            ]
    if evaluation["calibration"]:
        lines += [f"## Bands of the close {horizon} bars ahead, calibrated on the validation split", ""]
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
    """The verdict, scores of the close, calibration of the models' bands, and the back-test with its warning."""
    horizon, models = evaluation["settings"]["horizon"], models_of(evaluation)
    warnings = evaluation.get("warnings", [])
    lines = [verdict(evaluation), *(f"WARNING: {warning}" for warning in warnings), ""]
    lines += [f"note: {note}" for note in evaluation["notes"] if note not in warnings]
    lines += [f"close, {horizon} bars ahead (bp: 0.01 % of log return)"]
    lines += text_table(SCORE_HEADER, score_rows(evaluation))
    rows = [row for row in calibration_rows(evaluation) if row[0].rsplit(",", 1)[0] in models]
    if rows:
        lines += ["", "bands, calibrated on the validation split", *text_table(CALIBRATION_HEADER, rows)]
    for symbol, found in list(evaluation["backtest"]["symbols"].items())[:3]:
        lines += ["", f"back-test {backtest_title(symbol, found)}"]
        lines += text_table(BACKTEST_HEADER, backtest_rows(evaluation, symbol))
    return "\n".join([*lines, evaluation["backtest"]["warning"]])


def write_report(evaluation: dict, folder: Path, pictures: Sequence[tuple[str, str]] = ()) -> None:
    """Writes `evaluation.json` (with the verdict) and `evaluation.md`, each whole or not at all."""
    write_json(folder / EVALUATION_FILE, {"verdict": verdict(evaluation), **evaluation})
    write_text(folder / REPORT_FILE, markdown(evaluation, pictures))
