"""The verdict of an evaluation in one sentence.

Notable:
- Point forecasts are compared with persistence by absolute error: by CRPS, most distributions beat a point forecast.
  The distribution is compared with the best naive distribution by CRPS.
- "Better" and "worse" need a two-sided Diebold-Mariano test with p < 0.05. With fewer than 30 origins, the verdict only
  states that there are too few.
"""

from collections.abc import Mapping

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
    "bar": ("{target}, 1 bar", "{target}，1 根 K 线"),
    "bars": ("{target}, {horizon} bars", "{target}，{horizon} 根 K 线"),
    "model": ("{model} is {about}", "{model} {about}"),
    "sentence": ("{bars}: {about}", "{bars}：{about}"),
    "method": (
        " (absolute error, Diebold-Mariano test, {origins:,} origins)",
        "（绝对误差，Diebold-Mariano 检验，{origins:,} 个预测起点）",
    ),
}


def _say(phrase: str, language: str, **fields: object) -> str:
    return PHRASES[phrase][language == "zh"].format(**fields)


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
    """The baseline with a distribution that has the lowest CRPS at the last horizon, or None."""
    scores = {
        name: evaluation["scores"][name][target]["crps"]["by_horizon"][-1]
        for name, one in evaluation["forecasters"].items()
        if one["role"] == "baseline" and one["num_paths"] > 1
    }
    return min(scores, key=scores.__getitem__) if scores else None


def models_of(evaluation: dict) -> list[str]:
    """Names of the evaluated models, in the given order."""
    return [name for name, one in evaluation["forecasters"].items() if one["role"] == "model"]


def _about(evaluation: dict, model: str, target: str, language: str) -> str:
    """One model against the first model, persistence and the best naive distribution."""
    against = evaluation["skill"][model]
    first = models_of(evaluation)[0]
    others = [first] if model != first else []
    both = _say("and", language)
    points = [name for name in (*others, PERSISTENCE) if name in against]
    text = both.join(relation(against[name][target]["absolute"], name, language=language) for name in points)
    num_paths = {name: one["num_paths"] for name, one in evaluation["forecasters"].items()}
    best = best_distribution(evaluation, target)
    spreads = [name for name in (*others, best) if name in against and num_paths[name] > 1]
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
    for model, against in evaluation["skill"].items():
        for name, outcome in against.items():
            value = outcome[target]["absolute"]["skill"]["by_horizon"][-1]
            if value is not None and name in (PERSISTENCE, models_of(evaluation)[0]):
                found.append(_say("untested", language, model=model, name=name, skill=percent(value)))
    skills = _say("untested_skills", language, found=_say("list", language).join(found)) if found else ""
    return _say("too_few", language, observations=observations, least=LEAST_ORIGINS, skills=skills)


def verdict(evaluation: dict, target: str = "close", language: str = "en") -> str:
    """One sentence about the last horizon.

    Compares each model with persistence and with the best naive distribution, and each further model with the first.

    Args:
        evaluation (`dict`): from [`evaluate_forecasters`].
        target (`str`): one of `TARGETS`.
        language (`str`): en or zh.
    """
    models = models_of(evaluation)
    horizon, origins = evaluation["settings"]["horizon"], evaluation["origins"]["test"]
    tests = [one[target]["absolute"]["observations"] for model in models for one in evaluation["skill"][model].values()]
    bars = _say("bar" if horizon == 1 else "bars", language, target=target, horizon=horizon)
    observations = min(tests, default=origins)
    if observations < LEAST_ORIGINS:
        return _say("sentence", language, bars=bars, about=_too_few(evaluation, target, observations, language))
    parts = []
    for model in models[1:] or models:
        about = _about(evaluation, model, target, language)
        parts.append(_say("model", language, model=model, about=about) if len(models) > 1 else about)
    said = _say("sentence", language, bars=bars, about=_say("then", language).join(parts))
    return said + _say("method", language, origins=origins)
