"""The evaluation section of a model card: verdict, scores, and reasons that invalidate them."""

import copy
from pathlib import Path

from ft_core.hub.card import CardFacts, Result
from ft_core.io.spreadsheet import markdown_text
from ft_core.runs.folder import BEST_MODEL

from ..evaluation.facts import PERSISTENCE, read_evaluation, rendering
from ..evaluation.leakage import CALIBRATED_ON_TEST, DONE_WITH, OTHER_TOKENIZER, SEEN_TEST_BARS
from ..evaluation.report import EVALUATION_FILE
from ..evaluation.tables import SCORE_HEADER, markdown_table, score_rows
from ..evaluation.verdict import verdict

THIS = "this model"
DATA_TYPE = "candles, walk-forward origins"  # not the windows that training figures are of
DOUBTS = {
    OTHER_TOKENIZER: "The model was evaluated with a different tokenizer than it was trained with",
    SEEN_TEST_BARS: "The model or its tokenizer was trained on bars of the test split",
    CALIBRATED_ON_TEST: "The sampling settings of the model were chosen on bars of the test split",
}
TOKENIZER_OF = "the tokenizer of "
FOLDERS = ("evaluation", ".")  # of a run, and beside it


def entry_of(evaluation: dict, sha256: str, places: list[Path]) -> dict | None:
    """The evaluated model whose weights are these; of an older evaluation, the one that lay in this folder."""
    for one in evaluation["models"]:
        if "sha256" in one:
            if one["sha256"] == sha256:
                return one
        elif Path(one["model"]).resolve() in places:
            return one
    return None


def _alone(evaluation: dict, name: str) -> dict:
    """The evaluation of one of its models against the baselines alone, under a name that every reader understands."""
    kept = [one for one, about in evaluation["forecasters"].items() if about["role"] == "baseline"]

    def renamed(values: dict) -> dict:
        return {THIS: values[name], **{one: values[one] for one in kept if one in values}}

    def against(skill: dict) -> dict:
        return {THIS: {one: outcome for one, outcome in skill[name].items() if one in kept}}

    memorised = evaluation.get("memorised")
    if memorised and name in memorised["models"]:
        groups = {group: against(skill) for group, skill in memorised["skill"].items()}
        memorised = {**memorised, "models": [THIS], "skill": groups}
    else:  # the origins of a model that memorised nothing all count
        memorised = {}
    return {
        **evaluation,
        "memorised": memorised,
        "forecasters": renamed(evaluation["forecasters"]),
        "scores": renamed(evaluation["scores"]),
        "skill": against(evaluation["skill"]),
    }


def _doubts(evaluation: dict, entry: dict) -> list[str]:
    """Why the figures of a model are not reliable; the texts contain no local path."""
    kinds = {one["kind"] for one in evaluation.get("doubts", ()) if one["model"] == entry["name"]}
    if "doubts" not in evaluation:  # of an earlier version, which names the models in its sentences alone
        kinds = {kind for line in evaluation.get("warnings", ()) if (kind := _kind_of(line, entry))}
    return [reason for kind, reason in DOUBTS.items() if kind in kinds]


def _kind_of(warning: str, entry: dict) -> str | None:
    """The doubt that a warning expresses about a model, or None if it concerns others."""
    for reason in DONE_WITH.values():
        who, _, seen = warning.partition(f" {reason} bars up to ")
        names = who.removeprefix(TOKENIZER_OF).split(", ") if who.startswith(TOKENIZER_OF) else [who]
        if seen and entry["name"] in names:
            return SEEN_TEST_BARS
    folders = {entry.get("model"), f"{entry.get('model')}/{BEST_MODEL}"}
    who, _, paired = warning.removeprefix("predictor ").partition(" was trained with tokenizer ")
    return OTHER_TOKENIZER if paired and who in folders else None


def _span(evaluation: dict) -> str:
    tested = [one["test"] for one in evaluation["data"].values() if one["test"]["origins"]]
    symbols = ", ".join(map(markdown_text, list(evaluation["data"])[:3])) + ", ..." * (len(evaluation["data"]) > 3)
    if not tested:
        return symbols
    return f"{symbols}, {min(one['first'] for one in tested)[:10]} to {max(one['last'] for one in tested)[:10]}"


def add_evaluation(card: CardFacts, sha256: str, folder: Path, run: Path | None, named: str | None) -> None:
    """Adds verdict and scores of the given evaluation, or of one in the run folder or next to it.

    Args:
        card ([`CardFacts`]): the card.
        sha256 (`str`): hash of the model's weights.
        folder (`Path`): the model's.
        run (`Path`, *optional*): its run.
        named (`str`, *optional*): folder of an evaluation, or its `evaluation.json`.

    Raises:
        ValueError: the one that was named is none, or of other models.
    """
    places = [one.resolve() for one in (folder, run) if one is not None]
    if named is not None:
        path = Path(named) if Path(named).is_file() else Path(named) / EVALUATION_FILE
        if not path.is_file():
            raise ValueError(f"evaluation={named} contains no {EVALUATION_FILE}; pass the output_dir of an evaluation")
        candidates = [path]
    else:
        above = (run or folder).resolve()
        candidates = [base / name / EVALUATION_FILE for base in (above, above.parent) for name in FOLDERS]
        candidates = [path for path in dict.fromkeys(candidates) if path.is_file()]
    for path in candidates:
        filled = copy.deepcopy(card)
        try:
            evaluation = read_evaluation(path)
            entry = entry_of(evaluation, sha256, places)
            if entry is not None:
                with rendering(path):
                    _describe(filled, evaluation, entry)
        except ValueError as error:
            if named is not None:
                raise
            card.remarks.append(f"not on the card: {error}")
            continue
        if entry is not None:
            vars(card).update(vars(filled))
            return
        others = ", ".join(str(one["name"]) for one in evaluation["models"])
        if named is not None:
            raise ValueError(
                f"{path} evaluates other weights than those in {folder} ({others}); evaluate this model, or push "
                "without --evaluation"
            )
        card.remarks.append(f"not on the card: {path}, an evaluation of other weights ({others})")
    card.limits.append("This card contains no comparison with naive forecasts: run `kronos-ft evaluate` first.")


def _describe(card: CardFacts, evaluation: dict, entry: dict) -> None:
    name = entry["name"]
    alone, doubts = _alone(evaluation, name), _doubts(evaluation, entry)
    settings, horizon = evaluation["settings"], evaluation["settings"]["horizon"]
    card.summary.append(f"**Verdict: {markdown_text(verdict(alone))}.**")
    card.summary += [f"**WARNING: {doubt}: the metrics below are not valid.**" for doubt in doubts]
    lines = [
        f"{evaluation['origins']['test']:,} test origins of {_span(evaluation)}; context {settings['lookback']} bars, "
        f"horizon {horizon} bars, {settings['num_paths']} paths. Close, {horizon} bars ahead, against naive forecasts:",
        "",
        *markdown_table(SCORE_HEADER, score_rows(alone)),
        "bp: 0.01 % of log return. Direction with its 95 % interval; IC over origins.",
    ]
    card.sections.append(("Evaluation", lines))
    if doubts:
        return
    scores = evaluation["scores"][name]["close"]
    figures = {
        "mae": (f"MAE of the close's log return, {horizon} bars", scores["mae"]["by_horizon"][-1]),
        "crps": (f"CRPS of the close's log return, {horizon} bars", scores["crps"]["by_horizon"][-1]),
    }
    against = evaluation["skill"][name].get(PERSISTENCE)
    if against:
        skill = against["close"]["absolute"]["skill"]["by_horizon"][-1]
        figures["mae_skill"] = (f"share of persistence's MAE saved, {horizon} bars", skill)
    for metric, (title, value) in figures.items():
        if value is not None:
            card.results.append(Result(_span(evaluation), DATA_TYPE, "test", metric, title, value))
