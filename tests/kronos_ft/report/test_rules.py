"""Every answer of the rules on candles, windows, codes and tokens."""

import re

import pytest

from ft_core.report.answers import OK, PROBLEM, ask
from ft_core.report.catalogue import LANGUAGES
from ft_core.report.causes import ask_all
from ft_core.report.rules import COMMON_RULES
from ft_core.report.rules.model import training_values
from ft_core.report.write import write_report
from kronos_ft.report.views import PREDICTOR, TOKENIZER, VIEWS
from tests.written_runs import predictor_run, tokenizer_run

DAYS = ["2020-01-01T00:00:00", "2020-09-01T00:00:00"]


def nothing(run):
    """As it is."""


def inputs(**values):
    return lambda run: [run.observed[split]["inputs"].update(values) for split in ("train", "validation")]


def counted(split, **values):
    return lambda run: run.observed[split].update(values)


def defects(count):
    return lambda run: run.observed["candles"].update(defects={"contradiction": count})


def market(kind):
    def change(run):
        run.observed["train"]["across_gaps"] = 4000
        run.observed["candles"]["markets"] = [kind]

    return change


def codes(s1=120.0, s2=90.0, start=None):
    def change(run):
        for name, value in (("s1", s1), ("s2", s2)):
            run.evaluated(f"code_perplexity_{name}", lambda step, _, v=value: v if step or start is None else start)

    return change


SCENARIOS = {
    "preprocessing": {"clean": nothing, "mended": defects(3), "many": defects(500)},
    "scaling": {"scaled": nothing, "unscaled": inputs(mean=41_000.0, std=9_000.0, largest=69_000.0)},
    "clipping": {
        "little": nothing,
        "some": inputs(clipped_share=0.05),
        "much": inputs(clipped_share=0.3),
        "not_applied": inputs(clipped_share=1.0, largest=1.5e8),
    },
    "scale-from-past": {
        "past": nothing,
        "future": inputs(lookback_offset=0.2, window_offset=1e-6),
        "neither": inputs(lookback_offset=0.5, window_offset=0.5),
    },
    "windows": {
        "enough": nothing,
        "few_validation": counted("validation", windows=20),
        "few_training": counted("train", windows=100),
        "no_validation": lambda run: run.observed.pop("validation"),
    },
    "split": {
        "shared_out": nothing,
        "thin": counted("validation", bars=100),
        "overlap": lambda run: run.observed.update(shared_share=0.4),
    },
    "leakage": {
        "unseen": nothing,
        "shared": lambda run: run.observed.update(shared_share=0.4),
        "others": lambda run: (
            run.observed["train"]["spans"].update(ETH=["2020-01-01T00:00:00", "2020-10-30T00:00:00"]),
            run.observed["validation"]["spans"].update(ETH=["2020-11-05T00:00:00", "2020-12-01T00:00:00"]),
        ),
        "adjacent": lambda run: run.observed["validation"]["spans"].update(BTC=["2020-09-01T01:00:00", DAYS[1]]),
    },
    "gaps": {"few": nothing, "session": market("session"), "many": market("continuous")},
    "explained": {
        "most": nothing,
        "some": lambda run: run.evaluated("recon_all", 0.4),
        "little": lambda run: run.evaluated("recon_all", 0.9),
        "nothing": lambda run: run.evaluated("recon_all", 1.19),
    },
    "code-usage": {
        "many": nothing,
        "few": codes(s2=9.0),
        "shrinks": codes(s2=9.0, start=200.0),
        "collapsed": codes(s1=1.0, start=200.0),
        "never": codes(s1=1.0),
    },
}
OF_PREDICTOR = {
    "beats-frequencies": {
        "beats": nothing,
        "one_does_not": lambda run: run.observed.update(token_entropy={"s1": 2.51, "s2": 4.5}),
        "does_not": lambda run: run.observed.update(token_entropy={"s1": 2.0, "s2": 2.0}),
    },
    "conditioning": {"true": nothing, "sampled": lambda run: run.arguments.update(s1_conditioning="sampled")},
}
CASES = [(tokenizer_run, rule, case, change) for rule, cases in SCENARIOS.items() for case, change in cases.items()]
CASES += [(predictor_run, rule, case, change) for rule, cases in OF_PREDICTOR.items() for case, change in cases.items()]


def test_there_is_a_run_for_every_answer_of_every_rule():
    known = {rule.id: set(rule.verdicts) for view in (TOKENIZER, PREDICTOR) for rule in view.rules}
    assert known == {rule: set(cases) for rule, cases in (SCENARIOS | OF_PREDICTOR).items()}


@pytest.mark.parametrize(
    ("make", "rule", "case", "change"), CASES, ids=[f"{rule}-{case}" for _, rule, case, _ in CASES]
)
def test_each_run_gets_its_answer(make, rule, case, change, tmp_path):
    run = make()
    change(run)
    facts = run.facts(tmp_path / "run", VIEWS)
    finding = ask(next(one for one in facts.view.rules if one.id == rule), facts)
    assert finding.answer.case == case, finding.answer
    for language in LANGUAGES:
        assert "{" not in finding.reason(language)


def test_a_healthy_predictor_is_well(tmp_path):
    facts = predictor_run().facts(tmp_path / "run", VIEWS)
    assert facts.view is PREDICTOR
    found = {rule.id: ask(rule, facts).verdict for rule in (*COMMON_RULES, *facts.view.rules)}
    assert set(found.values()) == {OK}, found


def test_a_predictors_gap_is_a_difference(tmp_path):
    """0.3 nats are a factor of 1.35 in perplexity, however large the loss is; as a ratio it would pass."""
    run = predictor_run()
    run.evaluated("loss", lambda step, old: old + 0.3)
    facts = run.facts(tmp_path / "run", VIEWS)
    finding = ask(next(rule for rule in (*COMMON_RULES, *facts.view.rules) if rule.id == "in-step"), facts)
    assert finding.answer.case == "apart"
    assert "nats" in finding.figure("en")


def test_all_codebooks_that_collapsed_are_named(tmp_path):
    run = tokenizer_run()
    codes(s1=1.0, s2=1.26, start=200.0)(run)
    finding = ask(next(rule for rule in TOKENIZER.rules if rule.id == "code-usage"), run.facts(tmp_path / "run", VIEWS))
    assert "codebook of s1 and s2 has collapsed (codes left: about 1 / 1.3)" in finding.reason("en")
    assert finding.reason("zh").startswith("s1、s2 的码本坍塌（codebook collapse），只剩约 1 / 1.3 个编码")
    assert finding.figure("zh").startswith("s1 困惑度 200 -> 1（共 1,024 个编码），用到过的编码占 30.0 %；")


def test_perplexity_stands_beside_the_count_of_codes_where_that_is_known(tmp_path):
    rule = next(rule for rule in TOKENIZER.rules if rule.id == "code-usage")
    run = tokenizer_run()
    run.observed["config"].update(s1_bits=5, s2_bits=11)
    finding = ask(rule, run.facts(tmp_path / "known", VIEWS))
    assert re.search(
        r"s1 perplexity \S+ -> \S+ of 32 codes, \S+ % in use; s2 .* of 2,048 codes, ", finding.figure("en")
    )
    assert "（共 32 个编码），用到过的编码占" in finding.figure("zh")
    assert " of " not in finding.figure("zh")
    for name in ("s1_bits", "s2_bits"):
        del run.observed["config"][name]
    assert " codes" not in ask(rule, run.facts(tmp_path / "unknown", VIEWS)).figure("en")


def test_values_of_the_data_are_those_that_a_window_shows(tmp_path):
    run = tokenizer_run()
    run.observed["train"].update(windows=20, bars=24_000)
    assert training_values(run.facts(tmp_path / "run", VIEWS)) == 6 * 20 * 101


def test_code_usage_of_a_leaked_validation_says_so(tmp_path):
    run = tokenizer_run()
    run.observed["shared_share"] = 0.4
    finding = ask(next(rule for rule in TOKENIZER.rules if rule.id == "code-usage"), run.facts(tmp_path / "run", VIEWS))
    assert finding.reason("en").endswith("Validation is leaked, so this value is not reliable.")


def random_predictor(run):
    """Started by a script, so that nothing says from_scratch: the first evaluation is that of equally likely tokens."""
    del run.record["data"], run.record["model"]
    run.evaluated("loss", lambda step, old: old if step else 6.95)
    run.arguments["learning_rate"] = 1e-3
    run.training("learning_rate", lambda step, old: 10 * old)


def test_the_usual_range_of_learning_rates_is_that_of_published_weights(tmp_path):
    """1e-3 is above it, and right for random weights; the default of 4e-5 would train them for ever."""
    rule = next(rule for rule in COMMON_RULES if rule.id == "optimizer")
    run = predictor_run()
    random_predictor(run)
    random = ask(rule, run.facts(tmp_path / "random", VIEWS))
    assert (random.verdict, random.answer.advice) == (OK, {})
    assert "applies to fine-tuning published weights only" in random.reason("en")
    run = predictor_run()
    run.record["model"]["from_scratch"] = True
    run.arguments["learning_rate"] = 3e-3
    assert ask(rule, run.facts(tmp_path / "higher", VIEWS)).answer.case == "usual"
    run = predictor_run()
    run.arguments.update(learning_rate=1e-3)
    published = ask(rule, run.facts(tmp_path / "published", VIEWS))
    assert (published.answer.case, published.answer.advice) == ("high", {"learning_rate": 4e-5})
    run.arguments.update(optim="muon")
    assert ask(rule, run.facts(tmp_path / "muon", VIEWS)).answer.case == "usual"


def below_frequencies(rate):
    """A predictor from random weights that ends above the entropy of its tokens."""
    run = predictor_run()
    run.record["model"]["from_scratch"] = True
    run.arguments["learning_rate"] = rate
    run.training("learning_rate", lambda step, old: rate * old / 1e-4)
    OF_PREDICTOR["beats-frequencies"]["does_not"](run)
    return run


def test_random_weights_with_the_rate_of_published_ones_are_told_a_higher_one(tmp_path):
    folder = below_frequencies(4e-5).write(tmp_path / "run")
    report = write_report(folder, VIEWS, "en")
    changes = {change.setting: change for change in report.changes}
    assert changes["learning_rate"].after == 1e-3
    assert changes["learning_rate"].rules == ["beats-frequencies", "optimizer"]
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "Train again with learning_rate 0.001 (beats-frequencies)." in text
    assert "the learning rate 4e-05 is too low for random weights; train again with 0.001." in text
    assert "The learning rate 4e-05 is below the range for training from random weights (0.0002 to 0.01)" in text
    write_report(folder, VIEWS, "zh")
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "学习率 4e-05 对随机权重来说过低，请改用 0.001 重新训练" in text
    assert "学习率 4e-05 低于从随机权重训练的范围（0.0002 至 0.01）" in text
    assert "learning_rate: 0.001  # [beats-frequencies, optimizer]" in (folder / "next.yaml").read_text(
        encoding="utf-8"
    )


def still_falling(run):
    for change in (run.training, run.evaluated):
        change("loss", lambda step, _: 7.0 - 0.01 * step)


def flat_at_the_end(run):
    run.training("loss", lambda step, _: 7.0 - 0.02 * min(step, 60))
    run.evaluated("loss", lambda step, _: 7.0 - 0.02 * min(step, 60) + 1e-4 * (step > 150))


def thrown_back(run):
    run.training("loss", lambda step, _: 6.0 - 0.05 * step if step < 80 else 2.0 + 0.03 * (step - 80))


@pytest.mark.parametrize(
    ("change", "words", "settings"),
    [
        (still_falling, "the loss was still falling; train for more steps", {"max_steps": 400}),
        (flat_at_the_end, "the loss no longer fell; start from other weights", {}),
        (thrown_back, "the learning rate is too high; see learning-rate.", {}),
    ],
)
def test_a_predictor_below_token_frequencies_is_told_what_helps(change, words, settings, tmp_path):
    run = below_frequencies(1e-3)
    change(run)
    found = {finding.rule.id: finding for finding in ask_all(run.facts(tmp_path / "run", VIEWS))}
    finding = found["beats-frequencies"]
    assert finding.verdict == PROBLEM
    assert words in finding.reason("en")
    assert finding.answer.advice == settings


def test_a_rate_from_random_weights_that_exploded_is_not_lowered_to_that_of_published_ones(tmp_path):
    run = below_frequencies(1e-1)
    run.training("loss", lambda step, old: 40.0 if step == 100 else old)
    finding = next(one for one in ask_all(run.facts(tmp_path / "run", VIEWS)) if one.rule.id == "learning-rate")
    assert (finding.answer.case, finding.answer.advice) == ("exploded", {"learning_rate": 1e-3})


def test_weights_that_are_recorded_as_trained_are_not_taken_for_random_ones(tmp_path):
    """Raw prices make the first validation as bad as that of random weights."""
    run = predictor_run()
    run.evaluated("loss", lambda step, old: old if step else 6.95)
    assert not run.facts(tmp_path / "recorded", VIEWS).is_untrained_at_start
    del run.record["model"]
    assert run.facts(tmp_path / "not-recorded", VIEWS).is_untrained_at_start


@pytest.mark.parametrize(
    ("language", "words"), [("en", "pinball (quantile) loss, lower is better"), ("zh", "分位数损失")]
)
def test_a_quantile_head_reconstructs_nothing(language, words, tmp_path):
    run = predictor_run()
    run.record["stage"] = run.observed["stage"] = "quantiles"
    folder = run.write(tmp_path / "run")
    write_report(folder, VIEWS, language)
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert words in text
    assert "lossless" not in text
    assert "无损重建" not in text


def test_a_reconstruction_to_watch_is_no_answer_yes(tmp_path):
    run = tokenizer_run()
    SCENARIOS["explained"]["some"](run)
    finding = next(one for one in ask_all(run.facts(tmp_path / "run", VIEWS)) if one.rule.id == "explained")
    assert finding.question("en") == "Does the reconstruction keep enough of the variance?"
    assert finding.question("zh") == "重建保留了足够的方差吗？"


@pytest.mark.parametrize("has_validation", [True, False])
def test_a_model_with_more_parameters_than_values_is_told_why_it_is_not_too_large(has_validation, tmp_path):
    run = tokenizer_run()
    run.observed["trainable"] = 2_000_000
    if not has_validation:
        run.entries = [entry for entry in run.entries if "eval_loss" not in entry]
    rule = next(rule for rule in COMMON_RULES if rule.id == "fits-data")
    finding = ask(rule, run.facts(tmp_path / "run", VIEWS))
    assert finding.verdict == OK
    assert "57.5 trainable parameters per training value, no more than the limit of 100" in finding.reason("en")
    assert ("validation is not far above training" in finding.reason("en")) == has_validation
    assert ("验证值也没有远高于训练值" in finding.reason("zh")) == has_validation
    assert "因此不判为过大" in finding.reason("zh")
