"""Every answer of every common rule: a run that gives it, beside the healthy run that does not."""

import math
import re

import pytest

from ft_core.report.answers import NOT_KNOWN, OK, ask
from ft_core.report.catalogue import LANGUAGES, load_texts
from ft_core.report.rules import COMMON_RULES
from kronos_ft.report.views import VIEWS
from tests.written_runs import EVERY, STEPS, tokenizer_run

RULES = {rule.id: rule for rule in COMMON_RULES}
LATE = STEPS - 20


def nothing(run):
    """As it is."""


def plain(run):
    """A run without the record of this library's runs."""
    run.record = {}


def setting(**values):
    return lambda run: run.arguments.update(values)


def trained(name, value):
    return lambda run: run.training(name, value)


def validated(value):
    return lambda run: run.evaluated("recon_all", value)


def ended(step, status, checkpoints=None):
    def change(run):
        run.end_at(step, status)
        if checkpoints is not None:
            run.checkpoints = checkpoints

    return change


def in_use(step):
    """A run that another machine is at."""

    def change(run):
        run.end_at(step, "running")
        run.files[".lock"] = {"pid": 1, "host": "elsewhere"}

    return change


def bad_steps(count):
    entries = [{"step": step, "offending": ["BTC from 2020"], "samples": []} for step in range(7, 7 + count)]
    return lambda run: run.files.update({"bad_steps.json": entries})


def all_of(*changes):
    def change(run):
        for one in changes:
            one(run)

    return change


def rising_after(step, to=1.0):
    """A curve that falls to 0.1 until a step and rises from there."""
    return lambda at, _: 0.1 + (0.9 * (step - at) / step if at < step else (to - 0.1) * (at - step) / (STEPS - step))


def without_model(checkpoints):
    def change(run):
        run.has_model, run.checkpoints = False, checkpoints

    return change


def raw_prices(run):
    run.observed["train"]["inputs"].update(mean=41_000.0, std=9_000.0, largest=69_000.0)


def epochs(share):
    return lambda run: [entry.update(epoch=share * entry["step"] / STEPS) for entry in run.entries]


def apart_by(stride):
    """Windows of 101 bars, so far apart."""
    return lambda run: run.observed["shape"].update(stride=stride)


def without_softening(run):
    run.observed["config"].update(resid_dropout_p=0.0)


def steeply(step, _):
    return math.exp(-step / 20)


MISSED = validated(lambda step, old: 1.39 if not step else 0.5 if step < 160 else 0.2 if step < STEPS else 0.155)
HARDLY = validated(lambda step, _: 0.1998 if step else 0.2)
FLAT = trained("recon_all", lambda step, _: 0.2 + 0.02 * (step // EVERY % 2))
EXPLODED = trained("recon_all", lambda step, old: 9.0 if step == 100 else old)
ONE_NORM = trained("grad_norm", lambda step, old: 500.0 if step == 100 else old)
EARLY = all_of(setting(early_stopping=True), ended(100, "stopped early"))
# rule: answer: what is done to the healthy run
SCENARIOS = {
    "complete": {
        "finished": nothing,
        "running": in_use(100),
        "early": EARLY,
        "pruned": ended(160, "pruned"),
        "interrupted": ended(160, "interrupted: SIGINT"),
        "killed": ended(160, "running"),
        "lost": ended(40, "interrupted: SIGKILL"),
        "unfinished": ended(160, "stopped early"),
    },
    "early-stopping": {
        "saved": all_of(EARLY, validated(lambda step, _: 0.2 if step else 1.0)),
        "too_early": EARLY,
        "waiting": setting(early_stopping=True),
        "would_save": validated(lambda step, old: old if step < 30 else 0.5),
        "would_miss": MISSED,
        "not_needed": nothing,
    },
    "long-enough": {
        "settled": trained("learning_rate", 1e-4),
        "decayed": nothing,
        "decayed_short": all_of(epochs(0.63), apart_by(101)),
        "falling": validated(lambda step, _: 1.0 - 0.8 * step / STEPS),
        "exploded": EXPLODED,
        "not_ended": EARLY,
        "rising": trained("learning_rate", lambda step, old: 1e-4 * step / 800),
    },
    "saving": {
        "given_up": ended(160, "pruned"),
        "model": nothing,
        "model_alone": lambda run: run.checkpoints.clear(),
        "freed": all_of(without_model([]), lambda run: run.files.update({"../../sweep.json": {}})),
        "broken": all_of(EXPLODED, validated(lambda step, old: old if not step else 1.5)),
        "kept": ended(160, "interrupted: SIGINT"),
        "not_yet": in_use(40),
        "nothing": without_model([]),
        "best_gone": without_model([150]),
    },
    "speed": {
        "even": nothing,
        "faster": trained("bars_per_second", lambda step, _: 1000.0 if step < LATE - 60 else 1690.0),
        "a_little_slower": trained("bars_per_second", lambda step, _: 1000.0 if step < LATE - 60 else 800.0),
        "slower": trained("bars_per_second", lambda step, _: 1000.0 if step < LATE - 60 else 400.0),
    },
    "falling": {
        "falls": nothing,
        "fell_back": trained("recon_all", lambda step, _: 0.9 if step < 10 else 0.1 + 90 * math.exp(-step / 20)),
        "flat": FLAT,
        "flat_because": all_of(FLAT, raw_prices),
        "rises": trained("recon_all", lambda step, _: 0.1 + 0.5 * step / STEPS),
    },
    "improved": {
        "better": nothing,
        "fell_back": EXPLODED,
        "hardly": HARDLY,
        "hardly_because": all_of(HARDLY, raw_prices),
        "not_better": validated(lambda step, _: 0.3 if step else 0.2),
    },
    "in-step": {
        "in_step": nothing,
        "apart": validated(lambda step, old: 1.5 * old),
        "far": validated(lambda step, old: 3.0 * old),
        "easier": validated(lambda step, old: 0.3 * old),
        "easier_plain": all_of(without_softening, validated(lambda step, old: 0.3 * old)),
        "lags": all_of(trained("recon_all", steeply), validated(steeply)),
    },
    "overfitting": {
        "none": nothing,
        "some": validated(lambda step, old: old if step < LATE else 1.05 * old),
        "much": validated(lambda step, old: old if step < 120 else 0.3),
        "both_rise": all_of(trained("recon_all", rising_after(100)), validated(rising_after(100))),
    },
    "learning-rate": {
        "bearable": nothing,
        "not_finite": bad_steps(3),
        "worse": validated(lambda step, _: 0.5 if step else 0.2),
        "exploded": EXPLODED,
        "thrown_back": trained("recon_all", rising_after(100)),
        "jumps": trained("recon_all", lambda step, old: 3 * old if step // EVERY % 7 == 6 else old),
    },
    "steady": {
        "steady": nothing,
        "jumps": trained("recon_all", lambda step, old: 3 * old if step == 100 else old),
        "exploded": EXPLODED,
        "scatters": trained("recon_all", lambda step, old: old * (1.0 + step // EVERY % 2)),
    },
    "schedule": {
        "followed": nothing,
        "never_peaks": all_of(
            setting(one_cycle=False, lr_scheduler_type="linear", warmup_steps=800),
            trained("learning_rate", lambda step, old: 1e-4 * step / 800),
        ),
        "left": trained("learning_rate", lambda step, old: old if step < 100 else 1e-4),
    },
    "gradients": {
        "calm": nothing,
        "calm_unclipped": setting(max_grad_norm=0.0),
        "calm_unknown": plain,
        "spiked": all_of(setting(max_grad_norm=0.0), ONE_NORM),
        "spiked_unknown": all_of(plain, ONE_NORM),
        "held": ONE_NORM,
        "clipped": trained("grad_norm", 5.0),
        "grows": trained("grad_norm", lambda step, _: 0.01 if step < 100 else 1.0),
        "vanished": trained("grad_norm", lambda step, _: 1.0 if step < 100 else 0.0),
    },
    "finite": {
        "all": nothing,
        "few": bad_steps(2),
        "many": trained("loss", lambda step, old: None if step > 150 else old),
        "all_logged": plain,
        "few_logged": all_of(plain, trained("grad_norm", lambda step, old: None if step == 5 else old)),
        "many_logged": all_of(plain, trained("grad_norm", lambda step, old: None if step > 150 else old)),
    },
    "weights": {
        "steady": nothing,
        "grows": trained("weight_norm", lambda step, _: 50.0 + 0.2 * step),
        "blows_up": trained("weight_norm", lambda step, _: 1.0 + step),
        "destroyed": trained("weight_norm", lambda step, _: 300.0 if step == 50 else 90.0 * math.exp(-step / 50)),
        "shrinks": trained("weight_norm", lambda step, _: 90.0 - 0.4 * step),
    },
    "fits-data": {
        "fits": nothing,
        "large": lambda run: run.observed.update(trainable=10_000_000),
        "too_large": lambda run: (
            run.observed.update(trainable=1_000_000),
            run.evaluated("recon_all", lambda step, old: 3.0 * old),
        ),
    },
    "loss-suits": {
        "suits": nothing,
        "signed": setting(metric_for_best_model="eval_loss"),
    },
    "optimizer": {
        "usual": nothing,
        "high": setting(learning_rate=0.1),
        "low": setting(learning_rate=1e-9),
        "cycled": setting(cycle_momentum=True),
    },
    "regularisation": {
        "balanced": nothing,
        "weak": all_of(setting(weight_decay=0.0), validated(lambda step, old: 3.0 * old)),
        "not_enough": lambda run: (
            run.record["augmentation"].update(augment_noise=True),
            run.evaluated("recon_all", lambda step, old: 3.0 * old),
        ),
        "strong": setting(weight_decay=2.0),
    },
    "precision": {
        "fits": nothing,
        "fp16": setting(fp16=True),
        "fp16_breaks": all_of(setting(fp16=True), bad_steps(1)),
    },
}  # fmt: skip
# answers that only a plain Trainer gets; see test_plain_trainer.py
OF_PLAIN_TRAINERS = {"rewarded", "since_first", "not_since_first", "described"}
OF_PLAIN_TRAINERS |= {"stopped_before", "missed_later", "flat_now", "improving", "saves_little"}
CASES = [(rule, case) for rule, cases in SCENARIOS.items() for case in cases]


def finding_after(rule, change, folder):
    run = tokenizer_run()
    change(run)
    return ask(rule, run.facts(folder, VIEWS))


def test_there_is_a_run_for_every_answer_of_every_rule():
    assert {rule.id: set(rule.verdicts) - OF_PLAIN_TRAINERS for rule in COMMON_RULES} == {
        id: set(cases) for id, cases in SCENARIOS.items()
    }


@pytest.mark.parametrize(("rule", "case"), CASES)
def test_each_run_gets_its_answer(rule, case, tmp_path):
    finding = finding_after(RULES[rule], SCENARIOS[rule][case], tmp_path / "trials" / "run")
    assert finding.answer.case == case, finding.answer
    assert finding.figure("en")
    for language in LANGUAGES:
        assert "{" not in finding.reason(language)


def test_the_healthy_run_is_well(tmp_path):
    facts = tokenizer_run().facts(tmp_path / "run", VIEWS)
    verdicts = {rule.id: ask(rule, facts).verdict for rule in (*COMMON_RULES, *facts.view.rules)}
    assert set(verdicts.values()) == {OK}, {name: verdict for name, verdict in verdicts.items() if verdict != OK}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_without_its_facts_does_not_apply(rule, tmp_path):
    """A run that has just begun: settings and figures are not there, and nothing may fail."""
    run = tokenizer_run()
    run.entries, run.checkpoints, run.has_model = [], [], False
    run.record = {"status": "running", "arguments": {}, "observed": None, "data": 7, "hardware": None}
    finding = ask(rule, run.facts(tmp_path / "run", VIEWS))
    assert finding.verdict == NOT_KNOWN or rule.id in ("complete", "saving", "finite")
    if finding.verdict == NOT_KNOWN:
        assert finding.reason("en")
        assert finding.reason("zh")


def test_a_negative_total_is_no_falling_error(tmp_path):
    """The loss falls below zero while the reconstruction gets worse: the report reads the reconstruction."""
    run = tokenizer_run()
    run.training("loss", lambda step, _: -step / STEPS)
    run.training("recon_all", lambda step, _: 0.2 + 0.5 * step / STEPS)
    facts = run.facts(tmp_path / "run", VIEWS)
    assert ask(RULES["falling"], facts).answer.case == "rises"


def test_one_bad_step_is_not_laid_to_the_learning_rate(tmp_path):
    run = tokenizer_run()
    bad_steps(1)(run)
    facts = run.facts(tmp_path / "run", VIEWS)
    assert ask(RULES["learning-rate"], facts).answer.case == "bearable"
    assert ask(RULES["finite"], facts).figure("en").startswith("1 step not applied, 0 entries")


def test_validation_at_the_start_is_no_measure_of_training(tmp_path):
    """Raw prices of another level: training lies ten times above validation from its first entry on."""
    run = tokenizer_run()
    run.training("recon_all", lambda step, _: 20.0 + step % 2)
    assert ask(RULES["learning-rate"], run.facts(tmp_path / "run", VIEWS)).answer.case == "bearable"


def test_weights_of_a_run_with_too_high_a_rate_ask_for_no_other_decay(tmp_path):
    run = tokenizer_run()
    EXPLODED(run)
    trained("weight_norm", lambda step, _: 300.0 if step == 50 else 90.0 - 0.2 * step)(run)
    finding = ask(RULES["weights"], run.facts(tmp_path / "run", VIEWS))
    assert finding.answer.case == "blows_up"  # by the highest, not by the last
    assert finding.answer.advice == {}


def test_random_weights_may_grow(tmp_path):
    run = tokenizer_run()
    trained("weight_norm", lambda step, _: 50.0 + 0.2 * step)(run)
    run.record["model"]["from_scratch"] = True
    assert ask(RULES["weights"], run.facts(tmp_path / "run", VIEWS)).answer.case == "steady"


def test_a_leaked_validation_is_said_wherever_it_is_read(tmp_path):
    run = tokenizer_run()
    run.observed["shared_share"] = 0.4
    facts = run.facts(tmp_path / "run", VIEWS)
    names = ("improved", "in-step", "overfitting", "long-enough", "loss-suits", "early-stopping", "regularisation")
    for name in (*names, "fits-data"):
        finding = ask(RULES[name], facts)
        assert finding.reason("en").endswith("Validation is leaked, so this value is not reliable.")
        assert "验证集已泄漏，仅供参考。" in finding.reason("zh")
    assert "leaked" not in ask(RULES["falling"], facts).reason("en")


def test_an_explosion_before_the_first_entry_is_one(tmp_path):
    """Training is first logged on its way down from far above the starting weights, and ends beside validation."""
    run = tokenizer_run()
    run.training("recon_all", lambda step, _: 0.1 + 1000 * math.exp(-step / 15))
    facts = run.facts(tmp_path / "run", VIEWS)
    assert ask(RULES["learning-rate"], facts).answer.case == "exploded"
    assert ask(RULES["falling"], facts).answer.case == "fell_back"


def test_windows_that_overlap_show_the_bars_before_the_epoch_is_over(tmp_path):
    """0.63 epochs of windows of 101 bars, four bars apart: each bar was seen sixteen times."""
    run = tokenizer_run()
    all_of(epochs(0.63), apart_by(4))(run)
    assert ask(RULES["long-enough"], run.facts(tmp_path / "run", VIEWS)).answer.case == "decayed"


def test_less_than_an_epoch_asks_for_one(tmp_path):
    run = tokenizer_run()
    all_of(epochs(0.63), apart_by(101))(run)
    run.observed["steps_per_epoch"] = 318
    assert ask(RULES["long-enough"], run.facts(tmp_path / "run", VIEWS)).answer.advice == {"max_steps": 318}


def test_figures_of_an_explosion_name_their_series(tmp_path):
    run = tokenizer_run()
    run.training("recon_all", lambda step, _: 0.1 + 1000 * math.exp(-step / 15))
    finding = ask(RULES["falling"], run.facts(tmp_path / "run", VIEWS))
    assert finding.figure("en").startswith("eval_recon_all 0.918 at the start, recon_all 716.6 at its highest (step 5)")
    assert finding.figure("zh").startswith("起点 eval_recon_all 0.918，最高 recon_all 716.6（第 5 步），终点 recon_all")
    assert "highest: recon_all 716.6" in finding.reason("en")


def test_a_model_from_before_the_explosion_is_of_use(tmp_path):
    run = tokenizer_run()
    EXPLODED(run)
    assert ask(RULES["saving"], run.facts(tmp_path / "run", VIEWS)).answer.case == "model"


def test_a_model_of_withered_weights_is_of_no_use(tmp_path):
    """Its validation is a little below that of the start, which an answer of 0 everywhere has too."""
    run = tokenizer_run()
    all_of(EXPLODED, trained("weight_norm", lambda step, _: 90.0 * math.exp(-step / 50)))(run)
    assert ask(RULES["saving"], run.facts(tmp_path / "run", VIEWS)).answer.case == "broken"


@pytest.mark.parametrize(
    ("shared", "words"), [(0.0, "an easier validation period."), (None, "an easier validation period or a leak.")]
)
def test_a_leak_that_was_ruled_out_is_not_suspected(shared, words, tmp_path):
    run = tokenizer_run()
    SCENARIOS["in-step"]["easier_plain"](run)
    run.observed["shared_share"] = shared
    finding = ask(RULES["in-step"], run.facts(tmp_path / "run", VIEWS))
    assert finding.reason("en").endswith(words)
    assert ("泄漏" in finding.reason("zh")) == (shared is None)


def test_chinese_sentences_have_chinese_punctuation_and_name_questions(tmp_path):
    run = tokenizer_run()
    EXPLODED(run)
    facts = run.facts(tmp_path / "run", VIEWS)
    assert ask(RULES["complete"], facts).figure("zh") == "200 / 200 步（100 %）"
    assert ask(RULES["saving"], facts).figure("zh") == "2 个检查点，0.0 MB，最新完整：200，最佳：200"
    assert "见「学习率过高吗？」（learning-rate）。" in ask(RULES["steady"], facts).reason("zh")


def test_the_rules_that_texts_refer_to_exist():
    for view in VIEWS:
        ids = {rule.id for rule in (*COMMON_RULES, *view.rules)}
        for language in LANGUAGES:
            texts = load_texts(language, view.package)
            known = [*texts.section("overrides").values(), *texts.section("effects").values()]
            known += [text for id in ids for text in texts.rule(id)["answers"].values()]
            named = {
                name for text in known for name in re.findall(r"rule\('([a-z-]+)'\)|see ([a-z]+(?:-[a-z]+)*)[.)]", text)
            }
            assert {"".join(names) for names in named} - ids <= {"shared-texts"}
