"""Rules on records and summaries: truncated texts, texts in both splits, the vocabulary, and what the model writes."""

from ft_core.report.answers import DATA, MODEL, Answer, Rule
from ft_core.report.facts import RunFacts

CUT_LIMITS = (0.05, 0.2)
FEW_RECORDS, FEW_VALIDATION = 200, 30
COVERED = 0.995
BROKEN_LIMITS = (0.02, 0.2)
LENGTHS = (0.5, 2.0)


def _group(facts: RunFacts, name: str) -> dict[str, float]:
    found = facts.record.get(name)
    found = found if isinstance(found, dict) else {}
    return {key: float(value) for key, value in found.items() if isinstance(value, int | float)}


def truncation(facts: RunFacts) -> Answer | None:
    """Shares of sources and targets that are truncated."""
    lengths = _group(facts, "lengths")
    if not {"source_cut", "target_cut", "source_most", "target_most"} <= lengths.keys():
        return None
    sides = ("source", "target")
    cut = {name: lengths[f"{name}_cut"] for name in sides}
    advice = {f"max_{name}_length": int(lengths[f"{name}_most"]) for name in sides if cut[name] > CUT_LIMITS[0]}
    values: dict[str, object] = {f"{name}_cut": share for name, share in cut.items()}
    values |= {f"{name}_limit": facts.setting(f"max_{name}_length") for name in sides}
    values["limits"] = [f"{name} {value}" for name, value in advice.items()]
    worst = max(cut.values())
    return Answer("fits" if worst <= CUT_LIMITS[0] else "much" if worst > CUT_LIMITS[1] else "some", values, advice)


def shared_texts(facts: RunFacts) -> Answer | None:
    """Training records whose source is also in validation."""
    shared = facts.record.get("shared_sources")
    return Answer("shared" if shared else "apart", {"shared": shared}) if isinstance(shared, int) else None


def records(facts: RunFacts) -> Answer | None:
    """How many records there are."""
    train, validation = (facts.observed_number(f"{name}_samples") for name in ("train", "validation"))
    if train is None or validation is None:
        return None
    values = {"train": train, "validation": validation}
    if validation < FEW_VALIDATION:
        share = facts.amount("validation_share")
        advice = {"validation_share": 0.2} if share and share < 0.2 and not facts.setting("validation_data") else {}
        return Answer("few_validation", values, advice)
    return Answer("few" if train < FEW_RECORDS else "enough", values)


def vocabulary(facts: RunFacts) -> Answer | None:
    """How much of the texts a trimmed vocabulary covers."""
    pieces = _group(facts, "vocabulary")
    if facts.setting("trim_vocab") is False:
        return Answer("not_trimmed")
    if "coverage" not in pieces:
        return None
    values = {name: pieces[name] for name in ("before", "after", "coverage")} | {"growth": pieces.get("unseen_growth")}
    if pieces["coverage"] >= COVERED:
        return Answer("covers", values)
    extra = facts.amount("trim_extra")
    return Answer("loses", values, {"trim_extra": int(2 * extra)} if extra else {})


def summaries(facts: RunFacts) -> Answer | None:
    """Empty, repeating and broken summaries in the last evaluation that wrote some."""
    final = facts.metrics.get("final")
    final = final if isinstance(final, dict) else {}

    def last(name: str) -> float | None:
        value = final.get(name)
        return float(value) if isinstance(value, int | float) else facts.last(name)

    shares = {name: last(f"{name}_share") for name in ("empty", "repeated", "sentinel")}
    if any(share is None for share in shares.values()):
        return None
    worst, ratio = max(shares, key=lambda name: shares[name]), last("length_ratio")
    values = shares | {"rouge": last("rougeL"), "worst": worst, "ratio": ratio}
    if shares[worst] > BROKEN_LIMITS[0]:
        return Answer("broken" if shares[worst] > BROKEN_LIMITS[1] else "some_broken", values)
    is_other_length = ratio is not None and not LENGTHS[0] <= ratio <= LENGTHS[1]
    return Answer("other_length" if is_other_length else "whole", values)


RULES = (
    Rule("truncation", DATA, truncation, "fits", "some", "much"),
    Rule("shared-texts", DATA, shared_texts, "apart", "", "shared"),
    Rule("records", DATA, records, "enough", "few few_validation"),
    Rule("vocabulary", DATA, vocabulary, "covers", "loses", "", "not_trimmed"),
    Rule("summaries", MODEL, summaries, "whole", "some_broken other_length", "broken"),
)
