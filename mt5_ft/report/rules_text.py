"""Rules on records and summaries: cut texts, texts on both sides, the vocabulary, and what the model writes."""

from ft_core.report.answers import DATA, MODEL, Outcome, Rule, number, ok, problem, silent, watch
from ft_core.report.facts import RunFacts

CUT_LIMITS = (0.05, 0.2)
FEW_RECORDS, FEW_VALIDATION = 200, 30
COVERED = 0.995
BROKEN_LIMITS = (0.02, 0.2)
LENGTHS = (0.5, 2.0)
ZH_BROKEN = {"empty": "空白", "repeated": "重复", "sentinel": "残留占位符"}


def _group(facts: RunFacts, name: str) -> dict[str, float]:
    found = facts.record.get(name)
    return {key: float(value) for key, value in found.items() if isinstance(value, int | float)} if (
        isinstance(found, dict)
    ) else {}  # fmt: skip


def truncation(facts: RunFacts) -> Outcome | None:
    """Shares of sources and targets that their limits cut off."""
    lengths = _group(facts, "lengths")
    if not {"source_cut", "target_cut", "source_most", "target_most"} <= lengths.keys():
        return None
    figure = ", ".join(
        f"{lengths[f'{name}_cut']:.1%} of {name}s cut at {facts.setting(f'max_{name}_length')}".replace("%", " %")
        for name in ("source", "target")
    )
    advice = {
        f"max_{name}_length": int(lengths[f"{name}_most"])
        for name in ("source", "target")
        if lengths[f"{name}_cut"] > CUT_LIMITS[0]
    }
    worst = max(lengths["source_cut"], lengths["target_cut"])
    if worst <= CUT_LIMITS[0]:
        return Outcome("fits", figure)
    values = {"limits": ", ".join(f"{name} {value}" for name, value in advice.items())}
    return Outcome("much" if worst > CUT_LIMITS[1] else "some", figure, values, advice)


def shared_texts(facts: RunFacts) -> Outcome | None:
    """Training records whose source is validated on."""
    shared = facts.record.get("shared_sources")
    if not isinstance(shared, int):
        return None
    figure = f"{shared:,} training records with the source of a validation record"
    return Outcome("shared" if shared else "apart", figure)


def records(facts: RunFacts) -> Outcome | None:
    """How many records there are."""
    train, validation = (facts.observed_number(f"{name}_samples") for name in ("train", "validation"))
    if train is None or validation is None:
        return None
    figure = f"{train:,.0f} to train on, {validation:,.0f} to validate on"
    if validation < FEW_VALIDATION:
        share = facts.amount("validation_share")
        advice = {"validation_share": 0.2} if share and share < 0.2 and not facts.setting("validation_data") else {}
        return Outcome("few_validation", figure, {"count": f"{validation:.0f}"}, advice)
    return Outcome("few" if train < FEW_RECORDS else "enough", figure, {"count": f"{train:.0f}"})


def vocabulary(facts: RunFacts) -> Outcome | None:
    """How much of the texts a trimmed vocabulary covers."""
    pieces = _group(facts, "vocabulary")
    if facts.setting("trim_vocab") is False:
        return Outcome("not_trimmed", "trim_vocab false")
    if "coverage" not in pieces:
        return None
    growth = f", {pieces['unseen_growth']:+.1%} tokens on unseen texts" if "unseen_growth" in pieces else ""
    figure = f"{pieces['before']:,.0f} -> {pieces['after']:,.0f} pieces, {pieces['coverage']:.2%} covered{growth}"
    covered = pieces["coverage"] >= COVERED
    extra = facts.amount("trim_extra")
    advice = {} if covered or not extra else {"trim_extra": int(2 * extra)}
    return Outcome("covers" if covered else "loses", figure.replace("%", " %"), {}, advice)


def summaries(facts: RunFacts) -> Outcome | None:
    """Empty, repeating and broken summaries in the last evaluation that wrote some."""
    final = facts.metrics.get("final")
    final = final if isinstance(final, dict) else {}

    def last(name: str) -> float | None:
        value = final.get(name)
        return float(value) if isinstance(value, int | float) else facts.last(name)

    shares = {name: last(f"{name}_share") for name in ("empty", "repeated", "sentinel")}
    if any(share is None for share in shares.values()):
        return None
    rouge, ratio = last("rougeL"), last("length_ratio")
    figure = ", ".join(f"{name} {share:.1%}".replace("%", " %") for name, share in shares.items())
    if rouge is not None:
        figure = f"rougeL {number(rouge)}, {figure}"
    worst = max(shares, key=lambda name: shares[name])
    values = {"worst": worst, "zh_worst": ZH_BROKEN[worst], "ratio": f"{ratio:.2f}" if ratio is not None else "-"}
    if shares[worst] > BROKEN_LIMITS[1]:
        return Outcome("broken", figure, values)
    if shares[worst] > BROKEN_LIMITS[0]:
        return Outcome("some_broken", figure, values)
    if ratio is not None and not LENGTHS[0] <= ratio <= LENGTHS[1]:
        return Outcome("other_length", f"{figure}, length ratio {ratio:.2f}", values)
    return Outcome("whole", figure, values)


RULES = (
    Rule(
        "truncation",
        DATA,
        "Do the texts fit their limits?",
        "文本在长度限制之内吗？",
        truncation,
        {
            "fits": ok("hardly a text is cut off.", "几乎没有文本被截断。"),
            "some": watch(
                "some texts are cut off; 95 % of them would fit {limits}.",
                "部分文本被截断；{limits} 可容纳其中 95 %。",
            ),
            "much": problem(
                "many texts are cut off, and the model never learns how they end; 95 % would fit {limits}.",
                "许多文本被截断，模型学不到它们的结尾；{limits} 可容纳其中 95 %。",
            ),
        },
        ("lengths were not recorded", "没有记录长度"),
        zh_figure=(
            (
                r"(\S+ %) of sources cut at (\S+), (\S+ %) of targets cut at (\S+)",
                r"\1 的原文在 \2 处截断，\3 的目标在 \4 处截断",
            ),
        ),
    ),
    Rule(
        "shared-texts",
        DATA,
        "Is validation unseen?",
        "验证数据没有泄漏吗？",
        shared_texts,
        {
            "apart": ok("no source of validation was trained on.", "没有任何验证原文参与训练。"),
            "shared": problem(
                "sources of validation were trained on: its figures say how well texts are remembered; leave these "
                "records out of training, or have validation_share draw validation, which keeps records of one source "
                "together.",
                "部分验证原文参与了训练：验证结果只反映模型对已见原文的记忆；请从训练数据中去掉这些记录，"
                "或改用 validation_share 划分（相同原文的记录不会分开）。",
            ),
        },
        ("sources were not compared", "没有比较原文"),
        zh_figure=(
            (r"([\d,]+) training records with the source of a validation record", r"\1 条训练记录与验证记录原文相同"),
        ),
    ),
    Rule(
        "records",
        DATA,
        "Are there enough records?",
        "记录数量足够吗？",
        records,
        {
            "enough": ok("enough to train on and to choose by.", "足以训练和选择检查点。"),
            "few": watch(
                "{count} records are few: they will soon be known by heart.", "只有 {count} 条记录：很快会被记住。"
            ),
            "few_validation": watch(
                "{count} validation records are few to choose a checkpoint by.",
                "只有 {count} 条验证记录，用来选择检查点偏少。",
            ),
        },
        ("records were not counted", "没有记录数量"),
        zh_figure=((r"([\d,]+) to train on, ([\d,]+) to validate on", r"训练 \1 条，验证 \2 条"),),
    ),
    Rule(
        "vocabulary",
        DATA,
        "Does the trimmed vocabulary cover the texts?",
        "裁剪后的词表覆盖文本吗？",
        vocabulary,
        {
            "covers": ok("hardly a character is lost to it.", "几乎没有字符丢失。"),
            "loses": watch("characters are lost to it: keep more pieces.", "有字符丢失：请保留更多词元。"),
            "not_trimmed": silent("the vocabulary was not trimmed.", "词表没有裁剪。"),
        },
        ("the coverage of the vocabulary was not recorded", "没有记录词表的覆盖率"),
        zh_figure=(
            (r"pieces, (\S+ %) covered", r"个词元，覆盖 \1"),
            (r"(\S+ %) tokens on unseen texts", r"未见文本词元数 \1"),
        ),
    ),
    Rule(
        "summaries",
        MODEL,
        "Are the summaries whole?",
        "生成的摘要完整吗？",
        summaries,
        {
            "whole": ok("hardly any is empty, repeats itself or is broken.", "几乎没有空白、重复或损坏的摘要。"),
            "some_broken": watch(
                "some are {worst}: read a few in predictions/.", "部分摘要有问题（{zh_worst}）：请查看 predictions/。"
            ),
            "broken": problem(
                "many are {worst}: the model has not learnt to write yet; train longer or with a higher learning rate.",
                "许多摘要有问题（{zh_worst}）：模型尚不能生成完整摘要；请延长训练或提高学习率。",
            ),
            "other_length": watch("they are {ratio} times as long as the references.", "摘要长度是参考的 {ratio} 倍。"),
        },
        ("no summaries were written in an evaluation", "验证时没有生成摘要"),
        zh_figure=(
            (r"empty (\S+ %), repeated (\S+ %), sentinel", r"空白 \1，重复 \2，残留占位符（<extra_id_n>）"),
            (r"length ratio", r"长度比"),
        ),
    ),
)
