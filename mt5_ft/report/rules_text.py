"""Rules on records and summaries: truncated texts, texts in both splits, the vocabulary, and what the model writes."""

from ft_core.report.answers import DATA, MODEL, Answer, rule
from ft_core.report.facts import RunFacts
from ft_core.report.rules.length import longer
from ft_core.report.rules.rates import TWICE, more_training

from ..summaries.health import FEWEST_TO_COMPARE, MANY_IDENTICAL

CUT_LIMITS = (0.05, 0.2)
FEW_RECORDS, FEW_VALIDATION = 200, 30
COVERED = 0.995
BROKEN_LIMITS = (0.02, 0.2)
LENGTHS = (0.5, 2.0)


@rule(DATA, ok="fits", watch="some", problem="much")
def truncation(facts: RunFacts) -> Answer | None:
    """Shares of sources and targets that are truncated."""
    lengths, sides = facts.record.group("lengths"), ("source", "target")
    cut = {name: lengths.number(f"{name}_cut") for name in sides}
    most = {name: lengths.number(f"{name}_most") for name in sides}
    if None in (*cut.values(), *most.values()):
        return None
    advice = {f"max_{name}_length": int(most[name]) for name in sides if cut[name] > CUT_LIMITS[0]}
    values: dict[str, object] = {f"{name}_cut": share for name, share in cut.items()}
    values |= {f"{name}_limit": facts.settings.get(f"max_{name}_length") for name in sides}
    values["limits"] = [f"{name} {value}" for name, value in advice.items()]
    worst = max(cut.values())
    return Answer("fits" if worst <= CUT_LIMITS[0] else "much" if worst > CUT_LIMITS[1] else "some", values, advice)


@rule(DATA, ok="apart", problem="shared")
def shared_texts(facts: RunFacts) -> Answer | None:
    """Training records whose source is also in validation."""
    shared = facts.record.number("shared_sources")
    return None if shared is None else Answer("shared" if shared else "apart", {"shared": shared})


@rule(DATA, ok="enough", watch="few few_validation")
def records(facts: RunFacts) -> Answer | None:
    """How many records there are."""
    train, validation = (facts.observed.number(f"{name}_samples") for name in ("train", "validation"))
    if train is None or validation is None:
        return None
    values = {"train": train, "validation": validation}
    if validation < FEW_VALIDATION:
        share = facts.settings.number("validation_share")
        advice = (
            {"validation_share": 0.2} if share and share < 0.2 and not facts.settings.get("validation_data") else {}
        )
        return Answer("few_validation", values, advice)
    return Answer("few" if train < FEW_RECORDS else "enough", values)


@rule(DATA, ok="covers", watch="loses", not_applicable="not_trimmed")
def vocabulary(facts: RunFacts) -> Answer | None:
    """How much of the texts a trimmed vocabulary covers."""
    if facts.settings.get("trim_vocab") is False:
        return Answer("not_trimmed")
    pieces = facts.record.group("vocabulary")
    values = {name: pieces.number(name) for name in ("before", "after", "coverage")}
    if values["coverage"] is None:
        return None
    values["growth"] = pieces.number("unseen_growth")
    if values["coverage"] >= COVERED:
        return Answer("covers", values)
    extra = facts.settings.number("trim_extra")
    return Answer("loses", values, {"trim_extra": int(2 * extra)} if extra else {})


def _last(facts: RunFacts, name: str) -> float | None:
    """A score of the summaries of the whole validation split, else that of the last evaluation that wrote some."""
    value, logged = facts.metrics.number("final", name), facts.evaluated(name)
    return max(logged.iloc[-1:], default=None) if value is None else value


@rule(MODEL, ok="whole", watch="some_broken other_length", problem="broken")
def summaries(facts: RunFacts) -> Answer | None:
    """Empty, repeating, broken and punctuation-only summaries in the last evaluation that wrote some."""

    shares = {name: _last(facts, f"{name}_share") for name in ("empty", "repeated", "sentinel")}
    if any(share is None for share in shares.values()):
        return None
    punctuation = _last(facts, "only_punctuation_share")  # runs of earlier versions lack it
    if punctuation is not None:
        shares["only_punctuation"] = punctuation
    worst, ratio = max(shares, key=lambda name: shares[name]), _last(facts, "length_ratio")
    values = shares | {"rouge": _last(facts, "rougeL"), "worst": worst, "ratio": ratio}
    values["characters"] = _last(facts, "repeated_characters")  # runs of earlier versions lack it
    if shares[worst] > BROKEN_LIMITS[0]:
        return Answer("broken" if shares[worst] > BROKEN_LIMITS[1] else "some_broken", values)
    if (values["characters"] or 0) > BROKEN_LIMITS[0]:
        return Answer("some_broken", values | {"worst": "repeated"})
    is_other_length = ratio is not None and not LENGTHS[0] <= ratio <= LENGTHS[1]
    return Answer("other_length" if is_other_length else "whole", values)


def _summarised(facts: RunFacts) -> float | None:
    """The number of summaries that `_last` scores; None if it is not recorded."""
    written = facts.metrics.number("final", "summarised_rows")
    limits = (facts.settings.number("eval_generate_rows"), facts.observed.number("validation_samples"))
    return min((limit for limit in limits if limit is not None), default=None) if written is None else written


@rule(MODEL, ok="distinct", problem="identical")
def distinct_summaries(facts: RunFacts) -> Answer | None:
    """Summaries that equal the summary of another source, as of a model that ignores its input."""
    share, count = _last(facts, "identical_share"), _summarised(facts)  # runs of earlier versions lack the share
    if share is None or (count is not None and count < FEWEST_TO_COMPARE):
        return None
    values: dict[str, object] = {"share": share, "count": count, "limit": MANY_IDENTICAL}
    if share <= MANY_IDENTICAL:
        return Answer("distinct", values)
    needs, advice = more_training(facts)
    if not advice and needs["cure"] != "lower":
        advice = longer(facts, TWICE)
    return Answer("identical", values | needs, advice)


RULES = (truncation, shared_texts, records, vocabulary, summaries, distinct_summaries)
