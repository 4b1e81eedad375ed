"""The evaluation tab: verdicts, warnings, tables and pictures of an `evaluation.json`.

Each judged quantity has a sentence and a small table: skill, p-value and coverage against the reference that was chosen
for it. The quantities are those that the file contains.
"""

import base64
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..evaluation.facts import PERSISTENCE, counted_skill, models_of, read_evaluation, rendering
from ..evaluation.pictures import PICTURES
from ..evaluation.report import EVALUATION_FILE
from ..evaluation.tables import (
    CALIBRATION_HEADER,
    SCORE_HEADER,
    SKILL_HEADER,
    calibration_rows,
    score_rows,
    skill_rows,
)
from ..evaluation.verdict import correction_note, headline, p_words, percent, verdicts
from ..hub.evaluation_card import entry_of
from ..models.found_model import FoundModel
from .markup import command, notice, table, text

LARGEST_PICTURE = 4 * 2**20
SHOWN_PICTURES = ("skill", "reliability")
JUDGED_HEADER = ("", "loss", "skill", "p", "in 90 %")
LOSS_NAMES = {"absolute": "absolute error", "crps": "CRPS", "qlike": "QLIKE", "brier": "Brier", "log": "log score"}
NOTHING = "-"


def find_evaluation(shown: FoundModel, named: str | None = None) -> Path | None:
    """The folder of the named evaluation, else of one inside the run, else None.

    Raises:
        ValueError: the named folder contains no evaluation.
    """
    if named is not None:
        folder = Path(named).parent if Path(named).name == EVALUATION_FILE else Path(named)
        if not (folder / EVALUATION_FILE).is_file():
            raise ValueError(
                f"evaluation={named} contains no {EVALUATION_FILE}; pass the output folder of kronos-ft evaluate"
            )
        return folder
    run = shown.run
    stages = ("quantiles", "predictor") if shown.is_head else ("predictor",)
    folders = [] if run is None else [run, *(run / stage for stage in stages)]
    places = [place for folder in folders for place in (folder / "evaluation", folder)]
    return next((place for place in places if (place / EVALUATION_FILE).is_file()), None)


def other_weights(evaluation: dict, shown: FoundModel, sha256: str) -> str | None:
    """The names of the evaluated models if none of them has the weights on this page, else None.

    Raises:
        ValueError: the evaluation names no models.
    """
    places = [Path(one).resolve() for one in (shown.model, shown.run) if one is not None]
    try:
        if entry_of(evaluation, sha256, places) is not None:
            return None
        return ", ".join(str(one["name"]) for one in evaluation["models"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{EVALUATION_FILE} does not name its models ({error!r}); evaluate again") from error


def check_named(folder: Path, shown: FoundModel, sha256: str) -> None:
    """Raises ValueError if a named evaluation is not of the weights on this page."""
    others = other_weights(read_evaluation(folder / EVALUATION_FILE), shown, sha256)
    if others is not None:
        raise ValueError(
            f"{folder / EVALUATION_FILE} is an evaluation of other weights ({others}) than {shown.model}; evaluate "
            "this model, or omit --evaluation"
        )


def _picture(folder: Path, name: str) -> str:
    """A picture embedded in the page; empty if it is missing or too large."""
    path = folder / PICTURES[name]
    if not path.is_file() or path.stat().st_size > LARGEST_PICTURE:
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img class="kf-picture" alt="{name}" src="data:image/png;base64,{data}">'


def _calibrated(evaluation: dict, models: Sequence[str]) -> list[list[str]]:
    """Calibration of the models, without the naive forecasts."""
    return [row for row in calibration_rows(evaluation) if row[0].rsplit(",", 1)[0] in models]


def _translated(header: Sequence[str], words: Mapping[str, str]) -> list[str]:
    return [words.get(name, name) for name in header]


def _last(figures: dict | None) -> float | None:
    """The value at the last horizon; None without figures."""
    if not figures:
        return None
    return figures["last"] if "last" in figures else figures["by_horizon"][-1]


def _coverage(scores: dict, target: str) -> str:
    """`88 % [80, 93]`: coverage of the 90 % interval at the last horizon, with its 95 % interval if there is one."""
    band = scores.get(target, {}).get("bands", {}).get("0.9", {})
    share, low, high = (_last(band.get(name)) for name in ("coverage", "lower", "upper"))
    if share is None:
        return NOTHING
    return f"{100 * share:.0f} %" + ("" if low is None or high is None else f" [{100 * low:.0f}, {100 * high:.0f}]")


def judged_rows(evaluation: dict, judged: str, words: Mapping[str, str]) -> list[list[str]]:
    """Each model against what it is compared with for one judged quantity, under `JUDGED_HEADER`.

    A model is compared with the chosen reference and with the first model; the close also with persistence, by absolute
    error. Skill and p-value are at the last horizon, of the origins that count. Coverage is that of the model.

    Args:
        evaluation (`dict`): content of `evaluation.json`.
        judged (`str`): a key of its `references`.
        words: the page's texts.
    """
    reference = evaluation["references"][judged]
    target, first = reference["target"], models_of(evaluation)[0]
    rows = []
    for model in models_of(evaluation):
        compared = [(PERSISTENCE, "absolute")] if judged == "close" else []
        compared += [(name, reference["loss"]) for name in (first, reference["name"]) if name != model]
        against = counted_skill(evaluation)[model]
        # a probability has no interval of its own
        coverage = _coverage(evaluation["scores"][model], target) if judged == target else NOTHING
        for name, loss in dict.fromkeys(compared):
            outcome = against.get(name, {}).get(target, {}).get(loss)
            if outcome is None:
                continue
            skill, p_value = (outcome[figure]["by_horizon"][-1] for figure in ("skill", "p_value"))
            rows.append(
                [
                    words["against"].format(model=model, reference=name),
                    words.get(LOSS_NAMES.get(loss, loss), LOSS_NAMES.get(loss, loss)),
                    NOTHING if skill is None else percent(skill),
                    NOTHING if p_value is None else p_words(p_value).removeprefix("p ").removeprefix("= "),
                    coverage,
                ]
            )
    return rows


def _judged_tables(evaluation: dict, order: Sequence[str], words: Mapping[str, str]) -> str:
    """A table for each judged quantity, in the order of the sentences."""
    parts, horizon = [], evaluation["settings"]["horizon"]
    known = evaluation.get("references", {})
    for judged in dict.fromkeys((*order, *known)):
        if judged in known and (rows := judged_rows(evaluation, judged, words)):
            name = words.get(f"judged_{judged.replace(' ', '_')}", judged[:1].upper() + judged[1:])
            title = words["judged_title"].format(target=name, horizon=horizon)
            parts.append(
                f'<div class="kf-judged"><h3 class="kf-head">{text(title)}</h3>'
                f"{table(_translated(JUDGED_HEADER, words), rows)}</div>"
            )
    return f'<div class="kf-targets">{"".join(parts)}</div>' if parts else ""


def evaluation_page(evaluation: dict, folder: Path, words: Mapping[str, str]) -> str:
    """The verdicts, warnings and tables as HTML.

    Raises:
        ValueError: values are missing in the file.
    """
    with rendering(folder / EVALUATION_FILE):
        models = models_of(evaluation)
        names = [row[0] for row in score_rows(evaluation)]
        titled = {
            words["scores_title"].format(
                horizon=evaluation["settings"]["horizon"], origins=f"{evaluation['origins']['test']:,}"
            ): (SCORE_HEADER, score_rows(evaluation), [names.index(model) for model in models]),
            words["skill_title"]: (SKILL_HEADER, skill_rows(evaluation), []),
            words["calibration_title"]: (CALIBRATION_HEADER, _calibrated(evaluation, models), []),
        }
        said, title = verdicts(evaluation, words["language"]), headline(evaluation, words["language"])
        note = correction_note(evaluation, words["language"])
        targets = _judged_tables(evaluation, list(said), words)
        warnings, notes = evaluation.get("warnings", []), evaluation["notes"]
    sentences = "".join(f"<p>{text(sentence)}{words['full_stop']}</p>" for sentence in said.values())
    first = f"<p><strong>{text(title)}{words['full_stop']}</strong></p>" if title else ""
    parts = [f'<div class="kf-verdict"><span>{text(words["verdict"])}</span>{first}{sentences}</div>']
    parts += [notice(f"{words['warning']}: {warning}", "warning") for warning in warnings]
    parts.append(targets)
    for title, (header, rows, marked) in titled.items():
        if rows:
            parts.append(f'<h3 class="kf-head">{text(title)}</h3>')
            parts.append(table(_translated(header, words), rows, marked=marked))
    parts.append(f'<p class="kf-small">{text(words["skill_note"])}</p>')
    parts.append(f'<p class="kf-small">{text(note)}{words["full_stop"]}</p>' if note else "")
    pictures = "".join(_picture(folder, name) for name in SHOWN_PICTURES)
    parts.append(f'<div class="kf-pictures">{pictures}</div>' if pictures else "")
    parts += [f'<p class="kf-small">{text(note)}</p>' for note in notes if note not in warnings]
    return "".join(parts)


def evaluation_tab(shown: FoundModel, folder: Path | None, words: Mapping[str, str], sha256: str | None = None) -> str:
    """The content of the tab: an evaluation, the command that creates one, or an error message.

    With the hash of the weights on this page, a warning marks an evaluation of other weights.
    """
    if folder is None:
        place = Path(shown.run or "runs") / "evaluation"
        own = shown.data_settings()
        line = ["kronos-ft", "evaluate", "--data", own.get("data") or "sample", "--model", shown.name]
        line += ["--columns", own["columns"]] if own.get("columns") else []
        # a tokenizer of the command line is not the one that the name finds
        line += ["--tokenizer", shown.tokenizer] if shown.is_overridden else []
        line += ["--output_dir", place]
        return command(words["no_evaluation"], shlex.join(map(str, line)))
    try:
        evaluation = read_evaluation(folder / EVALUATION_FILE)
        page = evaluation_page(evaluation, folder, words)
        others = None if sha256 is None else other_weights(evaluation, shown, sha256)
        if others is None:
            return page
        line = words["other_weights"].format(models=others)
        return notice(f"{words['warning']}: {line}", "warning") + page
    except (ValueError, OSError) as error:
        return notice(str(error), "error")
