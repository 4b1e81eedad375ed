"""Every answer of the rules on candles, windows, codes and tokens."""

import re

import pytest

from ft_core.report.answers import OK, ask
from ft_core.report.catalogue import LANGUAGES
from ft_core.report.rules import COMMON_RULES
from ft_core.report.rules.model import training_values
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
    assert finding.reason("zh").startswith("s1、s2 的码本坍塌（codebook collapse），只剩约 1 / 1.3 个码")
    assert finding.figure("zh").startswith("s1 困惑度 200 -> 1（共 1,024 个码），用到过的码占 30.0 %；")


def test_perplexity_stands_beside_the_count_of_codes_where_that_is_known(tmp_path):
    rule = next(rule for rule in TOKENIZER.rules if rule.id == "code-usage")
    run = tokenizer_run()
    run.observed["config"].update(s1_bits=5, s2_bits=11)
    finding = ask(rule, run.facts(tmp_path / "known", VIEWS))
    assert re.search(
        r"s1 perplexity \S+ -> \S+ of 32 codes, \S+ % in use; s2 .* of 2,048 codes, ", finding.figure("en")
    )
    assert "（共 32 个码），用到过的码占" in finding.figure("zh")
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
    run.arguments.update(learning_rate=1e-3)
    published = ask(rule, run.facts(tmp_path / "published", VIEWS))
    assert (published.answer.case, published.answer.advice) == ("high", {"learning_rate": 4e-5})
    run.arguments.update(optim="muon")
    assert ask(rule, run.facts(tmp_path / "muon", VIEWS)).answer.case == "usual"
