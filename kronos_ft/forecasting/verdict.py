"""The outcome of an evaluation in one sentence, as good or as bad as it is.

Notable:
- Point forecasts are compared by absolute error, because persistence has no distribution: by CRPS any spread would beat
  it. The distribution is compared with the best naive one by CRPS.
- Better or worse is said when the two-sided Diebold-Mariano test has p < 0.05; with fewer than 30 origins it is only
  said that they are too few.
"""

SIGNIFICANT = 0.05
LEAST_ORIGINS = 30
PERSISTENCE = "persistence"


def percent(value: float) -> str:
    """A signed share with one decimal: `-3.1 %`."""
    return f"{100 * value:+.1f} %"


def p_words(p_value: float) -> str:
    """`p = 0.41`, or `p < 0.001`."""
    if p_value < 0.001:
        return "p < 0.001"
    text = f"{p_value:.2f}" if p_value >= 0.1 else f"{p_value:.2g}"
    # rounding must not put it on the border that it stays below or above
    return f"p = {p_value:.4f}" if float(text) == SIGNIFICANT else f"p = {text}"


def _test_at(skill: dict, at: int | None) -> tuple[float | None, float | None]:
    """Skill and p-value at a horizon (position), or over all horizons."""
    if at is None:
        return skill["skill"]["overall"], skill["p_value"]["overall"]
    return skill["skill"]["by_horizon"][at], skill["p_value"]["by_horizon"][at]


def relation(skill: dict, reference: str, at: int | None = -1) -> str:
    """How a forecaster compares with a reference, in words.

    Args:
        skill (`dict`): outcome of [`compare_losses`] for one target and loss.
        reference (`str`): name of the reference.
        at (`int`, *optional*): position of the horizon; None is over all of them.

    Returns:
        `str`, such as `not better than persistence (skill -3.1 %, p = 0.41)`.
    """
    value, p_value = _test_at(skill, at)
    if value is None:
        return f"not comparable with {reference} (it makes no error)"
    if p_value is None:
        if skill["note"] == "the losses are identical":
            return f"the same as {reference} (identical errors)"
        return f"not testable against {reference} (skill {percent(value)}; {skill['note']})"
    if p_value < SIGNIFICANT:
        words = "better than" if value > 0 else "worse than"
    else:
        words = "not significantly better than" if value > 0 else "not better than"
    return f"{words} {reference} (skill {percent(value)}, {p_words(p_value)})"


def best_distribution(evaluation: dict, target: str = "close") -> str | None:
    """The baseline with a distribution that has the lowest CRPS at the last horizon, or None."""
    scores = {
        name: evaluation["scores"][name][target]["crps"]["by_horizon"][-1]
        for name, one in evaluation["forecasters"].items()
        if one["role"] == "baseline" and one["num_paths"] > 1
    }
    return min(scores, key=scores.__getitem__) if scores else None


def models_of(evaluation: dict) -> list[str]:
    """Names of what was judged, in the order given."""
    return [name for name, one in evaluation["forecasters"].items() if one["role"] == "model"]


def _about(evaluation: dict, model: str, target: str) -> str:
    """One model against the first model, persistence and the best naive distribution."""
    against = evaluation["skill"][model]
    first = models_of(evaluation)[0]
    others = [first] if model != first else []
    points = [name for name in (*others, PERSISTENCE) if name in against]
    text = " and ".join(relation(against[name][target]["absolute"], name) for name in points)
    num_paths = {name: one["num_paths"] for name, one in evaluation["forecasters"].items()}
    best = best_distribution(evaluation, target)
    spreads = [name for name in (*others, best) if name in against and num_paths[name] > 1]
    if num_paths[model] > 1 and spreads:
        words = [
            relation(against[name][target]["crps"], f"the {name}'s" if name == best else f"{name}'s")
            for name in spreads
        ]
        text += f"{'; ' * bool(text)}its distribution (CRPS) is {' and '.join(words)}"
    return text or "compared with nothing"


def _too_few(evaluation: dict, target: str, observations: int) -> str:
    """What is said instead when there are too few origins for any test: the skills, as mere figures."""
    found = []
    for model, against in evaluation["skill"].items():
        for name, outcome in against.items():
            value = outcome[target]["absolute"]["skill"]["by_horizon"][-1]
            if value is not None and name in (PERSISTENCE, models_of(evaluation)[0]):
                found.append(f"{model} against {name} {percent(value)}")
    skills = f"; untested skill of {', '.join(found)}" if found else ""
    return f"too few origins to tell ({observations}, at least {LEAST_ORIGINS}){skills}"


def verdict(evaluation: dict, target: str = "close") -> str:
    """One sentence on the last horizon.

    It says how each model compares with persistence and with the best naive distribution, and how each model after the
    first compares with the first.

    Args:
        evaluation (`dict`): from [`evaluate_forecasters`].
        target (`str`): one of `TARGETS`.
    """
    models = models_of(evaluation)
    horizon, origins = evaluation["settings"]["horizon"], evaluation["origins"]["test"]
    tests = [one[target]["absolute"]["observations"] for model in models for one in evaluation["skill"][model].values()]
    bars = f"{target}, {horizon} bar{'s' * (horizon != 1)}"
    observations = min(tests, default=origins)
    if observations < LEAST_ORIGINS:
        return f"{bars}: {_too_few(evaluation, target, observations)}"
    judged = models[1:] or models
    parts = [f"{f'{model} is ' * (len(models) > 1)}{_about(evaluation, model, target)}" for model in judged]
    return f"{bars}: {'; '.join(parts)} (absolute error, Diebold-Mariano test, {origins:,} origins)"
