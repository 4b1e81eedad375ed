"""Rules on the tokenizer's codes and the predictor's tokens."""

import math

from ft_core.report.answers import MODEL, Answer, rule
from ft_core.report.curves import best
from ft_core.report.facts import RunFacts
from ft_core.report.rules.learning_rate import third_of_rate
from ft_core.report.rules.rates import more_training

EXPLAINED_LIMITS = (0.05, 0.5, 0.8)  # of the variance: nothing, problem, watch below them
COLLAPSED, FEW_CODES = 4.0, 12.0  # perplexity
LOST_SHARE = 0.4
FEW_SHARE = 0.2  # of all codes
MARGIN = 0.02  # nats that count
MOST_NATS = 700.0  # whose exponential is a float


@rule(MODEL, ok="most", watch="some", problem="little nothing", on_validation=True)
def explained(facts: RunFacts) -> Answer | None:
    """The reconstruction error beside that of predicting 0 everywhere."""
    level, found = facts.observed.number("validation", "inputs", "mean_square"), best(facts.trained_evaluations)
    if not level or found is None:
        return None
    share = 1 - found[1] / level
    cases = zip(EXPLAINED_LIMITS, ("nothing", "little", "some"), strict=True)
    case = next((case for limit, case in cases if share < limit), "most")
    return Answer(case, {"share": share, "error": found[1], "level": level})


@rule(MODEL, ok="many", watch="few shrinks", problem="collapsed never", on_validation=True)
def code_usage(facts: RunFacts) -> Answer | None:
    """How many codes validation uses, as a perplexity."""
    found = {name: facts.evaluated(f"code_perplexity_{name}") for name in ("s1", "s2")}
    if not all(len(curve) for curve in found.values()):
        return None
    bits = {name: facts.observed.number("config", f"{name}_bits") for name in found}
    codes = {name: 2 ** int(known) for name, known in bits.items() if known}
    books = [
        {"name": name, "first": curve.iloc[0], "last": curve.iloc[-1], "codes": codes.get(name)}
        | {"share": max(facts.evaluated(f"code_usage_{name}").iloc[-1:], default=0.0)}
        for name, curve in found.items()
    ]
    fewest = min(books, key=lambda book: book["last"])
    last = fewest["last"]
    values = {"books": books, "names": [fewest["name"]], "codes": _count(last), "total": fewest["codes"]}
    # a small codebook cannot reach a large number
    few = min([FEW_CODES, *(FEW_SHARE * known for known in codes.values())])
    least = min(COLLAPSED, few)
    low = [book for book in books if book["last"] < least]
    collapsed = [book for book in low if book["first"] >= least]
    if collapsed:
        used = {book["name"]: book["last"] for book in collapsed}
        return Answer("collapsed", values | _listed(used), third_of_rate(facts))
    if low:
        return Answer("never", values | _listed({book["name"]: max(book["first"], book["last"]) for book in low}))
    if last < few:
        has_lost = any(book["last"] < LOST_SHARE * book["first"] for book in books)
        return Answer("shrinks" if has_lost else "few", values)
    return Answer("many", values)


def _count(perplexity: float) -> str:
    """A number of codes; an integer without decimals."""
    return f"{perplexity:.1f}".removesuffix(".0")


def _listed(codes: dict[str, float]) -> dict[str, object]:
    """The names of codebooks, and how many codes they use."""
    return {"names": list(codes), "codes": " / ".join(dict.fromkeys(map(_count, codes.values())))}


@rule(MODEL, ok="beats", watch="one_does_not", problem="does_not", on_validation=True)
def beats_frequencies(facts: RunFacts) -> Answer | None:
    """Cross-entropy of both tokens beside that of knowing only the frequencies of tokens."""
    tokens = []
    for name in ("s1", "s2"):
        entropy, curve = facts.observed.number("token_entropy", name), facts.evaluated(f"ce_{name}")
        if entropy is None or not len(curve):
            return None
        loss = curve.iloc[-1]
        perplexity, baseline = (math.exp(min(one, MOST_NATS)) for one in (loss, entropy))
        tokens.append({"name": name, "loss": loss, "perplexity": perplexity, "entropy": entropy, "baseline": baseline})
    no_better = [one["name"] for one in tokens if one["loss"] - one["entropy"] > -MARGIN]
    gain = sum(one["entropy"] - one["loss"] for one in tokens)
    case = {0: "beats", 1: "one_does_not"}.get(len(no_better), "does_not")
    needs, advice = more_training(facts)
    values = {"tokens": tokens, "names": no_better, "gain": gain, **needs}
    return Answer(case, values, advice if case == "does_not" else {})


@rule(MODEL, ok="true", problem="sampled")
def conditioning(facts: RunFacts) -> Answer | None:
    """Which coarse token the fine one is trained on."""
    kind = facts.settings.text("s1_conditioning")
    if not kind:
        return None
    if kind == "true":
        return Answer("true", {"kind": kind})
    return Answer("sampled", {"kind": kind}, {"s1_conditioning": "true"})
