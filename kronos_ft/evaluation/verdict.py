"""The verdict of an evaluation: a headline, and a sentence for the close, volatility, probability up, range and volume.

Notable:
- Point forecasts are compared with persistence by absolute error: by CRPS, most distributions beat a point forecast.
  The distribution is compared by CRPS with the reference that is best on the validation split, and so are range and
  volume; volatility is compared by QLIKE, and the probability that the price rises by the Brier score.
- "Better" and "worse" need a two-sided Diebold-Mariano test with p < 0.05 after Holm's correction for all tests that
  the verdict states. With fewer than 30 origins, the verdict only states that there are too few.
- If another reference than the chosen one is the best on the test split, and better than the model, the sentence names
  it, and the headline does not call the model better.
- Origins that a model may have memorised do not count.
"""

from collections.abc import Mapping, Sequence

from ..baselines.references import JUDGED
from .facts import (
    LEAST_ORIGINS,
    PERSISTENCE,
    SIGNIFICANT,
    Comparison,
    best_on_test,
    comparisons,
    counted_skill,
    models_of,
    observations_of,
)

PHRASES: Mapping[str, tuple[str, str]] = {  # English, Chinese
    "better": ("better than {name} (skill {skill}, {p})", "优于 {name}（预测技能 {skill}，{p}）"),
    "worse": ("worse than {name} (skill {skill}, {p})", "劣于 {name}（预测技能 {skill}，{p}）"),
    "seems_better": (
        "not significantly better than {name} (skill {skill}, {p})",
        "优于 {name}，但差异不显著（预测技能 {skill}，{p}）",
    ),
    "not_better": ("not better than {name} (skill {skill}, {p})", "不优于 {name}（预测技能 {skill}，{p}）"),
    "no_error": ("not comparable with {name} (its error is zero)", "无法与 {name} 比较（其误差为零）"),
    "same": ("equal to {name} (identical errors)", "与 {name} 相同（误差完全一致）"),
    "untestable": (
        "not testable against {name} (skill {skill}; {note})",
        "无法与 {name} 进行检验（预测技能 {skill}；{note}）",
    ),
    "and": (" and ", "，"),
    "then": ("; ", "；"),
    "distribution_of": ("{name}'s", "{name} 的分布"),
    "best_distribution": ("the {name}'s", "{name} 的分布"),
    "distribution": ("its distribution (CRPS) is {words}", "其预测分布（按 CRPS）{words}"),
    "nothing": ("not compared with any reference", "没有可比较的对象"),
    "untested": ("{model} against {name} {skill}", "{model} 对 {name} {skill}"),
    "untested_skills": ("; untested skill: {found}", "；未经检验的预测技能：{found}"),
    "list": (", ", "，"),
    "too_few": (
        "too few origins for a verdict ({observations}, at least {least} needed){skills}",
        "预测起点太少，无法判断（{observations} 个，至少需要 {least} 个）{skills}",
    ),
    "too_few_clean": (
        "too few origins from {until} on for a verdict ({observations}, at least {least} needed; {memorised:,} earlier "
        "origins are possibly memorised){skills}",
        "{until} 起的预测起点太少，无法判断（{observations} 个，至少需要 {least} 个；"
        "更早的 {memorised:,} 个可能已被模型记住）{skills}",
    ),
    "its": ("its", "其"),
    "of_model": ("{model}'s", "{model} 的"),
    "variance": ("{owner} variance forecast (QLIKE) is {words}", "{owner}方差预测（按 QLIKE）{words}"),
    "probability": ("{owner} probability (Brier score) is {words}", "{owner}上涨概率（按 Brier 评分）{words}"),
    "range": ("{owner} range forecast (CRPS) is {words}", "{owner}振幅预测（按 CRPS）{words}"),
    "volume": ("{owner} volume forecast (CRPS) is {words}", "{owner}成交量预测（按 CRPS）{words}"),
    "bar": ("{target}, 1 bar", "{target}，1 根 K 线"),
    "bars": ("{target}, {horizon} bars", "{target}，{horizon} 根 K 线"),
    "model": ("{model} is {about}", "{model} {about}"),
    "sentence": ("{bars}: {about}", "{bars}：{about}"),
    "method": (
        " (absolute error, Diebold-Mariano test, {origins:,} origins{since}{chosen})",
        "（绝对误差，Diebold-Mariano 检验，{origins:,} 个预测起点{since}{chosen}）",
    ),
    "tested": (
        " (Diebold-Mariano test, {origins:,} origins{since}{chosen})",
        "（Diebold-Mariano 检验，{origins:,} 个预测起点{since}{chosen}）",
    ),
    "coin": ("a constant 50 %", "恒定的 50 %"),
    "corrected": ("{p}; corrected for {tests} tests {corrected}", "{p}；按 {tests} 次检验校正后 {corrected}"),
    "but": (
        ", but not better than {name} (skill {skill}; the best reference on the test split)",
        "，但不优于 {name}（预测技能 {skill}；测试集上最好的基准）",
    ),
    "also": (
        ", and not better than {name} (skill {skill}; the best reference on the test split)",
        "，也不优于 {name}（预测技能 {skill}；测试集上最好的基准）",
    ),
    "helped": ("fine-tuning helped: {found}", "微调有帮助：{found}"),
    "than_first": ("{model} better than {first}: {found}", "{model} 优于 {first}：{found}"),
    "than_simple": ("better than the best simple forecast: {found}", "优于最好的简单预测：{found}"),
    "model_than_simple": (
        "{model} better than the best simple forecast: {found}",
        "{model} 优于最好的简单预测：{found}",
    ),
    "answer": ("{judged} {word}", "{judged} {word}"),
    "yes": ("yes", "是"),
    "no": ("no", "否"),
    "no_worse": ("no (worse)", "否（更差）"),
    "note": (
        "better and worse: p < 0.05 after Holm's correction for the {tests} tests of this verdict; p is without it",
        "“优于”和“劣于”：按本结论的 {tests} 次检验作 Holm 校正后 p < 0.05；所列 p 值未经校正",
    ),
    "since": (" from {until} on", "，均在 {until} 之后"),
    "chosen": ("; {name}: the best reference in validation", "；{name}：验证集上最好的基准"),
}
JUDGED_BY: Mapping[str, str] = {
    "volatility": "variance",
    "probability up": "probability",
    "range": "range",
    "volume": "volume",
}


def _say(phrase: str, language: str, **fields: object) -> str:
    text = PHRASES[phrase][language == "zh"].format(**fields)
    return text[:-1] if text.endswith("s's") else text  # the possessive of a name that ends in s


def percent(value: float) -> str:
    """A signed share with one decimal: `-3.1 %`."""
    return f"{100 * value:+.1f} %"


def p_words(p_value: float) -> str:
    """`p = 0.41`, or `p < 0.001`."""
    if p_value < 0.001:
        return "p < 0.001"
    text = f"{p_value:.2f}" if p_value >= 0.1 else f"{p_value:.2g}"
    # rounding must not give exactly 0.05, which is neither below nor above
    return f"p = {p_value:.4f}" if float(text) == SIGNIFICANT else f"p = {text}"


def relation(one: Comparison, name: str, language: str = "en") -> str:
    """How a model compares with the reference of this name: `not better than NAME (skill -3.1 %, p = 0.41)`."""
    shown = {} if one.skill is None else {"skill": percent(one.skill), "note": one.outcome["note"]}
    if one.p_value is not None:
        shown["p"] = p_words(one.p_value)
        if one.corrected >= SIGNIFICANT > one.p_value:
            corrected = p_words(one.corrected)
            shown["p"] = _say("corrected", language, p=shown["p"], tests=one.tests, corrected=corrected)
    return _say(one.result, language, name=name, **shown)


def _counted(evaluation: dict, language: str) -> tuple[int, str]:
    """Number of origins that count, and from when on they are, if others are possibly memorised."""
    memorised = evaluation.get("memorised")
    if not memorised:
        return evaluation["origins"]["test"], ""
    return memorised["origins"]["clean"], _say("since", language, until=memorised["until"])


def _chosen(evaluation: dict, judged: str, language: str) -> str:
    """Which reference was chosen on the validation split; empty if none was."""
    reference = evaluation.get("references", {}).get(judged)
    if not reference or reference["split"] != "validation":
        return ""
    name = reference["name"]
    coin = name == PERSISTENCE and judged == "probability up"
    return _say("chosen", language, name=_say("coin", language) if coin else name)


def _words(evaluation: dict, found: Sequence[Comparison], language: str) -> str:
    """How a model compares with several others by one loss, and which reference is the best on the test split."""
    text = _say("and", language).join(
        relation(one, _named(evaluation, one.reference, one.judged, one.loss, language), language) for one in found
    )
    last = found[-1]
    beaten = best_on_test(evaluation, last)
    if beaten is None:
        return text
    name = _named(evaluation, beaten[0], last.judged, last.loss, language)
    return text + _say("but" if last.result == "better" else "also", language, name=name, skill=percent(beaten[1]))


def _about(evaluation: dict, found: Sequence[Comparison], language: str) -> str:
    """The close of a model against the first model, persistence and the best reference distribution."""
    parts = {loss: [one for one in found if one.loss == loss] for loss in ("absolute", "crps")}
    words = {loss: _words(evaluation, some, language) for loss, some in parts.items() if some}
    if "crps" in words:
        words["crps"] = _say("distribution", language, words=words["crps"])
    return _say("then", language).join(words.values()) or _say("nothing", language)


def _too_few(evaluation: dict, observations: int, language: str) -> str:
    """The verdict with too few origins for a test: only the untested skills."""
    found = []
    for model, against in counted_skill(evaluation).items():
        for name, outcome in against.items():
            value = outcome["close"]["absolute"]["skill"]["by_horizon"][-1]
            if value is not None and name in (PERSISTENCE, models_of(evaluation)[0]):
                found.append(_say("untested", language, model=model, name=name, skill=percent(value)))
    skills = _say("untested_skills", language, found=_say("list", language).join(found)) if found else ""
    counts = {"observations": observations, "least": LEAST_ORIGINS, "skills": skills}
    if memorised := evaluation.get("memorised"):
        number = memorised["origins"]["memorised"]
        return _say("too_few_clean", language, until=memorised["until"], memorised=number, **counts)
    return _say("too_few", language, **counts)


def verdict(evaluation: dict, language: str = "en") -> str:
    """One sentence about the close at the last horizon.

    Compares each model with persistence and with the best naive distribution, and each further model with the first.

    Args:
        evaluation (`dict`): from [`evaluate_forecasters`].
        language (`str`): en or zh.
    """
    models, observations = models_of(evaluation), observations_of(evaluation, "close")
    bars = _bars(evaluation, "close", language)
    if observations < LEAST_ORIGINS:
        return _say("sentence", language, bars=bars, about=_too_few(evaluation, observations, language))
    stated, parts = comparisons(evaluation), []
    for model in models[1:] or models:
        found = [one for one in stated if (one.model, one.judged) == (model, "close")]
        about = _about(evaluation, found, language)
        parts.append(_say("model", language, model=model, about=about) if len(models) > 1 else about)
    said = _say("sentence", language, bars=bars, about=_say("then", language).join(parts))
    origins, since = _counted(evaluation, language)
    chosen = _chosen(evaluation, "close", language)
    return said + _say("method", language, origins=origins, since=since, chosen=chosen)


def _bars(evaluation: dict, target: str, language: str) -> str:
    horizon = evaluation["settings"]["horizon"]
    return _say("bar" if horizon == 1 else "bars", language, target=target, horizon=horizon)


def _named(evaluation: dict, name: str, judged: str, loss: str, language: str) -> str:
    """A reference or a model, as a sentence on this quantity names it; a point forecast by its name alone."""
    if name == PERSISTENCE and judged == "probability up":
        return _say("coin", language)
    if loss == "absolute" or (evaluation["forecasters"][name]["num_paths"] == 1 and loss == "crps"):
        return name
    is_model = name in models_of(evaluation)
    return _say("distribution_of" if is_model else "best_distribution", language, name=name)


def target_verdict(evaluation: dict, judged: str, language: str = "en") -> str | None:
    """One sentence about a judged quantity at the last horizon.

    Args:
        evaluation (`dict`): from [`evaluate_forecasters`].
        judged (`str`): a key of [`~kronos_ft.baselines.references.JUDGED`].
        language (`str`): en or zh.

    Returns:
        `str`; None if there is nothing to compare with (such as volume that a model does not forecast), or too few
        origins (which the sentence on the close states).
    """
    if judged == "close":
        return verdict(evaluation, language)
    models, parts = models_of(evaluation), []
    stated = [one for one in comparisons(evaluation) if one.judged == judged]
    for model in models[1:] or models:
        if found := [one for one in stated if one.model == model]:
            owner = _say("of_model", language, model=model) if len(models) > 1 else _say("its", language)
            words = _words(evaluation, found, language)
            parts.append(_say(JUDGED_BY[judged], language, owner=owner, words=words))
    if not parts:
        return None
    said = _say(
        "sentence", language, bars=_bars(evaluation, judged, language), about=_say("then", language).join(parts)
    )
    origins, since = _counted(evaluation, language)
    chosen = _chosen(evaluation, judged, language)
    # volume is judged at the origins of some symbols; evaluations of earlier versions have no count
    counts = [one.outcome["origins"] for one in stated if "origins" in one.outcome]
    return said + _say("tested", language, origins=min(counts, default=origins), since=since, chosen=chosen)


def verdicts(evaluation: dict, language: str = "en") -> dict[str, str]:
    """A sentence for everything that is judged: close, volatility, probability up, range, volume."""
    said = {judged: target_verdict(evaluation, judged, language) for judged in JUDGED}
    return {judged: sentence for judged, sentence in said.items() if sentence}


def _answers(evaluation: dict, found: Sequence[Comparison], language: str) -> str:
    """`close no, range yes`: whether a model is better, by the last comparison of each quantity."""
    said = []
    for one in {one.judged: one for one in found}.values():
        word = {"better": "yes", "worse": "no_worse"}.get(one.result, "no")
        if word == "yes" and best_on_test(evaluation, one):
            word = "no"
        said.append(_say("answer", language, judged=one.judged, word=_say(word, language)))
    return _say("list", language).join(said)


def headline(evaluation: dict, language: str = "en") -> str | None:
    """One line: is each judged quantity better than that of the first model, and than the best simple forecast?

    "Yes" needs a significant test against the chosen reference, and that no reference has a lower loss. If
    the run record of a model names the first one as its start, the line says whether fine-tuning helped.

    Args:
        evaluation (`dict`): from [`evaluate_forecasters`].
        language (`str`): en or zh.

    Returns:
        `str`; None if nothing is tested, which the sentence on the close states.
    """
    models, parts = models_of(evaluation), []
    stated, first = comparisons(evaluation), models[0]
    tuned = {one["name"] for one in evaluation.get("models", ()) if one.get("tuned_from") == first}
    for model in models[1:] or models:
        of_model = [one for one in stated if one.model == model]
        if found := [one for one in of_model if one.reference == first]:
            fields = {"model": model, "first": first, "found": _answers(evaluation, found, language)}
            phrase = "helped" if model in tuned and len(models) == 2 else "than_first"
            parts.append(_say(phrase, language, **fields))
        if found := [one for one in of_model if one.reference != first]:
            phrase = "than_simple" if len(models) <= 2 else "model_than_simple"
            parts.append(_say(phrase, language, model=model, found=_answers(evaluation, found, language)))
    return _say("then", language).join(parts) or None


def correction_note(evaluation: dict, language: str = "en") -> str | None:
    """What "better" and "worse" mean; None without any test."""
    tests = max((one.tests for one in comparisons(evaluation) if one.corrected is not None), default=0)
    return _say("note", language, tests=tests) if tests else None


def corrected_values(evaluation: dict) -> dict:
    """The corrected p-values of all comparisons that the verdict states, for `evaluation.json`."""
    names = ("model", "reference", "judged", "loss", "skill", "p_value", "corrected")
    tests = [{name: getattr(one, name) for name in names} for one in comparisons(evaluation)]
    return {"method": "Holm", "tests": tests}
