"""Rules on the model and its settings, of any kind of run."""

from ..answers import MODEL, Outcome, Rule, number, ok, problem, watch
from ..facts import RunFacts
from .fit import EASIER_NATS, EASIER_RATIO, NATS_LIMITS, RATIO_LIMITS

LARGE = 100.0  # trained parameters a value of the training data
WEAK_DECAY, STRONG_DECAY = 0.01, 0.5
MANY_EPOCHS = 3.0


def fits_data(facts: RunFacts) -> Outcome | None:
    """Trained parameters beside the values of the training data, and whether that shows."""
    trainable, values = facts.observed_number("trainable"), training_values(facts)
    if not trainable or not values:
        return None
    ratio = trainable / values
    figure = f"{trainable:,.0f} trained parameters, {values:,.0f} training values (x {ratio:.3g})"
    apart = _gap_case(facts)
    shown = {"ratio": number(ratio)}
    if apart > 0 and ratio > 1:
        return Outcome("too_large", figure, shown, {"lora": True} if facts.setting("lora") is False else {})
    if ratio > LARGE:
        return Outcome("large", figure, shown)
    return Outcome("fits", figure, shown)


def training_values(facts: RunFacts) -> float | None:
    """Numbers, or tokens, that the training data hold: of candles those that a window shows."""
    bars, windows = facts.observed_number("train", "bars"), facts.observed_number("train", "windows")
    if bars:
        lengths = [facts.observed_number("shape", name) for name in ("lookback", "horizon")]
        shown = bars if not windows or None in lengths else windows * (sum(lengths) + 1)
        return 6 * min(bars, shown)
    rows, mean = facts.observed_number("train_samples"), facts.record.get("lengths")
    if rows and isinstance(mean, dict) and isinstance(mean.get("target_mean"), int | float):
        return rows * (mean["target_mean"] + float(mean.get("source_mean") or 0.0))
    return None


def _gap_case(facts: RunFacts) -> int:
    """1 where validation lies clearly above training at the end, -1 where it lies far below, else 0."""
    if not facts.gaps:
        return 0
    gap, nats = facts.gaps[-1], facts.view.in_nats
    if not nats and min(gap.training, gap.validation) <= 0:  # a ratio says nothing
        return 0
    size, limits = (gap.difference, NATS_LIMITS) if nats else (gap.ratio, RATIO_LIMITS)
    return (size > limits[1]) - (size < (EASIER_NATS if nats else EASIER_RATIO))


def loss_suits(facts: RunFacts) -> Outcome | None:
    """Whether the best checkpoint is chosen by a quantity that means something."""
    metric = facts.setting("metric_for_best_model") or facts.record.get("metric_for_best_model")
    if not isinstance(metric, str):
        return None
    term = metric.removeprefix("eval_")
    values = {"metric": term, "primary": facts.view.primary}
    lowest = min(facts.evaluated(term).values, default=None)
    figure = f"best checkpoint by eval_{term}" + ("" if lowest is None else f", lowest {number(lowest)}")
    if term in facts.view.signed:
        return Outcome("signed", figure, values, {"metric_for_best_model": f"eval_{facts.view.primary}"})
    return Outcome("suits", figure, values)


def optimizer(facts: RunFacts) -> Outcome | None:
    """The learning rate beside what such runs do well with, and beta1."""
    rate, name = facts.amount("learning_rate"), facts.setting("optim")
    if rate is None or not isinstance(name, str):
        return None
    low, high = facts.view.usual_rates
    factor = 10.0 if facts.is_untrained_at_start or name == "adafactor" else 1.0
    beta = facts.amount("adam_beta1")
    figure = f"{name}, learning_rate {rate:g} (usual {low:g} to {factor * high:g})"
    values = {
        "rate": f"{rate:g}",
        "low": f"{low:g}",
        "high": f"{factor * high:g}",
        "beta": f"{beta:g}" if beta else "-",
    }
    if rate > factor * high:
        return Outcome("high", figure, values, {"learning_rate": facts.view.default("learning_rate") or factor * high})
    if rate < low:
        return Outcome("low", figure, values, {"learning_rate": low})
    if facts.setting("one_cycle") and facts.setting("cycle_momentum"):
        return Outcome("cycled", f"{figure}, cycle_momentum", values, {"cycle_momentum": False})
    return Outcome("usual", figure, values)


def regularisation(facts: RunFacts) -> Outcome | None:
    """Weight decay, dropout and augmentation beside the gap between training and validation."""
    decay = facts.amount("weight_decay")
    if decay is None:
        return None
    switches = ("augment_noise", "augment_feature_dropout", "augment_time_shift", "augment_scale")
    known = [name for name in switches if facts.setting(name) is not None]
    used = [name for name in known if facts.setting(name)]
    config = facts.observed("config")
    config = config if isinstance(config, dict) else {}
    dropout = [f"{name.removesuffix('_p')} {config[name]:g}" for name in sorted(config) if name.endswith("dropout_p")]
    figure = ", ".join(
        [f"weight_decay {decay:g}", *dropout, f"augmentation {len(used)} of {len(known)}" if known else ""]
    )
    figure = figure.removesuffix(", ")
    gap = _gap_case(facts)
    if gap > 0:
        advice: dict[str, object] = {"weight_decay": 0.1} if decay < WEAK_DECAY else {}
        if known and not used:
            advice["augment_noise"] = True
        return Outcome("weak" if advice else "not_enough", figure, {}, advice)
    if decay > STRONG_DECAY:
        return Outcome("strong", figure, {}, {"weight_decay": 0.1})
    return Outcome("balanced", figure)


def precision(facts: RunFacts) -> Outcome | None:
    """What the products were computed in, and whether it shows."""
    if facts.setting("fp16") is None and facts.setting("bf16") is None:
        return None
    kind = "fp16" if facts.setting("fp16") else "bf16" if facts.setting("bf16") else "fp32"
    products = facts.setting("numerics")
    hardware = facts.record.get("hardware")
    device = hardware.get("device") if isinstance(hardware, dict) else None
    figure = f"{kind}" + (f", products {products}" if products else "") + (f", {device}" if device else "")
    if kind == "fp16":
        bad = facts.bad_steps or facts.training("loss").lost
        names = facts.setting("precision") is not None
        advice = {"precision": "bf16"} if names else {"fp16": False, "bf16": True}
        return Outcome("fp16_breaks" if bad else "fp16", figure, {}, advice if bad else {})
    return Outcome("fits", figure)


RULES = (
    Rule(
        "fits-data",
        MODEL,
        "Does the model's size fit the data?",
        "模型大小与数据匹配吗？",
        fits_data,
        {
            "fits": ok("the size shows no harm beside these data.", "对这些数据而言，模型大小没有造成问题。"),
            "large": watch(
                "{ratio} parameters are trained for each value of the data: watch validation closely, or train fewer.",
                "每个训练数值对应 {ratio} 个可训练参数：请密切关注验证，或减少可训练参数。",
            ),
            "too_large": problem(
                "there are {ratio} trained parameters for each value, and validation lies far above "
                "training: the model "
                "memorises; bring more data, or train fewer parameters.",
                "每个数值对应 {ratio} 个可训练参数，且验证值远高于训练值：模型在死记；请增加数据或减少可训练参数。",
            ),
        },
        ("the size of model or data is not recorded", "没有记录模型或数据的规模"),
        zh_figure=(
            (r"([\d,]+) trained parameters, ([\d,]+) training values", r"训练数据共 \2 个数值，可训练参数 \1"),
            (r"\(x (\S+)\)", r"（参数 / 数值 = \1）"),
        ),
        on_validation=True,
    ),
    Rule(
        "loss-suits",
        MODEL,
        "Are checkpoints chosen by what is wanted?",
        "选择检查点的指标合适吗？",
        loss_suits,
        {
            "suits": ok(
                "checkpoints are ranked by {metric}, which cannot be rewarded below zero.",
                "检查点按 {metric} 排序，它不会因奖励项降到零以下。",
            ),
            "signed": problem(
                "checkpoints are ranked by {metric}, which contains a reward and may fall, even below zero, while "
                "{primary} gets worse; rank "
                "by {primary}.",
                "检查点按 {metric} 排序，其中含有奖励项，可能在 {primary} 变差时继续下降甚至为负；请按 "
                "{primary} 排序。",
            ),
        },
        ("no metric chooses the best checkpoint", "没有用于选择最佳检查点的指标"),
        zh_figure=(
            (r"best checkpoint by (\w+)", r"按 \1 选择检查点"),
            (r"lowest", r"最低"),
        ),
        on_validation=True,
    ),
    Rule(
        "optimizer",
        MODEL,
        "Is the optimizer set as usual?",
        "优化器设置常规吗？",
        optimizer,
        {
            "usual": ok("the learning rate {rate} is in the usual range.", "学习率 {rate} 在常用范围内。"),
            "high": watch(
                "the learning rate {rate} is above the usual range ({low} to {high}).",
                "学习率 {rate} 高于常用范围（{low} 至 {high}）。",
            ),
            "low": watch(
                "the learning rate {rate} is below the usual range ({low} to {high}).",
                "学习率 {rate} 低于常用范围（{low} 至 {high}）。",
            ),
            "cycled": watch(
                "cycle_momentum overwrites beta1 {beta} with a cycle between 0.85 and 0.95.",
                "cycle_momentum 会用 0.85 到 0.95 的循环覆盖 beta1 {beta}。",
            ),
        },
        ("optimizer or learning rate is not recorded", "没有记录优化器或学习率"),
        zh_figure=((r"\(usual (\S+) to (\S+)\)", r"（常用 \1 至 \2）"),),
    ),
    Rule(
        "regularisation",
        MODEL,
        "Is the regularisation balanced?",
        "正则化适度吗？",
        regularisation,
        {
            "balanced": ok(
                "training and validation ask for neither more nor less of it.", "训练与验证的差距表明无需增减。"
            ),
            "weak": watch(
                "validation lies far above training and there is little against it.",
                "验证值远高于训练值，而正则化很弱。",
            ),
            "not_enough": watch(
                "validation lies far above training in spite of it: more or other data would help more "
                "than more of it.",
                "尽管已有正则化，验证值仍远高于训练值：更多或不同的数据比更强的正则化更有效。",
            ),
            "strong": watch("weight decay is so strong that it holds back what is learnt.", "权重衰减过强，妨碍学习。"),
        },
        ("weight decay is not recorded", "没有记录权重衰减"),
        zh_figure=((r"augmentation (\d) of (\d)", r"数据增强 \1 / \2"),),
        on_validation=True,
    ),
    Rule(
        "precision",
        MODEL,
        "Is the precision safe?",
        "数值精度安全吗？",
        precision,
        {
            "fits": ok(
                "this precision has the range that losses and gradients need.", "该精度的数值范围足以容纳损失和梯度。"
            ),
            "fp16": watch(
                "fp16 overflows above 65,504: bf16 or fp32 are safer.",
                "fp16 超过 65,504 就会溢出：bf16 或 fp32 更安全。",
            ),
            "fp16_breaks": problem(
                "fp16 and steps that were not finite: use bf16, or fp32.",
                "使用 fp16 且出现非有限值：请改用 bf16 或 fp32。",
            ),
        },
        ("the precision is not recorded", "没有记录精度"),
        zh_figure=((r"products", r"矩阵乘法"),),
    ),
)
