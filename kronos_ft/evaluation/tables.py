"""The tables of an evaluation: their headers, their rows, and their text as Markdown and for a terminal.

Returns, errors and widths are in basis points (0.01 %) of log return.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ft_core.io.spreadsheet import markdown_text

from ..baselines.references import JUDGED
from ..scoring.targets import TARGETS
from .facts import PERSISTENCE, best_distribution, best_on_test, comparisons, models_of
from .verdict import p_words, percent

SHOWN_HORIZONS = 8
NOTHING = "-"
SCORE_HEADER = (
    *("forecaster", "MAE bp", "RMSE bp", "MASE", "CRPS bp", "pinball bp", "in 50 %", "in 80 %", "in 90 %"),
    *("90 % width bp", "direction", "IC", "RankIC"),
)
SKILL_HEADER = ("", "absolute error", "all horizons", "CRPS", "all horizons")
CALIBRATION_HEADER = ("", "coverage", "calibrated coverage", "width bp", "calibrated width bp")
BACKTEST_HEADER = ("", "total return", "per year", "Sharpe", "max drawdown", "trades", "time invested")
OTHER_HEADER = (
    *("forecaster", "WQL", "energy bp", "volatility QLIKE", "variance RMSE bp2", "Brier", "log score"),
    *("range CRPS bp", "volume CRPS"),
)
SUMMARY_HEADER = ("", "against", "skill", "p", "corrected p", "result")
RELIABILITY_HEADER = ("forecast probability", "origins", "mean forecast", "rose", "95 % interval")
PANEL_HEADER = ("forecaster", "RankIC", "t", "dates", "top fifth bp", "all bp", "difference bp", "t", "turnover")
LOSS_NAMES = {"absolute": "absolute error", "crps": "CRPS", "qlike": "QLIKE", "brier": "Brier"}
RESULTS = {  # of a comparison
    "better": "better",
    "worse": "worse",
    "seems_better": "not significant",
    "not_better": "not better",
    "no_error": "not comparable",
    "same": "equal",
    "untestable": "not testable",
}
MEMORISED_HEADER = ("", "possibly memorised", "clean", "difference")


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


def summary_rows(evaluation: dict) -> list[list[str]]:
    """One row per result that the verdict states, close first, under `SUMMARY_HEADER`.

    A reference that is better than the model on the test split, and was not chosen, has a row without a test.
    """
    rows, several = [], len(models_of(evaluation)) > 2
    for one in comparisons(evaluation):
        label = f"{one.model}: " * several + f"{one.judged}, {LOSS_NAMES[one.loss]}"
        found = [
            NOTHING if value is None else p_words(value).removeprefix("p ").removeprefix("= ")
            for value in (one.p_value, one.corrected)
        ]
        skill = NOTHING if one.skill is None else percent(one.skill)
        rows.append([label, one.reference, skill, *found, RESULTS[one.result]])
        if better := best_on_test(evaluation, one):
            rows.append([label, better[0], percent(better[1]), NOTHING, NOTHING, "not better, best on test"])
    return rows


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
            *(
                _skill(row.skill[name].get(row.target, {}).get(loss), row.at) if name else NOTHING
                for name, loss in ((point, "absolute"), (best, "crps"))
            ),
        ]
        for row in rows
    ]
    return markdown_table((*labels, *columns, *against), cells)


def target_table(evaluation: dict, model: str) -> list[str]:
    scores, skill = evaluation["scores"][model], evaluation["skill"][model]
    rows = (_Row((target,), scores, skill, target) for target in TARGETS if target in scores)
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


def short_header(evaluation: dict) -> tuple[str, ...]:
    """The header of [`short_rows`], which names the reference."""
    best = best_distribution(evaluation)
    return ("forecaster", "CRPS bp", f"skill vs {best}" if best else "skill", "in 90 %", "MAE bp")


def _interval(band: dict) -> str:
    """Coverage at the last horizon with its 95 % interval; evaluations of earlier versions have no interval."""
    low, high = (_at(band.get(end)) for end in ("lower", "upper"))
    return _percent(_at(band["coverage"])) + ("" if low is None else f" [{100 * low:.0f}, {100 * high:.0f}]")


def short_rows(evaluation: dict) -> list[list[str]]:
    """The most important scores of the close at the last horizon, under `short_header`: models first, by CRPS.

    Skill is that of the CRPS against the reference; with a p-value for models, and without one for references.
    """
    best, rows = best_distribution(evaluation), []
    least = _at(evaluation["scores"][best]["close"]["crps"]) if best else None
    for name, scores in evaluation["scores"].items():
        close, against = scores["close"], evaluation["skill"].get(name, {})
        crps = _at(close["crps"])
        if best in against:
            skill = _skill(against[best]["close"]["crps"])
        else:
            skill = NOTHING if name == best or not least or crps is None else _percent(1 - crps / least, "+.1f")
        rows.append(
            [name, _basis_points(crps), skill, _interval(close["bands"]["0.9"]), _basis_points(_at(close["mae"]))]
        )
    return rows


def other_rows(evaluation: dict) -> list[list[str]]:
    """Scores beside those of `SCORE_HEADER` at the last horizon, under `OTHER_HEADER`.

    Evaluations of earlier versions have neither energy score nor range nor volume.
    """
    rows = []
    for name, scores in evaluation["scores"].items():
        close, volatility = scores["close"], scores["volatility"]
        mse, qlike = _at(volatility["mse"]), _at(volatility["qlike"])
        up, energy = close["probability_up"], close.get("energy")
        rows.append(
            [
                name,
                _figure(_at(close["wql"])),
                _basis_points(energy["overall"] if energy else None),
                _figure(qlike, ".3f" if qlike is None or qlike < 1000 else ".1e"),
                _figure(None if mse is None else mse**0.5, ".1f", 1e8),
                _figure(_at(up["brier"]), ".4f"),
                _figure(_at(up["log"]), ".4f"),
                _basis_points(_at(scores.get("range", {}).get("crps"))),
                _figure(_at(scores.get("volume", {}).get("crps"))),
            ]
        )
    return rows


def reliability_rows(evaluation: dict, name: str) -> list[list[str]]:
    """How often the close rose by forecast probability, under `RELIABILITY_HEADER`; without empty bins."""
    found = evaluation["scores"][name]["close"]["probability_up"]["reliability"]
    edges, rows = found["edges"], []
    for i, count in enumerate(found["count"]):
        if count:
            interval = f"[{_percent(found['lower'][i])}, {_percent(found['upper'][i])}]"
            shares = [_percent(found["forecast"][i]), _percent(found["observed"][i]), interval]
            rows.append([f"{100 * edges[i]:.0f} to {100 * edges[i + 1]:.0f} %", str(count), *shares])
    return rows


def reference_rows(evaluation: dict) -> tuple[list[str], list[list[str]]]:
    """Mean losses on the split on which the references were chosen, as header and rows; the chosen ones in bold."""
    references = evaluation["references"]
    forms = {
        "close": ("CRPS bp", 1e4, ".1f"),
        "volatility": ("QLIKE", 1.0, ".3f"),
        "probability up": ("Brier", 1.0, ".4f"),
        "range": ("CRPS bp", 1e4, ".1f"),
        "volume": ("CRPS", 1.0, ".3f"),
    }
    header = ["reference", *(f"{judged}: {forms[judged][0]}" for judged in JUDGED if judged in references)]
    names = [name for name, one in evaluation["forecasters"].items() if one["role"] == "baseline"]
    rows = []
    for name in names:
        row = [name]
        for judged, one in references.items():
            _, factor, form = forms[judged]
            figure = _figure(one["losses"].get(name), form, factor)
            row.append(f"**{figure}**" if one["name"] == name else figure)
        rows.append(row)
    return header, rows


def memorised_rows(evaluation: dict) -> list[list[str]]:
    """Skill of the models that may have memorised bars, on both groups of origins, under `MEMORISED_HEADER`."""
    memorised, rows = evaluation["memorised"], []
    best = best_distribution(evaluation)
    for model in memorised["models"]:
        for reference, loss, word in ((PERSISTENCE, "absolute", "absolute error"), (best, "crps", "CRPS")):
            groups = [memorised["skill"][name].get(model, {}).get(reference) for name in ("memorised", "clean")]
            if None in groups:
                continue
            values = [_at(one["close"][loss]["skill"]) for one in groups]
            difference = None if None in values else values[0] - values[1]
            skills = [_skill(one["close"][loss]) for one in groups]
            rows.append([f"{model} against {reference}, {word}", *skills, _percent(difference, "+.1f")])
    return rows


def panel_rows(evaluation: dict) -> list[list[str]]:
    """RankIC over symbols and the portfolio of the best fifth, under `PANEL_HEADER`."""
    return [
        [
            name,
            _figure(one["rank_ic"]["mean"]),
            _figure(one["rank_ic"]["t"], ".2f"),
            str(one["rank_ic"]["dates"]),
            _basis_points(one["portfolio_return"]),
            _basis_points(one["universe_return"]),
            _basis_points(one["excess"]["mean"]),
            _figure(one["excess"]["t"], ".2f"),
            _percent(one["turnover"]),
        ]
        for name, one in evaluation["panel"].items()
    ]
