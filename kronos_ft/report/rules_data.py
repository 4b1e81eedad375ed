"""Rules on candles and windows: how they were cleaned, scaled, cut and split, and whether validation is unseen."""

from datetime import datetime

from ft_core.report.answers import DATA, Outcome, Rule, number, ok, problem, watch
from ft_core.report.facts import RunFacts
from ft_core.report.symptoms import is_unscaled

CLIP_LIMITS = (0.02, 0.1)
ROUNDING = 1e-3
OFFSET_OF_OWN_SCALE = 0.05
FEW_VALIDATION, FEW_TRAINING = 50, 500
THIN_SHARE = 0.05
MANY_DEFECTS = 0.01
GAP_LIMIT = 0.2


def preprocessing(facts: RunFacts) -> Outcome | None:
    """Rows that were dropped or mended on reading."""
    rows, defects = facts.observed_number("candles", "rows"), facts.observed("candles", "defects")
    if rows is None or not isinstance(defects, dict):
        return None
    count, missing = sum(defects.values()), facts.observed_number("candles", "missing_bars") or 0
    figure = f"{rows:,.0f} rows, {count:,} with a defect, {missing:,.0f} bars missing"
    kinds = ", ".join(f"{kind} {number}" for kind, number in defects.items())
    values = {"policy": facts.setting("policy") or "-", "kinds": kinds or "-"}
    if not count:
        return Outcome("clean", figure, values)
    return Outcome("many" if count > MANY_DEFECTS * rows else "mended", figure, values)


def scaling(facts: RunFacts) -> Outcome | None:
    """Mean and standard deviation of what the model was fed."""
    std, mean = (facts.observed_number("train", "inputs", name) for name in ("std", "mean"))
    largest = facts.observed_number("train", "inputs", "largest")
    if std is None or mean is None:
        return None
    figure = f"mean {number(mean)}, standard deviation {number(std)}, largest {number(largest or 0.0)}"
    return Outcome("unscaled" if is_unscaled(facts) else "scaled", figure)


def clipping(facts: RunFacts) -> Outcome | None:
    """Share of normalised values at their bound."""
    share, clip = facts.observed_number("train", "inputs", "clipped_share"), facts.observed_number("shape", "clip")
    if share is None or clip is None:
        return None
    largest = facts.observed_number("train", "inputs", "largest")
    if largest is not None and largest > clip * (1 + ROUNDING):
        return Outcome("not_applied", f"bound {clip:g}, largest {number(largest)}", {"clip": f"{clip:g}"})
    figure = f"{share:.2%} of values at the bound of {clip:g}".replace("%", " %")
    if share <= CLIP_LIMITS[0]:
        return Outcome("little", figure)
    return Outcome("much" if share > CLIP_LIMITS[1] else "some", figure, {}, {"clip": 2 * clip})


def scale_from_past(facts: RunFacts) -> Outcome | None:
    """Whether the lookback alone sets a window's scale, or the bars to predict too."""
    past, whole = (facts.observed_number("train", "inputs", name) for name in ("lookback_offset", "window_offset"))
    if past is None or whole is None:
        return None
    figure = f"mean offset {number(past)} over the lookback, {number(whole)} over the window"
    if past <= OFFSET_OF_OWN_SCALE:
        return Outcome("past", figure)
    return Outcome("future" if whole <= OFFSET_OF_OWN_SCALE else "neither", figure)


def windows(facts: RunFacts) -> Outcome | None:
    """How many windows there are to train on and to choose a checkpoint by."""
    train, validation = facts.observed_number("train", "windows"), facts.observed_number("validation", "windows")
    if train is None:
        return None
    length = (facts.observed_number("shape", "lookback") or 0) + (facts.observed_number("shape", "horizon") or 0) + 1
    figure = f"{train:,.0f} training and {validation or 0:,.0f} validation windows of {length:.0f} bars"
    stride = facts.amount("validation_stride")
    if validation is None:
        return Outcome("no_validation", figure)
    if validation < FEW_VALIDATION:
        advice = {"validation_stride": max(int(stride // 4), 1)} if stride and stride > 1 else {}
        return Outcome("few_validation", figure, {"count": f"{validation:.0f}"}, advice)
    if train < FEW_TRAINING:
        wide = facts.amount("stride")
        return Outcome("few_training", figure, {"count": f"{train:.0f}"}, {"stride": 1} if wide and wide > 1 else {})
    return Outcome("enough", figure)


def split(facts: RunFacts) -> Outcome | None:
    """How the bars are shared out between training and validation."""
    train, validation = facts.observed_number("train", "bars"), facts.observed_number("validation", "bars")
    if not train or not validation:
        return None
    share = validation / (train + validation)
    ends = [facts.observed(name, "spans") for name in ("train", "validation")]
    times = [
        " .. ".join((min(one[0] for one in spans.values())[:10], max(one[1] for one in spans.values())[:10]))
        for spans in ends
        if isinstance(spans, dict) and spans
    ]
    figure = f"{train:,.0f} bars to train on, {validation:,.0f} to validate on ({share:.0%}); ".replace("%", " %")
    figure += ", ".join(times)
    figure, values = figure.rstrip("; "), {"share": f"{share:.1%}".replace("%", " %")}
    if facts.is_leaked:
        return Outcome("overlap", figure, values)
    return Outcome("thin" if share < THIN_SHARE else "shared_out", figure, values)


def leakage(facts: RunFacts) -> Outcome | None:
    """Whether validation holds bars that were trained on, or follows training without a distance."""
    shared = facts.observed_number("shared_share")
    if shared is None:
        return None
    figure = f"{shared:.1%} of the time of validation lies inside training".replace("%", " %")
    if facts.is_leaked:
        return Outcome("shared", figure, {"share": f"{shared:.0%}".replace("%", " %")})
    later = _starts_before(facts)
    if later:
        return Outcome("others", f"{figure}; {later}")
    between, length = _bars_between(facts), facts.observed_number("shape", "lookback")
    horizon = facts.observed_number("shape", "horizon") or 0
    if between is not None and length is not None and between < horizon:
        figure += f", {between:,.0f} bars between both"
        return Outcome("adjacent", figure, {}, {"embargo": int(length + horizon + 1)})
    return Outcome("unseen", figure)


def _bars_between(facts: RunFacts) -> float | None:
    """The fewest bars between the end of a symbol's training and the start of its validation, of the mean distance
    of its bars; None where the times are not recorded."""
    train, validation = (facts.observed(name, "spans") for name in ("train", "validation"))
    bars = facts.observed_number("train", "bars")
    if not isinstance(train, dict) or not isinstance(validation, dict) or not bars:
        return None
    try:
        ends = {symbol: [datetime.fromisoformat(end) for end in span] for symbol, span in train.items()}
        starts = {symbol: datetime.fromisoformat(span[0]) for symbol, span in validation.items()}
        one = sum((span[1] - span[0]).total_seconds() for span in ends.values()) / bars
        distances = [(starts[symbol] - ends[symbol][1]).total_seconds() for symbol in starts.keys() & ends.keys()]
    except (TypeError, ValueError):  # a span in another form
        return None
    return max(min(distances) / one - 1, 0.0) if distances and one > 0 else None


def _starts_before(facts: RunFacts) -> str:
    """Words on a symbol whose training reaches past the start of another's validation; empty without one."""
    train, validation = (facts.observed(name, "spans") for name in ("train", "validation"))
    if not isinstance(train, dict) or not isinstance(validation, dict) or len(train) < 2:
        return ""
    latest = max(train, key=lambda symbol: train[symbol][1])
    early = {symbol: ends for symbol, ends in validation.items() if symbol != latest and ends[0] < train[latest][1]}
    if not early:
        return ""
    first = min(early, key=lambda symbol: early[symbol][0])
    return f"training of {latest} ends {train[latest][1][:10]}, validation of {first} begins {early[first][0][:10]}"


def gaps(facts: RunFacts) -> Outcome | None:
    """Windows that span missing bars."""
    across, count = facts.observed_number("train", "across_gaps"), facts.observed_number("train", "windows")
    if across is None or not count:
        return None
    share = across / count
    figure = f"{across:,.0f} of {count:,.0f} training windows span a gap"
    if share <= GAP_LIMIT:
        return Outcome("few", figure)
    session = "session" in (facts.observed("candles", "markets") or ())
    return Outcome("session" if session else "many", figure, {}, {} if session else {"max_gap": 0})


RULES = (
    Rule(
        "preprocessing",
        DATA,
        "Were the candles clean?",
        "K 线数据干净吗？",
        preprocessing,
        {
            "clean": ok("no row had a defect.", "没有异常行。"),
            "mended": watch(
                "some rows had a defect, treated by policy {policy}: {kinds}.",
                "部分行有异常，按 {policy} 策略处理：{kinds}。",
            ),
            "many": problem(
                "more than 1 % of the rows had a defect ({kinds}): look for a better source.",
                "超过 1 % 的行有异常（{kinds}）：请寻找更好的数据来源。",
            ),
        },
        ("the quality of the candles was not recorded", "没有记录 K 线质量"),
        zh_figure=(
            (r"([\d,]+) rows, ([\d,]+) with a defect, ([\d,]+) bars missing", r"\1 行，异常 \2 行，缺失 \3 根 K 线"),
        ),
    ),
    Rule(
        "scaling",
        DATA,
        "Are the inputs scaled?",
        "输入做了归一化吗？",
        scaling,
        {
            "scaled": ok("what the model is fed is centred and of unit size.", "模型的输入已居中，尺度接近 1。"),
            "unscaled": problem(
                "the model is fed values of a size that it was not made for: windows were not normalised; "
                "leave that to "
                "WindowDataset.",
                "输入的数值尺度超出模型的设计范围：窗口没有归一化；请交给 WindowDataset 处理。",
            ),
        },
        ("the inputs were not looked at when the run began", "训练开始时没有记录输入统计"),
        zh_figure=((r"mean (\S+), standard deviation (\S+), largest", r"均值 \1，标准差 \2，最大"),),
    ),
    Rule(
        "clipping",
        DATA,
        "Does clipping spare the data?",
        "截断边界合适吗？",
        clipping,
        {
            "little": ok("hardly a value lies at the bound.", "几乎没有数值触及边界。"),
            "some": watch(
                "a noticeable share lies at the bound: jumps are cut off.", "相当一部分数值触及边界：大幅波动被截断。"
            ),
            "much": problem(
                "a large share lies at the bound: the model does not see how far prices move.",
                "大量数值触及边界：模型看不到价格真实的波动幅度。",
            ),
            "not_applied": problem(
                "values lie far beyond the bound of {clip}: clipping was not applied.",
                "数值远超截断边界 ±{clip}：没有执行截断。",
            ),
        },
        ("the inputs were not looked at when the run began", "训练开始时没有记录输入统计"),
        zh_figure=(
            (r"(\S+ %) of values at the bound of (\S+)", r"\1 的数值触及截断边界 ±\2"),
            (r"bound (\S+), largest", r"截断边界 ±\1，最大"),
        ),
    ),
    Rule(
        "scale-from-past",
        DATA,
        "Does the scale come from the past alone?",
        "归一化只用了过去的数据吗？",
        scale_from_past,
        {
            "past": ok("the lookback alone sets the scale of a window.", "窗口的尺度只由历史窗口（lookback）决定。"),
            "future": problem(
                "windows are centred as a whole: the bars to predict set the scale too, which no forecast can know.",
                "窗口按整体居中：待预测的 K 线也参与了归一化，而实际预测时无从得知。",
            ),
            "neither": watch(
                "neither the lookback nor the window is centred: windows have another scale.",
                "历史窗口（lookback）和整个窗口都没有居中：窗口使用了别的尺度。",
            ),
        },
        ("the inputs were not looked at when the run began", "训练开始时没有记录输入统计"),
        zh_figure=((r"mean offset (\S+) over the lookback, (\S+) over the window", r"平均偏移：历史窗口 \1，整窗 \2"),),
    ),
    Rule(
        "windows",
        DATA,
        "Are there enough windows?",
        "窗口数量足够吗？",
        windows,
        {
            "enough": ok("enough to train on and to choose by.", "足以训练和选择检查点。"),
            "few_validation": watch(
                "{count} validation windows are few to choose a checkpoint by: its rank is chance.",
                "只有 {count} 个验证窗口，用来选择检查点偏少：排名可能出于偶然。",
            ),
            "few_training": watch(
                "{count} training windows are few: they will soon be known by heart.",
                "只有 {count} 个训练窗口：很快会被记住。",
            ),
            "no_validation": problem(
                "there is nothing to validate on: nobody can tell if it helps.", "没有验证数据：无法判断训练是否有效。"
            ),
        },
        ("the windows were not counted", "没有记录窗口数量"),
        zh_figure=(
            (
                r"([\d,]+) training and ([\d,]+) validation windows of (\d+) bars",
                r"训练窗口 \1，验证窗口 \2，每窗 \3 根 K 线",
            ),
        ),
    ),
    Rule(
        "split",
        DATA,
        "Is the split sound?",
        "数据划分合理吗？",
        split,
        {
            "shared_out": ok("both splits hold a fair share of the bars.", "训练集与验证集占比合理。"),
            "thin": watch(
                "validation is a sliver of {share}: one calm or wild week decides.",
                "验证部分只占 {share}：一周的平静或剧烈行情就会左右结果。",
            ),
            "overlap": watch("the splits overlap, see leakage.", "训练集与验证集时间重叠，见 leakage。"),
        },
        ("the splits were not recorded", "没有记录数据划分"),
        zh_figure=((r"([\d,]+) bars to train on, ([\d,]+) to validate on", r"训练 \1 根，验证 \2 根"),),
    ),
    Rule(
        "leakage",
        DATA,
        "Is validation unseen?",
        "验证数据没有泄漏吗？",
        leakage,
        {
            "unseen": ok("no bar of validation was trained on.", "没有任何验证 K 线参与训练。"),
            "shared": problem(
                "{share} of validation lies inside training: its figures say how well bars are remembered, not how "
                "well the model does on new ones; build both splits with the same ratios (or dates) and embargo "
                "(split_ratios or split_dates on the command line).",
                "验证区间有 {share} 与训练区间重叠：验证结果只反映模型对已见数据的记忆，不说明对新数据的能力；"
                "构建训练集与验证集时请传入相同的 ratios（或 dates）和 embargo"
                "（命令行为 split_ratios / split_dates）。",
            ),
            "others": watch(
                "another symbol was trained on the same days: markets move together; set dates (split_dates on the "
                "command line).",
                "其他标的在同一时期参与了训练：市场会联动；请设置 dates（命令行为 split_dates）。",
            ),
            "adjacent": watch(
                "validation begins right after training, without an embargo: the first windows are close to "
                "trained ones.",
                "验证紧接训练之后，没有隔离：最初的窗口与训练数据相近。",
            ),
        },
        ("training and validation were not both recorded", "没有同时记录训练与验证区间"),
        zh_figure=(
            (r"(\S+ %) of the time of validation lies inside training", r"验证时间的 \1 落在训练区间内"),
            (r"training of (.+) ends (\S+), validation of (.+) begins (\S+)", r"\1 的训练止于 \2，\3 的验证始于 \4"),
            (r"([\d,]+) bars between both", r"两者相隔 \1 根 K 线"),
        ),
    ),
    Rule(
        "gaps",
        DATA,
        "Are windows without gaps?",
        "窗口内没有缺口吗？",
        gaps,
        {
            "few": ok("few windows or none span missing bars.", "极少或没有窗口跨越缺失的 K 线。"),
            "session": ok(
                "windows span the nights and weekends of a session market, as they must.",
                "窗口跨越交易时段之间的夜间和周末，属正常情况。",
            ),
            "many": watch(
                "many windows span missing bars in a market that trades around the clock.",
                "在全天交易的市场中，许多窗口跨越了缺失的 K 线。",
            ),
        },
        ("the windows were not counted", "没有记录窗口数量"),
        zh_figure=((r"([\d,]+) of ([\d,]+) training windows span a gap", r"\2 个训练窗口中有 \1 个跨越缺口"),),
    ),
)
