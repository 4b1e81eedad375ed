"""Rules on the model and its settings, of any kind of run."""

from ..answers import MODEL, Answer, rule
from ..facts import RunFacts
from .fit import is_far_above, last_gap
from .rates import usual_range

LARGE = 100.0  # trained parameters per value of the training data
WEAK_DECAY, STRONG_DECAY = 0.01, 0.5
AUGMENTATIONS = ("augment_noise", "augment_feature_dropout", "augment_time_shift", "augment_scale")


@rule(MODEL, ok="fits", watch="large", problem="too_large", on_validation=True)
def fits_data(facts: RunFacts) -> Answer | None:
    """Trained parameters beside the values of the training data, and whether the ratio does harm."""
    trainable, numbers = facts.observed.number("trainable"), training_values(facts)
    if not trainable or not numbers:
        return None
    ratio = trainable / numbers
    values = {"trainable": trainable, "numbers": numbers, "ratio": ratio, "limit": LARGE}
    values["is_compared"] = last_gap(facts) is not None
    if is_far_above(facts) and ratio > 1:
        return Answer("too_large", values, {"lora": True} if facts.settings.get("lora") is False else {})
    return Answer("large" if ratio > LARGE else "fits", values)


def training_values(facts: RunFacts) -> float | None:
    """Numbers, or tokens, in the training data: of candles those that windows show."""
    bars, windows = facts.observed.number("train", "bars"), facts.observed.number("train", "windows")
    if bars:
        lengths = [facts.observed.number("shape", name) for name in ("lookback", "horizon")]
        shown = bars if not windows or None in lengths else windows * (sum(lengths) + 1)
        return 6 * min(bars, shown)
    rows, target = facts.observed.number("train_samples"), facts.record.number("lengths", "target_mean")
    source = facts.record.number("lengths", "source_mean") or 0.0
    return rows * (target + source) if rows and target is not None else None


@rule(MODEL, ok="suits", problem="signed", on_validation=True)
def loss_suits(facts: RunFacts) -> Answer | None:
    """Whether the best checkpoint is chosen by a quantity that means something."""
    metric = facts.settings.text("metric_for_best_model") or facts.record.text("metric_for_best_model")
    if not metric:
        return None
    term, primary = metric.removeprefix("eval_"), facts.view.primary
    values = {"metric": term, "lowest": min(facts.evaluated(term), default=None)}
    is_signed = term in facts.view.signed
    return (
        Answer("signed", values, {"metric_for_best_model": f"eval_{primary}"}) if is_signed else Answer("suits", values)
    )


@rule(MODEL, ok="usual", watch="high low cycled")
def optimizer(facts: RunFacts) -> Answer | None:
    """The learning rate beside the range that suits fine-tuning, or random weights, and beta1."""
    rate, name = facts.settings.number("learning_rate"), facts.settings.text("optim")
    if rate is None or not name:
        return None
    low, high, raised, lowered = usual_range(facts)
    momentum = bool(facts.settings.get("one_cycle") and facts.settings.get("cycle_momentum")) and low <= rate <= high
    values = {"optim": name, "rate": rate, "low": low, "high": high, "momentum": momentum, "raised": raised}
    values["untrained"] = facts.is_untrained_at_start
    if rate > high:
        return Answer("high", values, {"learning_rate": lowered})
    if rate < low:
        return Answer("low", values, {"learning_rate": raised})
    return Answer("cycled", values, {"cycle_momentum": False}) if momentum else Answer("usual", values)


@rule(MODEL, ok="balanced", watch="weak not_enough strong", on_validation=True)
def regularisation(facts: RunFacts) -> Answer | None:
    """Weight decay, dropout and augmentation beside the gap between training and validation."""
    decay = facts.settings.number("weight_decay")
    if decay is None:
        return None
    known = [name for name in AUGMENTATIONS if facts.settings.get(name) is not None]
    used = [name for name in known if facts.settings.get(name)]
    config = facts.observed.group("config")
    dropout = [(name.removesuffix("_p"), config.number(name)) for name in sorted(config) if name.endswith("dropout_p")]
    values = {"decay": decay, "dropout": dropout, "known": len(known), "used": len(used)}
    if is_far_above(facts):
        advice: dict[str, object] = {"weight_decay": 0.1} if decay < WEAK_DECAY else {}
        advice |= {"augment_noise": True} if known and not used else {}
        return Answer("weak" if advice else "not_enough", values, advice)
    return Answer("strong", values, {"weight_decay": 0.1}) if decay > STRONG_DECAY else Answer("balanced", values)


@rule(MODEL, ok="fits", watch="fp16", problem="fp16_breaks")
def precision(facts: RunFacts) -> Answer | None:
    """The number format of the matrix products, and whether it did harm."""
    kinds = {name: facts.settings.get(name) for name in ("fp16", "bf16")}
    if all(is_on is None for is_on in kinds.values()):
        return None
    values = {"kind": next((name for name, is_on in kinds.items() if is_on), "fp32")}
    if values["kind"] != "fp16":
        return Answer("fits", values)
    if not (facts.bad_steps or facts.lost("loss")):
        return Answer("fp16", values)
    has_name = facts.settings.get("precision") is not None
    return Answer("fp16_breaks", values, {"precision": "bf16"} if has_name else {"fp16": False, "bf16": True})
