"""The verdict's words in every case, whichever way it goes."""

from string import Formatter

import pytest

from kronos_ft.evaluation.facts import Comparison, best_distribution, comparisons
from kronos_ft.evaluation.tables import summary_rows
from kronos_ft.evaluation.verdict import (
    PHRASES,
    corrected_values,
    correction_note,
    headline,
    p_words,
    relation,
    target_verdict,
    verdict,
    verdicts,
)


def outcome(skill, p_value, observations=200, note=None):
    """What `compare_losses` says of one target and loss."""
    return {
        "skill": {"by_horizon": [0.0, skill], "overall": skill},
        "p_value": {"by_horizon": [None, p_value], "overall": p_value},
        "observations": observations,
        "note": note,
    }


def compared(found, corrected=None, tests=1):
    """A comparison of kronos with naive."""
    p_value = found["p_value"]["by_horizon"][-1]
    return Comparison("kronos", "naive", "close", "absolute", found, p_value if corrected is None else corrected, tests)


def evaluation(*tests, models=("kronos",), origins=200, crps=None):
    """An evaluation of models against persistence and a cone; `tests` are (model, reference, loss, outcome)."""
    skill = {
        model: {
            reference: {"close": {loss: outcome(0.0, 1.0) for loss in ("absolute", "crps")}}
            for reference in (*(models[:1] if model != models[0] else ()), "persistence", "drift", "cone", "garch")
        }
        for model in models
    }
    for model, reference, loss, found in tests:
        skill[model][reference]["close"][loss] = found
    crps = {"cone": 1.0, "garch": 2.0} if crps is None else crps
    paths = {**dict.fromkeys(models, 30), "persistence": 1, "drift": 1, "cone": 100, "garch": 100}
    return {
        "settings": {"horizon": 24},
        "origins": {"test": origins},
        "forecasters": {
            name: {"role": "model" if name in models else "baseline", "num_paths": count}
            for name, count in paths.items()
        },
        "scores": {name: {"close": {"crps": {"by_horizon": [0.0, crps.get(name, 0.5)]}}} for name in paths},
        "skill": skill,
    }


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (outcome(-0.031, 0.41), "not better than naive (skill -3.1 %, p = 0.41)"),
        (outcome(-0.031, 0.012), "worse than naive (skill -3.1 %, p = 0.012)"),
        (outcome(0.042, 0.0004), "better than naive (skill +4.2 %, p < 0.001)"),
        (outcome(0.042, 0.09), "not significantly better than naive (skill +4.2 %, p = 0.09)"),
        (outcome(0.0, None, note="the losses are identical"), "equal to naive (identical errors)"),
        (outcome(0.1, None, note="too short"), "not testable against naive (skill +10.0 %; too short)"),
        (outcome(None, None), "not comparable with naive (its error is zero)"),
    ],
)
def test_relations(found, words):
    assert relation(compared(found), "naive") == words


def test_p_values_are_not_rounded_across_the_border():
    assert [p_words(value) for value in (0.41, 0.049, 0.0496, 0.0504, 0.0101, 0.00099)] == [
        "p = 0.41",
        "p = 0.049",
        "p = 0.0496",
        "p = 0.0504",
        "p = 0.01",
        "p < 0.001",
    ]


def test_one_model():
    found = evaluation(
        ("kronos", "persistence", "absolute", outcome(-0.031, 0.41)), ("kronos", "cone", "crps", outcome(0.02, 0.01))
    )
    assert verdict(found) == (
        "close, 24 bars: not better than persistence (skill -3.1 %, p = 0.41); its distribution (CRPS) is better than "
        "the cone's (skill +2.0 %, p = 0.01) (absolute error, Diebold-Mariano test, 200 origins)"
    )


def test_the_distribution_is_compared_with_the_best_naive_one():
    found = evaluation(("kronos", "garch", "crps", outcome(-0.5, 0.0)), crps={"cone": 2.0, "garch": 1.0})
    assert best_distribution(found) == "garch"
    assert "worse than the garch's (skill -50.0 %, p < 0.001)" in verdict(found)


def test_two_models():
    found = evaluation(
        ("tuned", "base", "absolute", outcome(0.014, 0.01)),
        ("tuned", "persistence", "absolute", outcome(-0.01, 0.6)),
        ("tuned", "base", "crps", outcome(0.2, 0.003)),
        ("tuned", "cone", "crps", outcome(-0.1, 0.02)),
        models=("base", "tuned"),
        origins=1200,
    )
    assert verdict(found) == (
        "close, 24 bars: tuned is better than base (skill +1.4 %, p = 0.01) and not better than persistence (skill "
        "-1.0 %, p = 0.60); its distribution (CRPS) is better than base's (skill +20.0 %, p = 0.003) and worse than "
        "the cone's (skill -10.0 %, p = 0.02) (absolute error, Diebold-Mariano test, 1,200 origins)"
    )


def test_too_few_origins():
    found = evaluation(("kronos", "persistence", "absolute", outcome(0.5, 0.0001, 12)), origins=12)
    assert verdict(found) == (
        "close, 24 bars: too few origins for a verdict (12, at least 30 needed); untested skill: kronos against "
        "persistence +50.0 %"
    )


def test_a_point_forecast_without_baselines():
    found = evaluation()
    found["forecasters"]["kronos"]["num_paths"] = 1
    assert "distribution" not in verdict(found)
    found["skill"] = {"kronos": {}}
    found["forecasters"] = {"kronos": {"role": "model", "num_paths": 1}}
    assert verdict(found).startswith("close, 24 bars: not compared with any reference (")


def test_the_same_is_said_in_chinese():
    tests = [
        ("kronos", "persistence", "absolute", outcome(-0.031, 0.41)),
        ("kronos", "cone", "crps", outcome(0.042, 0.0004)),
    ]
    assert verdict(evaluation(*tests), language="zh") == (
        "close，24 根 K 线：不优于 persistence（预测技能 -3.1 %，p = 0.41）；"
        "其预测分布（按 CRPS）优于 cone 的分布（预测技能 +4.2 %，p < 0.001）"
        "（绝对误差，Diebold-Mariano 检验，200 个预测起点）"
    )
    two = verdict(evaluation(*tests, models=("kronos", "tuned")), language="zh")
    assert two.startswith("close，24 根 K 线：tuned ")
    few = verdict(evaluation(models=("kronos",), origins=7) | {"skill": {"kronos": {}}}, language="zh")
    assert few == "close，24 根 K 线：预测起点太少，无法判断（7 个，至少需要 30 个）"


@pytest.mark.parametrize("phrase", PHRASES)
def test_both_languages_name_the_same_figures(phrase):
    fields = [{field for _, field, _, _ in Formatter().parse(text) if field} for text in PHRASES[phrase]]
    assert fields[0] == fields[1]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (outcome(0.15, 0.2), "优于 naive，但差异不显著（预测技能 +15.0 %，p = 0.20）"),
        (outcome(-0.15, 0.01), "劣于 naive（预测技能 -15.0 %，p = 0.01）"),
        (outcome(0.0, None, note="the losses are identical"), "与 naive 相同（误差完全一致）"),
        (outcome(None, None), "无法与 naive 比较（其误差为零）"),
    ],
)
def test_chinese_relations(found, words):
    assert relation(compared(found), "naive", language="zh") == words


def judged(*tests, models=("kronos",), split="validation", **references):
    """An evaluation with references for everything that is judged; `tests` as in `evaluation`, with their target."""
    found = evaluation(models=models)
    names = {"close": "garch", "volatility": "har", "probability up": "persistence"} | references
    losses = {"close": ("close", "crps"), "volatility": ("volatility", "qlike"), "probability up": ("close", "brier")}
    found["references"] = {
        name: {"name": names[name], "target": target, "loss": loss, "split": split, "losses": {}}
        for name, (target, loss) in losses.items()
    }
    for against in found["skill"].values():
        against["har"] = {"close": {loss: outcome(0.0, 1.0) for loss in ("absolute", "crps")}}
        for one in against.values():
            one["close"]["brier"] = outcome(-0.02, 0.3)
            one["volatility"] = {loss: outcome(-0.5, 0.4) for loss in ("absolute", "crps", "qlike")}
    found["forecasters"]["har"] = {"role": "baseline", "num_paths": 100}
    for model, reference, target, loss, result in tests:
        found["skill"][model][reference][target][loss] = result
    return found


def test_a_sentence_for_each_target_against_its_own_reference():
    found = judged(("kronos", "garch", "close", "crps", outcome(-0.1, 0.2)))
    assert best_distribution(found) == "garch"  # chosen in validation, whatever its score in the test split
    said = verdicts(found)
    assert said == {
        "close": "close, 24 bars: not better than persistence (skill +0.0 %, p = 1.00); its distribution (CRPS) is not "
        "better than the garch's (skill -10.0 %, p = 0.20) (absolute error, Diebold-Mariano test, 200 origins; garch: "
        "the best reference in validation)",
        "volatility": "volatility, 24 bars: its variance forecast (QLIKE) is not better than the har's (skill -50.0 %, "
        "p = 0.40) (Diebold-Mariano test, 200 origins; har: the best reference in validation)",
        "probability up": "probability up, 24 bars: its probability (Brier score) is not better than a constant 50 % "
        "(skill -2.0 %, p = 0.30) (Diebold-Mariano test, 200 origins; a constant 50 %: the best reference in "
        "validation)",
    }
    assert said["close"] == verdict(found)
    assert "in validation" not in verdict(judged(split="test"))


def test_the_close_comes_first_whatever_is_significant():
    found = judged(("kronos", "har", "volatility", "qlike", outcome(-0.5, 1e-9)))
    assert list(verdicts(found)) == ["close", "volatility", "probability up"]
    assert [row[0] for row in summary_rows(found)] == [
        "close, absolute error",
        "close, CRPS",
        "volatility, QLIKE",
        "probability up, Brier",
    ]


def test_better_and_worse_need_the_corrected_p_value():
    """Four tests: the smallest p-value is multiplied by 4, the second by 3."""
    tests = [
        ("kronos", "garch", "close", "crps", outcome(0.013, 0.032)),
        ("kronos", "har", "volatility", "qlike", outcome(-0.5, 0.004)),
    ]
    found = judged(*tests)
    assert "not significantly better than the garch's (skill +1.3 %, p = 0.032; corrected for 4 tests p = 0.096)" in (
        verdict(found)
    )
    assert "worse than the har's (skill -50.0 %, p = 0.004) (" in target_verdict(found, "volatility")
    assert "优于 garch 的分布，但差异不显著（预测技能 +1.3 %，p = 0.032；按 4 次检验校正后 p = 0.096）" in verdict(
        found, "zh"
    )
    values = {one["judged"]: one for one in corrected_values(found)["tests"] if one["loss"] != "absolute"}
    assert values["close"]["p_value"] == 0.032  # as the test gave it
    assert values["close"]["corrected"] == pytest.approx(0.096)
    assert values["volatility"]["corrected"] == pytest.approx(0.016)
    assert correction_note(found) == (
        "better and worse: p < 0.05 after Holm's correction for the 4 tests of this verdict; p is without it"
    )
    assert ["close, CRPS", "garch", "+1.3 %", "0.032", "0.096", "not significant"] in summary_rows(found)
    assert correction_note(evaluation(origins=12) | {"skill": {"kronos": {}}}) is None


def test_a_reference_that_was_not_chosen_and_is_better_is_named():
    """A random walk: the chosen reference is the worst of the test split."""
    tests = [
        ("kronos", "garch", "close", "crps", outcome(0.013, 0.001)),
        ("kronos", "cone", "close", "crps", outcome(-0.007, 0.4)),
        ("kronos", "drift", "close", "absolute", outcome(-0.2, 0.4)),  # the close is judged by CRPS
    ]
    found = judged(*tests)
    assert (
        "its distribution (CRPS) is better than the garch's (skill +1.3 %, p = 0.001), but not better than the cone's "
        "(skill -0.7 %; the best reference on the test split) (" in verdict(found)
    )
    assert "，但不优于 cone 的分布（预测技能 -0.7 %；测试集上最好的基准）" in verdict(found, "zh")
    assert "drift" not in verdict(found)
    assert headline(found) == "better than the best simple forecast: close no, volatility no, probability up no"
    rows = summary_rows(found)
    at = rows.index(["close, CRPS", "garch", "+1.3 %", "0.001", "0.004", "better"])
    assert rows[at + 1] == ["close, CRPS", "cone", "-0.7 %", "-", "-", "not better, best on test"]
    found["skill"]["kronos"]["cone"]["close"]["crps"] = outcome(0.02, 0.4)
    assert headline(found) == "better than the best simple forecast: close yes, volatility no, probability up no"
    assert "test split" not in verdict(found)
    found["skill"]["kronos"]["garch"]["close"]["crps"] = outcome(-0.05, 0.4)  # the chosen one is the best of both
    found["skill"]["kronos"]["cone"]["close"]["crps"] = outcome(-0.02, 0.4)
    assert "test split" not in verdict(found)
    found["skill"]["kronos"]["cone"]["close"]["crps"] = outcome(-0.06, 0.4)
    assert ", and not better than the cone's (skill -6.0 %; " in verdict(found)


def test_the_headline_of_a_point_forecast_is_about_its_absolute_error():
    found = judged(("kronos", "persistence", "close", "absolute", outcome(0.1, 0.001)))
    found["forecasters"]["kronos"]["num_paths"] = 1
    assert headline(found).startswith("better than the best simple forecast: close yes, ")
    found["skill"]["kronos"]["drift"]["close"]["absolute"] = outcome(-0.1, 0.3)
    assert headline(found).startswith("better than the best simple forecast: close no, ")
    assert "but not better than drift (skill -10.0 %; the best reference on the test split)" in verdict(found)


def test_the_headline_says_whether_fine_tuning_helped():
    tests = [
        ("tuned", "base", "close", "crps", outcome(0.1, 0.2)),
        ("tuned", "base", "volatility", "qlike", outcome(0.2, 0.001)),
        ("tuned", "base", "close", "brier", outcome(-0.2, 0.001)),
    ]
    found = judged(*tests, models=("base", "tuned"))
    found["models"] = [{"name": "base"}, {"name": "tuned"}]
    assert headline(found) == (
        "tuned better than base: close no, volatility yes, probability up no (worse); better than the best simple "
        "forecast: close no, volatility no, probability up no"
    )
    found["models"][1]["tuned_from"] = "base"
    assert headline(found).startswith(
        "fine-tuning helped: close no, volatility yes, probability up no (worse); better than the best simple forecast"
    )
    assert headline(found, "zh").startswith("微调有帮助：close 否，volatility 是，probability up 否（更差）；")
    three = headline(judged(models=("base", "one", "two")))
    assert three.startswith("one better than base: close no, ")
    assert "; two better than the best simple forecast: close no, " in three
    assert summary_rows(judged(models=("base", "one", "two")))[0][0] == "one: close, absolute error"


def test_too_few_origins_or_references_have_no_headline():
    few = evaluation(("kronos", "persistence", "absolute", outcome(0.5, 0.0001, 12)), origins=12)
    assert headline(few) is None
    assert comparisons(few) == summary_rows(few) == []


def test_two_models_are_compared_on_every_target():
    found = judged(("tuned", "base", "volatility", "qlike", outcome(0.2, 0.001)), models=("base", "tuned"))
    assert target_verdict(found, "volatility") == (
        "volatility, 24 bars: tuned's variance forecast (QLIKE) is better than base's (skill +20.0 %, p = 0.001) "
        "and not better than the har's (skill -50.0 %, p = 0.40) (Diebold-Mariano test, 200 origins; har: the best "
        "reference in validation)"
    )
    chinese = target_verdict(found, "probability up", "zh")
    assert chinese.startswith("probability up，24 根 K 线：tuned ")
    assert "恒定的 50 %" in chinese


def test_what_cannot_be_compared_has_no_sentence():
    found = judged()
    for against in found["skill"].values():
        for one in against.values():
            del one["volatility"]["qlike"]
    assert target_verdict(found, "volatility") is None
    assert list(verdicts(found)) == ["close", "probability up"]
    assert list(verdicts(evaluation())) == ["close"]  # of an earlier version, without references


def test_range_and_volume_against_their_own_references():
    """The best reference of volume is a point forecast here; only some origins define volume."""
    found = judged(models=("base", "tuned"))
    for name, reference in (("range", "har"), ("volume", "persistence")):
        found["references"][name] = {
            "name": reference, "target": name, "loss": "crps", "split": "validation", "losses": {},
        }  # fmt: skip
        for one in (reference, "base"):
            result = outcome(0.2, 0.001) if one == "base" else outcome(-0.04, 0.3)
            found["skill"]["tuned"].setdefault(one, {})[name] = dict.fromkeys(("absolute", "crps"), result)
    for one in ("persistence", "base"):
        found["skill"]["tuned"][one]["volume"]["crps"]["origins"] = 90
    assert target_verdict(found, "range") == (
        "range, 24 bars: tuned's range forecast (CRPS) is better than base's (skill +20.0 %, p = 0.001) and not better "
        "than the har's (skill -4.0 %, p = 0.30) (Diebold-Mariano test, 200 origins; har: the best reference in "
        "validation)"
    )
    assert target_verdict(found, "volume") == (
        "volume, 24 bars: tuned's volume forecast (CRPS) is better than base's (skill +20.0 %, p = 0.001) and not "
        "better than persistence (skill -4.0 %, p = 0.30) (Diebold-Mariano test, 90 origins; persistence: the best "
        "reference in validation)"
    )
    assert target_verdict(found, "volume", "zh") == (
        "volume，24 根 K 线：tuned 的成交量预测（按 CRPS）优于 base 的分布（预测技能 +20.0 %，p = 0.001），"
        "不优于 persistence（预测技能 -4.0 %，p = 0.30）"
        "（Diebold-Mariano 检验，90 个预测起点；persistence：验证集上最好的基准）"
    )
    assert list(verdicts(found)) == ["close", "volatility", "probability up", "range", "volume"]
    for against in found["skill"].values():  # the models do not forecast volume
        for one in against.values():
            one["volume"] = {}
    assert target_verdict(found, "volume") is None
    assert "volume" not in verdicts(found)
