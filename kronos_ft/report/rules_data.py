"""Rules on candles and windows: how they were cleaned, scaled, cut and split, and whether validation is held out."""

from datetime import datetime

from ft_core.report.answers import DATA, Answer, rule
from ft_core.report.facts import RunFacts
from ft_core.report.rules.symptoms import is_unscaled

CLIP_LIMITS = (0.02, 0.1)
ROUNDING = 1e-3
OFFSET_OF_OWN_SCALE = 0.05
FEW_VALIDATION, FEW_TRAINING = 50, 500
THIN_SHARE = 0.05
MANY_DEFECTS = 0.01
GAP_LIMIT = 0.2


@rule(DATA, ok="clean", watch="mended", problem="many")
def preprocessing(facts: RunFacts) -> Answer | None:
    """Rows that were dropped or repaired on reading."""
    rows, kinds = facts.observed.number("candles", "rows"), facts.observed.group("candles", "defects")
    if rows is None or facts.observed.at("candles", "defects") is None:
        return None
    defects = {kind: kinds.count(kind) for kind in kinds}
    count, missing = sum(defects.values()), facts.observed.number("candles", "missing_bars") or 0
    values = {"rows": rows, "count": count, "missing": missing, "policy": facts.settings.text("policy") or "-"}
    values["kinds"] = [f"{kind} {number}" for kind, number in defects.items()]
    return Answer("many" if count > MANY_DEFECTS * rows else "mended" if count else "clean", values)


@rule(DATA, ok="scaled", problem="unscaled")
def scaling(facts: RunFacts) -> Answer | None:
    """Mean and standard deviation of the model's inputs."""
    std, mean, largest = (facts.observed.number("train", "inputs", name) for name in ("std", "mean", "largest"))
    if std is None or mean is None:
        return None
    values = {"mean": mean, "std": std, "largest": largest or 0.0}
    return Answer("unscaled" if is_unscaled(facts) else "scaled", values)


@rule(DATA, ok="little", watch="some", problem="much not_applied")
def clipping(facts: RunFacts) -> Answer | None:
    """Share of normalised values at the clipping limit."""
    share, clip = facts.observed.number("train", "inputs", "clipped_share"), facts.observed.number("shape", "clip")
    if share is None or clip is None:
        return None
    largest = facts.observed.number("train", "inputs", "largest")
    values = {"share": share, "clip": clip, "largest": largest}
    if largest is not None and largest > clip * (1 + ROUNDING):
        return Answer("not_applied", values)
    if share <= CLIP_LIMITS[0]:
        return Answer("little", values)
    return Answer("much" if share > CLIP_LIMITS[1] else "some", values, {"clip": 2 * clip})


@rule(DATA, ok="past", watch="neither", problem="future")
def scale_from_past(facts: RunFacts) -> Answer | None:
    """Whether the lookback alone sets a window's scale, or the bars to predict too."""
    past, whole = (facts.observed.number("train", "inputs", name) for name in ("lookback_offset", "window_offset"))
    if past is None or whole is None:
        return None
    values = {"past": past, "whole": whole}
    if past <= OFFSET_OF_OWN_SCALE:
        return Answer("past", values)
    return Answer("future" if whole <= OFFSET_OF_OWN_SCALE else "neither", values)


@rule(DATA, ok="enough", watch="few_validation few_training", problem="no_validation")
def windows(facts: RunFacts) -> Answer | None:
    """How many windows there are to train on and to select a checkpoint by."""
    train, validation = facts.observed.number("train", "windows"), facts.observed.number("validation", "windows")
    if train is None:
        return None
    length = (facts.observed.number("shape", "lookback") or 0) + (facts.observed.number("shape", "horizon") or 0) + 1
    values = {"train": train, "validation": validation or 0, "length": length}
    if validation is None:
        return Answer("no_validation", values)
    stride, wide = facts.settings.number("validation_stride"), facts.settings.number("stride")
    if validation < FEW_VALIDATION:
        advice = {"validation_stride": max(int(stride // 4), 1)} if stride and stride > 1 else {}
        return Answer("few_validation", values, advice)
    if train < FEW_TRAINING:
        return Answer("few_training", values, {"stride": 1} if wide and wide > 1 else {})
    return Answer("enough", values)


@rule(DATA, ok="shared_out", watch="thin overlap")
def split(facts: RunFacts) -> Answer | None:
    """How the bars are divided between training and validation."""
    train, validation = facts.observed.number("train", "bars"), facts.observed.number("validation", "bars")
    if not train or not validation:
        return None
    spans = [facts.spans(name).values() for name in ("train", "validation")]
    times = [f"{min(one[0] for one in ends)[:10]} .. {max(one[1] for one in ends)[:10]}" for ends in spans if ends]
    share = validation / (train + validation)
    values = {"train": train, "validation": validation, "share": share, "times": times}
    return Answer("overlap" if facts.is_leaked else "thin" if share < THIN_SHARE else "shared_out", values)


@rule(DATA, ok="unseen", watch="others adjacent", problem="shared")
def leakage(facts: RunFacts) -> Answer | None:
    """Whether validation holds bars that were trained on, or follows training without a gap."""
    shared = facts.observed.number("shared_share")
    if shared is None:
        return None
    values: dict[str, object] = {"shared": shared, "latest": None, "between": None}
    if facts.is_leaked:
        return Answer("shared", values)
    others = _starts_before(facts)
    if others:
        return Answer("others", values | others)
    between, length = _bars_between(facts), facts.observed.number("shape", "lookback")
    horizon = facts.observed.number("shape", "horizon") or 0
    if between is not None and length is not None and between < horizon:
        return Answer("adjacent", values | {"between": between}, {"embargo": int(length + horizon + 1)})
    return Answer("unseen", values)


def _bars_between(facts: RunFacts) -> float | None:
    """The fewest bars between the end of a symbol's training and the start of its validation, by the mean distance
    of its bars; None if the times are not recorded."""
    train, validation = facts.spans("train"), facts.spans("validation")
    bars = facts.observed.number("train", "bars")
    if not bars:
        return None
    try:
        ends = {symbol: [datetime.fromisoformat(end) for end in span] for symbol, span in train.items()}
        starts = {symbol: datetime.fromisoformat(span[0]) for symbol, span in validation.items()}
        one = sum((span[1] - span[0]).total_seconds() for span in ends.values()) / bars
        distances = [(starts[symbol] - ends[symbol][1]).total_seconds() for symbol in starts.keys() & ends.keys()]
    except (TypeError, ValueError):  # a span in another form
        return None
    return max(min(distances) / one - 1, 0.0) if distances and one > 0 else None


def _starts_before(facts: RunFacts) -> dict[str, str]:
    """A symbol whose training reaches past the start of another's validation; empty without one."""
    train, validation = facts.spans("train"), facts.spans("validation")
    latest = max(train, key=lambda symbol: train[symbol][1], default="")
    if len(train) < 2:
        return {}
    early = {symbol: ends for symbol, ends in validation.items() if symbol != latest and ends[0] < train[latest][1]}
    if not early:
        return {}
    first = min(early, key=lambda symbol: early[symbol][0])
    return {"latest": latest, "end": train[latest][1][:10], "first": first, "begin": early[first][0][:10]}


@rule(DATA, ok="few session", watch="many")
def gaps(facts: RunFacts) -> Answer | None:
    """Windows that span missing bars."""
    across, count = facts.observed.number("train", "across_gaps"), facts.observed.number("train", "windows")
    if across is None or not count:
        return None
    values = {"across": across, "windows": count}
    if across / count <= GAP_LIMIT:
        return Answer("few", values)
    markets = facts.observed.at("candles", "markets")
    if isinstance(markets, list) and "session" in markets:
        return Answer("session", values)
    return Answer("many", values, {"max_gap": 0})


RULES = (preprocessing, scaling, clipping, scale_from_past, windows, split, leakage, gaps)
