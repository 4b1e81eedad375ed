"""Rules on the model and its settings, of any kind of run."""

from ..answers import MODEL, Answer, Rule
from ..facts import RunFacts
from .fit import is_far_above

LARGE = 100.0  # trained parameters a value of the training data
WEAK_DECAY, STRONG_DECAY = 0.01, 0.5
AUGMENTATIONS = ("augment_noise", "augment_feature_dropout", "augment_time_shift", "augment_scale")


def fits_data(facts: RunFacts) -> Answer | None:
    """Trained parameters beside the values of the training data, and whether the ratio does harm."""
    trainable, numbers = facts.observed_number("trainable"), training_values(facts)
    if not trainable or not numbers:
        return None
    ratio = trainable / numbers
    values = {"trainable": trainable, "numbers": numbers, "ratio": ratio}
    if is_far_above(facts) and ratio > 1:
        return Answer("too_large", values, {"lora": True} if facts.setting("lora") is False else {})
    return Answer("large" if ratio > LARGE else "fits", values)


def training_values(facts: RunFacts) -> float | None:
    """Numbers, or tokens, in the training data: of candles those that windows show."""
    bars, windows = facts.observed_number("train", "bars"), facts.observed_number("train", "windows")
    if bars:
        lengths = [facts.observed_number("shape", name) for name in ("lookback", "horizon")]
        shown = bars if not windows or None in lengths else windows * (sum(lengths) + 1)
        return 6 * min(bars, shown)
    rows, mean = facts.observed_number("train_samples"), facts.record.get("lengths")
    if rows and isinstance(mean, dict) and isinstance(mean.get("target_mean"), int | float):
        return rows * (mean["target_mean"] + float(mean.get("source_mean") or 0.0))
    return None


def loss_suits(facts: RunFacts) -> Answer | None:
    """Whether the best checkpoint is chosen by a quantity that means something."""
    metric = facts.setting("metric_for_best_model") or facts.record.get("metric_for_best_model")
    if not isinstance(metric, str):
        return None
    term, primary = metric.removeprefix("eval_"), facts.view.primary
    values = {"metric": term, "primary": primary, "lowest": min(facts.evaluated(term).values, default=None)}
    if term in facts.view.signed:
        return Answer("signed", values, {"metric_for_best_model": f"eval_{primary}"})
    return Answer("suits", values)


def optimizer(facts: RunFacts) -> Answer | None:
    """The learning rate beside the range that suits fine-tuning, or random weights, and beta1."""
    rate, name = facts.amount("learning_rate"), facts.setting("optim")
    if rate is None or not isinstance(name, str):
        return None
    low, high = facts.view.usual_rates
    untrained = facts.is_untrained_at_start
    high *= 10.0 if untrained or name == "adafactor" else 1.0
    momentum = bool(facts.setting("one_cycle") and facts.setting("cycle_momentum"))
    values = {"optim": name, "rate": rate, "low": low, "high": high, "beta": facts.amount("adam_beta1")}
    values |= {"untrained": untrained, "momentum": momentum and low <= rate <= high}
    if rate > high:
        # the default is for published weights
        advised = high if untrained else facts.view.default("learning_rate") or high
        return Answer("high", values, {"learning_rate": advised})
    if rate < low:
        return Answer("low", values, {"learning_rate": low})
    return Answer("cycled", values, {"cycle_momentum": False}) if momentum else Answer("usual", values)


def regularisation(facts: RunFacts) -> Answer | None:
    """Weight decay, dropout and augmentation beside the gap between training and validation."""
    decay = facts.amount("weight_decay")
    if decay is None:
        return None
    known = [name for name in AUGMENTATIONS if facts.setting(name) is not None]
    used = [name for name in known if facts.setting(name)]
    config = facts.observed_object("config")
    dropout = [(name.removesuffix("_p"), config[name]) for name in sorted(config) if name.endswith("dropout_p")]
    values = {"decay": decay, "dropout": dropout, "known": len(known), "used": len(used)}
    if is_far_above(facts):
        advice: dict[str, object] = {"weight_decay": 0.1} if decay < WEAK_DECAY else {}
        if known and not used:
            advice["augment_noise"] = True
        return Answer("weak" if advice else "not_enough", values, advice)
    if decay > STRONG_DECAY:
        return Answer("strong", values, {"weight_decay": 0.1})
    return Answer("balanced", values)


def precision(facts: RunFacts) -> Answer | None:
    """The number format of the matrix products, and whether it did harm."""
    if facts.setting("fp16") is None and facts.setting("bf16") is None:
        return None
    kind = "fp16" if facts.setting("fp16") else "bf16" if facts.setting("bf16") else "fp32"
    hardware = facts.record.get("hardware")
    device = hardware.get("device") if isinstance(hardware, dict) else None
    values = {"kind": kind, "products": facts.setting("numerics"), "device": device}
    if kind != "fp16":
        return Answer("fits", values)
    if not (facts.bad_steps or facts.training("loss").lost_at):
        return Answer("fp16", values)
    has_name = facts.setting("precision") is not None
    return Answer("fp16_breaks", values, {"precision": "bf16"} if has_name else {"fp16": False, "bf16": True})


RULES = (
    Rule("fits-data", MODEL, fits_data, "fits", "large", "too_large", on_validation=True),
    Rule("loss-suits", MODEL, loss_suits, "suits", "", "signed", on_validation=True),
    Rule("optimizer", MODEL, optimizer, "usual", "high low cycled"),
    Rule("regularisation", MODEL, regularisation, "balanced", "weak not_enough strong", on_validation=True),
    Rule("precision", MODEL, precision, "fits", "fp16", "fp16_breaks"),
)
