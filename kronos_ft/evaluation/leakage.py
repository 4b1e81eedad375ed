"""Detects test-set leakage: bars that models saw in training, by their run records and by the published weights.

- A run record tells which bars of which symbol a model was trained on and chosen by.
- `forecaster.json` tells which bars T and top_p of a predictor were calibrated on.
- The published weights have seen much of the market until a date ([`~kronos_ft.models.sizes.TRAINED_UNTIL`]), and so
  has every model that was fine-tuned from them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ft_core.runs.record_schema import recorded_group

from ..models.descent import ancestors
from ..models.pretrained import folder_of
from ..models.sizes import TRAINED_UNTIL
from .arguments import EvaluateArguments
from .models import ModelSource

# reasons that invalidate a model's results
SEEN_TEST_BARS, OTHER_TOKENIZER, CALIBRATED_ON_TEST = "seen_test_bars", "other_tokenizer", "calibrated_on_test"
MEMORISED_NOTE = (
    "{memorised:,} test origins before {until} are possibly memorised: the published weights that {models} descends "
    "from were trained and validated on data before that day; the verdict uses only the {clean:,} later origins"
)
# evaluations of earlier versions are recognised by these words: do not change them
DONE_WITH = {"train": "was trained on", "validation": "was chosen by validation on"}


def _trained_on(folder: str) -> dict:
    """The recorded data of the run that wrote a model folder; empty if there is no record."""
    return recorded_group(Path(folder_of(folder)).parent, "data")


def _utc(time: np.datetime64) -> str:
    return f"{str(time.astype('datetime64[m]')).replace('T', ' ')} UTC"


def _ends(trained: dict) -> dict[str, dict[str, np.datetime64]] | None:
    """Times of the last bars by symbol and split, or None if the record has no times."""
    try:
        return {
            symbol: {name: np.datetime64(end, "ns") for name, end in ends.items() if name in DONE_WITH and end}
            for symbol, ends in trained["split_ends"].items()
        }
    except (KeyError, AttributeError, TypeError, ValueError):
        return None


def seen_bars(model: str, symbol: str) -> dict[str, np.datetime64]:
    """Times of the last training and validation bars of a symbol, by split; empty if not recorded.

    Args:
        model (`str`): model folder or run folder.
        symbol (`str`): as in the record.
    """
    return (_ends(_trained_on(model)) or {}).get(symbol, {})


def reach_of_others(model: str, symbol: str) -> np.datetime64 | None:
    """Time of the last recorded bar of any symbol, or None if the record names this symbol or has no times.

    If the record does not name the symbol, the model may have seen the same market under another name.
    """
    ends = _ends(_trained_on(model)) or {}
    others = [end for times in ends.values() for end in times.values()]
    return max(others) if others and symbol not in ends else None


def _seen(who: str, ends: dict[str, dict[str, np.datetime64]], first: Mapping[str, np.datetime64]) -> list[str]:
    """A warning if training (or else validation) bars reach past the first test origin of their symbol."""
    for split, use in DONE_WITH.items():
        reached = {
            symbol: ends[symbol][split]
            for symbol in first
            if split in ends.get(symbol, {}) and ends[symbol][split] >= first[symbol]
        }
        if reached:
            symbols = ", ".join(list(reached)[:3]) + ", ..." * (len(reached) > 3)
            begins = min(first[symbol] for symbol in reached)
            return [
                f"{who} {use} bars up to {_utc(max(reached.values()))}: it has seen test bars "
                f"({symbols}, tested from {_utc(begins)})"
            ]
    return []


def _unmatched(who: str, ends: dict[str, dict[str, np.datetime64]], first: Mapping[str, np.datetime64]) -> str | None:
    """A remark on symbols that the record does not name, if its bars reach into their test split."""
    others = [end for times in ends.values() for end in times.values()]
    unknown = [symbol for symbol in first if symbol not in ends and others and max(others) >= first[symbol]]
    if not unknown:
        return None
    return (
        f"the run record of {who} does not name {', '.join(unknown[:3])}{', ...' * (len(unknown) > 3)}, but its bars "
        f"reach to {_utc(max(others))}: if it is the same market under another name, {who} has seen test bars"
    )


def _other_splits(who: str, trained: dict, args: EvaluateArguments) -> str | None:
    """A remark for records without times, from the split settings."""
    try:
        ratios, dates = trained["split_ratios"], trained["split_dates"]
    except KeyError:
        return None
    if (ratios, dates) == (args.split_ratios, args.split_dates):
        return None
    used = f"split_dates={dates}" if dates else f"split_ratios={ratios}"
    return f"{who} was trained with {used}, which differs from this evaluation: it may have seen test bars"


def training_remarks(
    sources: Sequence[ModelSource], args: EvaluateArguments, first: Mapping[str, str | None]
) -> tuple[list[str], list[str]]:
    """Checks the run records of models and tokenizers for test bars.

    Args:
        sources (`Sequence` of [`ModelSource`]): the models.
        args ([`EvaluateArguments`]): splits of the evaluation.
        first (`Mapping` of symbol to `str`): time of the first test origin, UTC; None without one.

    Returns:
        two `list` of `str`: warnings (has seen test bars) and remarks (may have seen test bars).
    """
    origins = {symbol: np.datetime64(time, "ns") for symbol, time in first.items() if time}
    users: dict[str, list[str]] = {}
    for source in sources:
        users.setdefault(source.tokenizer, []).append(source.name)
    folders = [(source.name, source.model) for source in sources]
    folders += [(f"the tokenizer of {', '.join(names)}", folder) for folder, names in users.items()]
    seen, remarks = [], []
    for source in sources:  # the runs that a model or the body of a head goes on from
        above = [name for name in ancestors(source.model)[1:] if Path(name).is_dir() and name != source.model]
        folders += [(f"{name}, which {source.name} descends from,", name) for name in above]
    for who, folder in folders:
        trained = _trained_on(folder) if folder else {}
        if not trained:
            continue
        ends = _ends(trained)
        if ends is None:
            remarks.append(_other_splits(who, trained, args))
        else:
            seen += _seen(who, ends, origins)
            remarks.append(_unmatched(who, ends, origins))
    return seen, [remark for remark in remarks if remark]


def calibration_remarks(
    name: str, forecaster: Mapping[str, object], tests: Mapping[str, Mapping[str, str | None]]
) -> tuple[list[str], list[str]]:
    """Checks whether T and top_p of a predictor were chosen on test bars.

    Args:
        name (`str`): the model's.
        forecaster (`Mapping`): content of its `forecaster.json`, whose T or top_p the evaluation uses.
        tests (`Mapping` of symbol to `first` and `last`): times of the first and the last test origin, UTC.

    Returns:
        two `list` of `str`: warnings (chosen on test bars) and remarks (possibly chosen on test bars).
    """
    recorded = forecaster.get("calibrated_on")
    if not recorded:
        return [], [
            f"T and top_p of {name} were calibrated by an earlier version, which did not record on which bars: they "
            "may be test bars; run kronos-ft calibrate again"
        ]
    used = {symbol: [np.datetime64(end, "ns") for end in ends] for symbol, ends in recorded.items()}
    tested = {
        symbol: [np.datetime64(one[end], "ns") for end in ("first", "last")]
        for symbol, one in tests.items()
        if one["first"]
    }
    both = [s for s in tested if s in used and used[s][1] >= tested[s][0]]
    if both:
        symbols, reach = ", ".join(both[:3]) + ", ..." * (len(both) > 3), max(used[one][1] for one in both)
        begins = min(tested[one][0] for one in both)
        return [
            f"T and top_p of {name} were calibrated on bars up to {_utc(reach)}, later than the first test bar "
            f"({symbols}, {_utc(begins)})"
        ], []
    end = max(ends[1] for ends in used.values())
    unknown = [s for s in tested if s not in used and end >= tested[s][0]]
    if not unknown:
        return [], []
    return [], [
        f"T and top_p of {name} were calibrated on other symbols up to {_utc(end)}: if {', '.join(unknown[:3])}"
        f"{', ...' * (len(unknown) > 3)} is one of them under another name, they were chosen on test bars"
    ]


def clean_from(model: str, repository: str | None = None) -> str | None:
    """The first day (YYYY-MM-DD, UTC) whose bars are new to the published weights that a model descends from.

    Args:
        model (`str`): model folder, run folder, Hub name or published size.
        repository (`str`, *optional*): Hub repository that it was loaded from.

    Returns:
        `str`, or None if the model is not known to descend from published weights.
    """
    names = [*ancestors(model), *([repository] if repository else [])]
    dates = [TRAINED_UNTIL[one] for one in names if one in TRAINED_UNTIL]
    return max(dates, default=None)


def clean_dates(identities: Sequence[Mapping[str, str | None]]) -> dict[str, str]:
    """Models that descend from published weights, with the first day that is new to them.

    Args:
        identities (`Sequence` of `Mapping`): from [`~kronos_ft.evaluation.models.identity`].
    """
    dates = {one["name"]: clean_from(one["model"], one.get("repository")) for one in identities}
    return {name: date for name, date in dates.items() if date}


def memorised_note(memorised: Mapping[str, object]) -> str:
    """The note on possibly memorised origins, from `memorised` of an evaluation."""
    models = " and ".join(memorised["models"])
    return MEMORISED_NOTE.format(until=memorised["until"], models=models, **memorised["origins"])
