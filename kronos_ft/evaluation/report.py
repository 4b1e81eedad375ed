"""Writes an evaluation as JSON and Markdown, and a short form for the terminal.

Both texts start with the headline, a table with one result per row, and the warnings that invalidate them (a model has
seen test bars). The sentences of the verdict follow. The back-test and its limitations come last.
"""

from collections.abc import Sequence
from pathlib import Path

from ft_core.io.files import write_json, write_text
from ft_core.io.spreadsheet import markdown_text

from ..scoring.regimes import REGIMES
from .facts import LEAST_ORIGINS, models_of, observations_of
from .tables import (
    BACKTEST_HEADER,
    CALIBRATION_HEADER,
    MEMORISED_HEADER,
    OTHER_HEADER,
    PANEL_HEADER,
    RELIABILITY_HEADER,
    SCORE_HEADER,
    SKILL_HEADER,
    SUMMARY_HEADER,
    backtest_rows,
    backtest_title,
    calibration_rows,
    group_table,
    horizon_table,
    markdown_table,
    memorised_rows,
    other_rows,
    panel_rows,
    reference_rows,
    reliability_rows,
    score_rows,
    short_header,
    short_rows,
    skill_rows,
    summary_rows,
    target_table,
    text_table,
)
from .verdict import corrected_values, correction_note, headline, p_words, verdict, verdicts

SKILL_NOTE = (
    "Above 0 %: better than the reference. p: two-sided Diebold-Mariano test (HAC variance); without any difference, "
    "one comparison in twenty has p < 0.05. The CRPS of a point forecast is its absolute error, which most "
    "distributions beat."
)
OTHER_NOTE = (
    "WQL: weighted quantile loss of the close. Energy: energy score of all closes of the horizon as one vector, the "
    "CRPS of whole paths. QLIKE and RMSE: of the variance forecast, which is the mean squared volatility of the paths, "
    "against the realised variance. Brier and log score: of the probability that the close "
    "rises; 0.25 and 0.6931 for a constant 50 %. Range: log of the highest high by the lowest low. Volume: log of the "
    "mean volume by that of the context; without a figure for forecasters without volume."
)
PANEL_NOTE = (
    "RankIC: correlation over symbols of ranks of forecast and true return, at each date. Top fifth: mean return per "
    "period of the symbols with the highest forecasts, in equal parts, from the first open to the last close of the "
    "horizon, after costs; all: of all symbols in equal parts, without costs. t: Newey-West."
)
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
    lines += [f"- {markdown_text(line)}" for line in _sampling(evaluation)]
    return [*lines, *(f"- {markdown_text(note)}" for note in evaluation["notes"]), ""]


def _sampling(evaluation: dict) -> list[str]:
    """How the paths of each model are sampled, where models differ; earlier versions recorded that of the first."""
    found = {name: evaluation["forecasters"][name].get("sampling", "") for name in models_of(evaluation)}
    if "" in found.values() or all(one == next(iter(found.values())) for one in found.values()):
        return []
    said = []
    for name, one in found.items():
        text = "no sampling" if one is None else f"T {one['T']:g}, top_p {one['top_p']:g}, top_k {one['top_k']}"
        said.append(f"{name} {text}" + (" (calibrated)" if one and one["calibrated"] else ""))
    return [f"sampling of paths: {'; '.join(said)}"]


def markdown(evaluation: dict, pictures: Sequence[tuple[str, str]] = ()) -> str:
    """The full report as Markdown.

    Args:
        evaluation (`dict`): from [`evaluate_forecasters`].
        pictures (`Sequence` of (title, file)): shown after the tables.
    """
    horizon, models = evaluation["settings"]["horizon"], models_of(evaluation)
    said, title = verdicts(evaluation), headline(evaluation)
    lines = [f"**{markdown_text(title)}.**", ""] if title else []
    if rows := summary_rows(evaluation):
        lines += markdown_table(SUMMARY_HEADER, [[name, markdown_text(other), *row] for name, other, *row in rows])
        lines += [f"{correction_note(evaluation)}.", ""] if correction_note(evaluation) else []
    warned = [line for one in evaluation.get("warnings", ()) for line in (f"**WARNING: {markdown_text(one)}.**", "")]
    sentences = [line for one in said.values() for line in (f"**{markdown_text(one)}.**", "")]
    lines += [*warned, *sentences] if title else [*sentences, *warned]
    lines += _conditions(evaluation)
    lines += [f"## Close, {horizon} bars ahead", "", *markdown_table(SCORE_HEADER, score_rows(evaluation))]
    lines += ["bp: 0.01 % of log return. Direction: accuracy with 95 % confidence interval. IC: over origins.", ""]
    lines += _coverage(evaluation)
    lines += _references(evaluation)
    lines += [f"## Skill of the close, {horizon} bars ahead", "", *markdown_table(SKILL_HEADER, skill_rows(evaluation))]
    lines += [SKILL_NOTE, "", *_memorised(evaluation), *map(markdown_text, _survivors(evaluation))]
    if "references" in evaluation:
        lines += [f"## Other scores: paths, volatility, probability up, range and volume, {horizon} bars ahead", ""]
        lines += [*markdown_table(OTHER_HEADER, other_rows(evaluation)), OTHER_NOTE, ""]
    for model in models:
        name = markdown_text(model)
        lines += [f"## {name}: every target, {horizon} bars ahead", "", *target_table(evaluation, model)]
        lines += [f"## {name}: close by horizon", "", *horizon_table(evaluation, model)]
        if "references" in evaluation:
            lines += [f"## {name}: reliability of the probability up", ""]
            lines += [*markdown_table(RELIABILITY_HEADER, reliability_rows(evaluation, model)), ""]
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
    if evaluation.get("panel"):
        lines += ["## Across symbols", "", *markdown_table(PANEL_HEADER, panel_rows(evaluation)), PANEL_NOTE, ""]
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


def terminal_text(evaluation: dict, verbose: bool = False) -> str:
    """The headline, results, sentences, scores of the close, calibration of the models' intervals, and the back-test.

    Args:
        evaluation (`dict`): from [`evaluate_forecasters`].
        verbose (`bool`): all scores of the close instead of the most important ones.
    """
    horizon, models = evaluation["settings"]["horizon"], models_of(evaluation)
    warnings = evaluation.get("warnings", [])
    said, title, note = verdicts(evaluation).values(), headline(evaluation), correction_note(evaluation)
    lines, warned = [], [f"WARNING: {warning}" for warning in warnings]
    if rows := summary_rows(evaluation):
        lines = [*([title] if title else []), *text_table(SUMMARY_HEADER, rows), *([f"({note})"] if note else [])]
    lines += [*warned, "", *said, ""] if title else [*said, *warned, ""]
    lines += [f"note: {note}" for note in evaluation["notes"] if note not in warnings]
    lines += [line for line in _survivors(evaluation) if line]
    lines += [f"close, {horizon} bars ahead (bp: 0.01 % of log return)"]
    if verbose:
        lines += text_table(SCORE_HEADER, score_rows(evaluation))
        if "references" in evaluation:
            lines += ["", *text_table(OTHER_HEADER, other_rows(evaluation))]
    else:
        lines += [*text_table(short_header(evaluation), short_rows(evaluation)), "all scores: --verbose"]
    if evaluation.get("panel"):
        lines += ["", "across symbols, by date", *text_table(PANEL_HEADER, panel_rows(evaluation))]
    rows = [row for row in calibration_rows(evaluation) if row[0].rsplit(",", 1)[0] in models]
    number = observations_of(evaluation, "close")
    few = f" ({number} origins, too few to rely on)" if number < LEAST_ORIGINS else ""
    if rows:
        lines += [
            "",
            f"prediction intervals, calibrated on the validation split{few}",
            *text_table(CALIBRATION_HEADER, rows),
        ]
    for symbol, found in list(evaluation["backtest"]["symbols"].items())[:3]:
        lines += ["", f"back-test {backtest_title(symbol, found)}{few}"]
        lines += text_table(BACKTEST_HEADER, backtest_rows(evaluation, symbol))
    return "\n".join([*lines, evaluation["backtest"]["warning"]])


def _coverage(evaluation: dict) -> list[str]:
    """The most important scores, with the interval of the coverage."""
    effective = evaluation["scores"][next(iter(evaluation["scores"]))]["close"]["bands"]["0.9"].get("effective")
    if not effective:  # of an earlier version
        return []
    numbers = [one["close"]["bands"]["0.9"]["effective"]["by_horizon"][-1] for one in evaluation["scores"].values()]
    number = next((value for value in numbers if value is not None), None)
    if number is None:
        return []
    return [
        *markdown_table([markdown_text(name) for name in short_header(evaluation)], short_rows(evaluation)),
        f"In brackets: the 95 % Wilson interval of the coverage, as of {number:,.0f} independent origins (origins "
        "divided by the number that overlap; symbols count as independent).",
        "",
    ]


def _references(evaluation: dict) -> list[str]:
    """How the references were chosen."""
    references = evaluation.get("references")
    if not references:
        return []
    split = next(iter(references.values()))["split"]
    header, rows = reference_rows(evaluation)
    return [f"## References, chosen on the {split} split", "", *markdown_table(header, rows)]


def _memorised(evaluation: dict) -> list[str]:
    """Skill on possibly memorised and on clean origins."""
    memorised = evaluation.get("memorised")
    if not memorised:
        return []
    counts = memorised["origins"]
    about = f"{counts['memorised']:,} origins before {memorised['until']} and {counts['clean']:,} later ones."
    title = "## Possibly memorised origins"
    return [title, "", *markdown_table(MEMORISED_HEADER, memorised_rows(evaluation)), about, ""]


def _survivors(evaluation: dict) -> list[str]:
    """The model confidence set and the SPA test, for two or more models."""
    found = evaluation.get("survivors")
    if not found or not found["survivors"]:
        return []
    share = f"{100 * (1 - found['size']):.0f} %"
    lines = [f"model confidence set ({share}, CRPS of the close): {', '.join(found['survivors'])}"]
    if spa := found["spa"]:
        p_value = p_words(spa["p_value"])
        lines.append(f"SPA test that no model is better than {spa['reference']}: {p_value}")
    return [f"{'; '.join(lines)}", ""]


def write_report(evaluation: dict, folder: Path, pictures: Sequence[tuple[str, str]] = ()) -> None:
    """Writes `evaluation.json` (with the verdicts and corrected p-values) and `evaluation.md`, each atomically."""
    said = {
        "headline": headline(evaluation),
        "verdict": verdict(evaluation),
        "verdicts": verdicts(evaluation),
        "corrected": corrected_values(evaluation),
    }
    write_json(folder / EVALUATION_FILE, {**said, **evaluation}, indent=None)
    write_text(folder / REPORT_FILE, markdown(evaluation, pictures))
