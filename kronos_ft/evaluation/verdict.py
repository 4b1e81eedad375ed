"""The verdict of an evaluation: one sentence for the close, volatility, probability up, range and volume.

Notable:
- Point forecasts are compared with persistence by absolute error: by CRPS, most distributions beat a point forecast.
  The distribution is compared by CRPS with the reference that is best on the validation split, and so are range and
  volume; volatility is compared by QLIKE, and the probability that the price rises by the Brier score.
- "Better" and "worse" need a two-sided Diebold-Mariano test with p < 0.05. With fewer than 30 origins, the verdict only
  states that there are too few.
- Origins that a model may have memorised do not count.
"""

from collections.abc import Mapping

from ..baselines.references import JUDGED

SIGNIFICANT = 0.05
LEAST_ORIGINS = 30
PERSISTENCE = "persistence"
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
    "since": (" from {until} on", "，均在 {until} 之后"),
    "chosen": ("; {name}: the best reference in validation", "；{name}：验证集上最好的参照"),
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


def _test_at(skill: dict, at: int | None) -> tuple[float | None, float | None]:
    """Skill and p-value at a horizon (position), or over all horizons."""
    if at is None:
        return skill["skill"]["overall"], skill["p_value"]["overall"]
    return skill["skill"]["by_horizon"][at], skill["p_value"]["by_horizon"][at]


def relation(skill: dict, reference: str, at: int | None = -1, language: str = "en") -> str:
    """Describes how a forecaster compares with a reference.

    Args:
        skill (`dict`): outcome of [`compare_losses`] for one target and loss.
        reference (`str`): name of the reference.
        at (`int`, *optional*): position of the horizon; None for all horizons together.
        language (`str`): en or zh.

    Returns:
        `str`, such as `not better than persistence (skill -3.1 %, p = 0.41)`.
    """
    value, p_value = _test_at(skill, at)
    if value is None:
        return _say("no_error", language, name=reference)
    if p_value is None:
        if skill["note"] == "the losses are identical":
            return _say("same", language, name=reference)
        return _say("untestable", language, name=reference, skill=percent(value), note=skill["note"])
    if p_value < SIGNIFICANT:
        found = "better" if value > 0 else "worse"
    else:
        found = "seems_better" if value > 0 else "not_better"
    return _say(found, language, name=reference, skill=percent(value), p=p_words(p_value))


def best_distribution(evaluation: dict, target: str = "close") -> str | None:
    """The reference that a model's distribution is compared with, or None.

    The best on the validation split ([`~kronos_ft.baselines.references.choose_references`]); in evaluations of earlier
    versions, the baseline with a distribution that has the lowest CRPS at the last horizon of the test split.
    """
    if "references" in evaluation:
        chosen = evaluation["references"].get("close")
        return chosen["name"] if chosen else None
    scores = {
        name: evaluation["scores"][name][target]["crps"]["by_horizon"][-1]
        for name, one in evaluation["forecasters"].items()
        if one["role"] == "baseline" and one["num_paths"] > 1
    }
    return min(scores, key=scores.__getitem__) if scores else None


def counted_skill(evaluation: dict) -> dict:
    """Skill by model and reference on the origins that count: without those that a model may have memorised."""
    memorised = evaluation.get("memorised")
    return memorised["skill"]["clean"] if memorised else evaluation["skill"]


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


def models_of(evaluation: dict) -> list[str]:
    """Names of the evaluated models, in the given order."""
    return [name for name, one in evaluation["forecasters"].items() if one["role"] == "model"]


def _about(evaluation: dict, model: str, target: str, language: str) -> str:
    """One model against the first model, persistence and the best reference distribution."""
    against = counted_skill(evaluation)[model]
    first = models_of(evaluation)[0]
    others = [first] if model != first else []
    both = _say("and", language)
    points = [name for name in (*others, PERSISTENCE) if "absolute" in against.get(name, {}).get(target, {})]
    text = both.join(relation(against[name][target]["absolute"], name, language=language) for name in points)
    num_paths = {name: one["num_paths"] for name, one in evaluation["forecasters"].items()}
    best = best_distribution(evaluation, target)
    comparable = [name for name in (*others, best) if "crps" in against.get(name, {}).get(target, {})]
    spreads = [name for name in comparable if num_paths[name] > 1]
    if num_paths[model] > 1 and spreads:
        named = {
            name: _say("best_distribution" if name == best else "distribution_of", language, name=name)
            for name in spreads
        }
        words = [relation(against[name][target]["crps"], named[name], language=language) for name in spreads]
        text += _say("then", language) * bool(text) + _say("distribution", language, words=both.join(words))
    return text or _say("nothing", language)


def _too_few(evaluation: dict, target: str, observations: int, language: str) -> str:
    """The verdict with too few origins for a test: only the untested skills."""
    found = []
    for model, against in counted_skill(evaluation).items():
        for name, outcome in against.items():
            if "absolute" not in outcome.get(target, {}):
                continue  # one of both does not forecast it
            value = outcome[target]["absolute"]["skill"]["by_horizon"][-1]
            if value is not None and name in (PERSISTENCE, models_of(evaluation)[0]):
                found.append(_say("untested", language, model=model, name=name, skill=percent(value)))
    skills = _say("untested_skills", language, found=_say("list", language).join(found)) if found else ""
    counts = {"observations": observations, "least": LEAST_ORIGINS, "skills": skills}
    if memorised := evaluation.get("memorised"):
        number = memorised["origins"]["memorised"]
        return _say("too_few_clean", language, until=memorised["until"], memorised=number, **counts)
    return _say("too_few", language, **counts)


def _observations(evaluation: dict, target: str) -> int:
    """The smallest number of distinct times in the tests of all models that forecast the target."""
    outcomes = [one for against in counted_skill(evaluation).values() for one in against.values()]
    tests = [one[target]["absolute"]["observations"] for one in outcomes if one.get(target)]
    return min(tests, default=_counted(evaluation, "en")[0])


def verdict(evaluation: dict, target: str = "close", language: str = "en") -> str:
    """One sentence about the last horizon.

    Compares each model with persistence and with the best naive distribution, and each further model with the first.

    Args:
        evaluation (`dict`): from [`evaluate_forecasters`].
        target (`str`): one of `TARGETS`.
        language (`str`): en or zh.
    """
    models, observations = models_of(evaluation), _observations(evaluation, target)
    bars = _bars(evaluation, target, language)
    if observations < LEAST_ORIGINS:
        return _say("sentence", language, bars=bars, about=_too_few(evaluation, target, observations, language))
    parts = []
    for model in models[1:] or models:
        about = _about(evaluation, model, target, language)
        parts.append(_say("model", language, model=model, about=about) if len(models) > 1 else about)
    said = _say("sentence", language, bars=bars, about=_say("then", language).join(parts))
    origins, since = _counted(evaluation, language)
    chosen = _chosen(evaluation, "close", language)
    return said + _say("method", language, origins=origins, since=since, chosen=chosen)


def _bars(evaluation: dict, target: str, language: str) -> str:
    horizon = evaluation["settings"]["horizon"]
    return _say("bar" if horizon == 1 else "bars", language, target=target, horizon=horizon)


def _judged_against(evaluation: dict, judged: str, model: str) -> dict[str, dict]:
    """Outcomes of the tests of one model by its loss: against the first model and the chosen reference."""
    target, loss = JUDGED[judged]
    reference = evaluation.get("references", {}).get(judged)
    first = models_of(evaluation)[0]
    names = [*([first] if model != first else []), *([reference["name"]] if reference else [])]
    against = counted_skill(evaluation)[model]
    return {name: against[name][target][loss] for name in names if loss in against.get(name, {}).get(target, {})}


def _named(evaluation: dict, name: str, judged: str, language: str) -> str:
    """A reference or a model, as a sentence on this quantity names it; a point forecast by its name alone."""
    if name == PERSISTENCE and judged == "probability up":
        return _say("coin", language)
    if evaluation["forecasters"][name]["num_paths"] == 1 and JUDGED[judged][1] == "crps":
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
        return verdict(evaluation, language=language)
    models = models_of(evaluation)
    if judged not in evaluation.get("references", {}):  # of an earlier version, or nothing to compare with
        return None
    if _observations(evaluation, JUDGED[judged][0]) < LEAST_ORIGINS:
        return None
    parts, counts = [], []
    for model in models[1:] or models:
        outcomes = _judged_against(evaluation, judged, model)
        words = [
            relation(outcome, _named(evaluation, name, judged, language), language=language)
            for name, outcome in outcomes.items()
        ]
        counts += [outcome["origins"] for outcome in outcomes.values() if "origins" in outcome]
        if words:
            owner = _say("of_model", language, model=model) if len(models) > 1 else _say("its", language)
            parts.append(_say(JUDGED_BY[judged], language, owner=owner, words=_say("and", language).join(words)))
    if not parts:
        return None
    said = _say(
        "sentence", language, bars=_bars(evaluation, judged, language), about=_say("then", language).join(parts)
    )
    origins, since = _counted(evaluation, language)
    chosen = _chosen(evaluation, judged, language)
    # volume is judged at the origins of some symbols; evaluations of earlier versions have no count
    return said + _say("tested", language, origins=min(counts, default=origins), since=since, chosen=chosen)


def _support(evaluation: dict, judged: str) -> float:
    """The smallest p-value behind a sentence, at least 0.001, and 1 if nothing is significant."""
    found, models = [], models_of(evaluation)
    for model in models[1:] or models:
        found += _judged_against(evaluation, judged, model).values()
        against = counted_skill(evaluation)[model]
        if judged == "close" and PERSISTENCE in against:
            found.append(against[PERSISTENCE]["close"]["absolute"])
    p_values = [value for one in found if (value := _test_at(one, -1)[1]) is not None and value < SIGNIFICANT]
    return max(min(p_values, default=1.0), 0.001)


def verdicts(evaluation: dict, language: str = "en") -> dict[str, str]:
    """A sentence for everything that is judged, the best supported one first, whichever way it goes.

    The best supported sentence has the smallest significant p-value; those below 0.001 count as equal, and equal ones
    keep the order close, volatility, probability up, range, volume.
    """
    said = {judged: target_verdict(evaluation, judged, language) for judged in JUDGED}
    order = sorted((judged for judged in JUDGED if said[judged]), key=lambda judged: _support(evaluation, judged))
    first = order[:1]
    return {judged: said[judged] for judged in (*first, *(one for one in JUDGED if said[one] and one not in first))}
