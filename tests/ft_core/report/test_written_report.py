"""Reports as files: complete in both languages, safe, self-contained, with a next run that parses."""

import math
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
import yaml

from ft_core.cli.settings import parse_settings
from ft_core.report.advice import yaml_value
from ft_core.report.answers import GROUPS, ask
from ft_core.report.catalogue import LANGUAGES, default_language, load_texts
from ft_core.report.charts import Chart, Line, draw, outlying_unit, ticks
from ft_core.report.facts import read_run
from ft_core.report.rules import COMMON_RULES
from ft_core.report.write import write_report
from kronos_ft.report.views import TOKENIZER, VIEWS
from kronos_ft.training.presets import PRESETS
from kronos_ft.training.quantile_arguments import STAGE_TYPES
from mt5_ft.report.views import MT5
from tests.written_runs import mt5_run, tokenizer_run

ALL_RULES = {rule.id: rule for view in (*VIEWS, MT5) for rule in (*COMMON_RULES, *view.rules)}
VOID = ("meta", "br")
PARTS = ("advice", "findings", "pictures", "losses", "optimisation", "settled", "status", "disk")
EVIL = "\x1b[31m<script>alert(1)</script>|`[x](http://evil)"


class Page(HTMLParser):
    """Checks that elements close in order and collects what could ask the network."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.places = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.places += [value for name, value in attrs if name in ("src", "href", "xlink:href", "action", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def sick_run():
    run = tokenizer_run()
    run.evaluated("recon_all", lambda step, old: 3.0 * old)
    run.arguments["metric_for_best_model"] = "eval_loss"
    run.observed["train"]["inputs"].update(clipped_share=0.3)
    return run


# The checklist


def test_the_checklist_has_its_three_groups():
    assert len(COMMON_RULES) >= 15
    for view in (*VIEWS, MT5):
        groups = [rule.group for rule in (*COMMON_RULES, *view.rules)]
        assert set(groups) == set(GROUPS)
        assert len(groups) >= 20


def test_the_language_is_that_of_the_locale(monkeypatch):
    for name in ("LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    for value, language in (("zh_CN.UTF-8", "zh"), ("en_US.UTF-8", "en"), ("C", "en"), ("de_DE.UTF-8", "en")):
        monkeypatch.setenv("LANG", value)
        assert default_language() == language


# Files


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_report_has_all_its_parts(language, tmp_path):
    folder = sick_run().write(tmp_path / "run")
    report = write_report(folder, VIEWS, language)
    assert [file.name for file in report.files] == ["report.md", "report.html", "next.yaml"]
    for name in ("report.md", "report.html"):
        text = (folder / name).read_text(encoding="utf-8")
        places = [text.index(load_texts(language)(key)) for key in PARTS]
        assert places == sorted(places), "the parts are not in their order"
        for finding in report.findings:
            assert finding.rule.id in text
    assert (folder / "report.svg").read_text(encoding="utf-8").startswith("<svg ")


def test_the_chinese_report_has_no_english_sentence(tmp_path):
    folder = sick_run().write(tmp_path / "run")
    report = write_report(folder, VIEWS, "zh")
    for finding in report.findings:
        text = finding.figure("zh")
        for words in re.findall(r"[A-Za-z_]+(?: [A-Za-z_]+)+", text):
            assert any("_" in word or word in ("s1", "s2", "x") for word in words.split()), (finding.rule.id, text)


def test_the_page_needs_nothing_but_itself(tmp_path):
    folder = sick_run().write(tmp_path / "run")
    write_report(folder, VIEWS, "en")
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.places == []
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert "url(" not in text
    assert "@import" not in text
    assert re.findall(r"https?://[^\"' ]+", text) == ["http://www.w3.org/2000/svg"] * text.count("<svg ")
    for mode in ("prefers-color-scheme: dark", "@media print"):
        assert mode in text
    assert len(text) < 200_000


def test_numbers_stand_right_and_cells_name_their_column(tmp_path):
    folder = sick_run().write(tmp_path / "run")
    write_report(folder, VIEWS, "en")
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert re.search(r'<td style="text-align:right" data-name="training, first">[\d.]+</td>', text)
    assert '<td data-name="question">Did the run finish?</td>' in text
    assert "max-width: 600px" in text


@pytest.mark.parametrize(("language", "words"), [
    ("en", ("1,000 bars per second", "1 min 40 s; 0.5 s per step, including evaluation", "Code usage", "total")),
    ("zh", ("1,000 根 K 线/秒", "1 分 40 秒；每步 0.5 秒（含验证与保存）", "码本使用情况", "合计", "![重建：均方误差")),
])  # fmt: skip
def test_units_and_spans_are_in_the_language(language, words, tmp_path):
    folder = tokenizer_run().write(tmp_path / "run")
    write_report(folder, VIEWS, language)
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert [one for one in words if one not in text] == []
    for name in ("recon_pre", "commitment", "entropy_codebook"):
        assert f"`{name}`" in text  # the terms are explained


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_report_does_not_count_itself(language, tmp_path):
    """Nor those beside it, so that all languages and every writing tell the same size."""
    folder = tokenizer_run().write(tmp_path / "run")
    before = read_run(folder, VIEWS).disk
    write_report(folder, VIEWS, language)
    write_report(folder, VIEWS, language, folder / "report-other")
    assert read_run(folder, VIEWS).disk == before


def test_curves_of_raw_prices_are_in_no_normalised_units(tmp_path):
    run = tokenizer_run()
    run.observed["train"]["inputs"].update(mean=41_000.0, std=9_000.0)
    folder = run.write(tmp_path / "run")
    for language, words in (("en", "normalised units"), ("zh", "归一化单位")):
        write_report(folder, VIEWS, language)
        assert words not in (folder / "report.html").read_text(encoding="utf-8")
    write_report(tokenizer_run().write(tmp_path / "scaled"), VIEWS, "zh")
    assert "（归一化单位）" in (tmp_path / "scaled" / "report.md").read_text(encoding="utf-8")


def test_names_from_outside_are_no_markup(tmp_path):
    run = sick_run()
    run.files["bad_steps.json"] = [{"step": 3, "offending": [EVIL]}]
    run.record["data"]["policy"] = EVIL
    run.record["hardware"] = {"device": EVIL}
    run.observed["train"]["spans"] = {EVIL: ["2020-01-01", "2020-02-02"]}
    folder = run.write(tmp_path / "run")
    write_report(folder, VIEWS, "en")
    page = Page()
    text = (folder / "report.html").read_text(encoding="utf-8")
    page.feed(text)
    assert page.open == []
    assert "script" not in page.tags
    assert page.places == []
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    assert "](http://evil)" not in markdown.replace("\\]", "")
    assert not {"\x1b"} & set(text + markdown + (folder / "next.yaml").read_text(encoding="utf-8"))
    rows = [line for line in markdown.splitlines() if "alert(1)" in line]
    assert rows
    assert all("<script>" not in re.sub(r"`[^`]*`|\\<", "", row) for row in rows)


# The next run


def test_the_next_run_parses_and_has_what_was_advised(tmp_path):
    folder = sick_run().write(tmp_path / "run")
    report = write_report(folder, VIEWS, "en")
    advised = {change.setting: change for change in report.changes}
    assert {"metric_for_best_model", "early_stopping", "weight_decay", "clip"} <= set(advised)
    *_, args = parsed = parse_settings(
        STAGE_TYPES["tokenizer"], ["--config", str(folder / "next.yaml"), "--use_cpu"], presets=PRESETS,
        default_preset="baseline", program="test",
    )  # fmt: skip
    assert args.metric_for_best_model == "eval_recon_all"
    assert args.early_stopping is True
    assert args.weight_decay == advised["weight_decay"].after == 0.2
    assert args.learning_rate == 1e-4
    assert args.output_dir == f"{folder}-next"
    assert parsed[1].clip == 10.0
    assert parsed[1].data == "btc.csv"
    for line in (folder / "next.yaml").read_text().splitlines():
        if line.split(":")[0] in advised:
            change = advised[line.split(":")[0]]
            assert line.endswith(f"# [{', '.join(change.rules)}] {change.figure('en')}")
    markdown = (folder / "report.md").read_text()
    assert '- metric_for_best_model: "eval_loss"\n+ metric_for_best_model: "eval_recon_all"  # [loss-suits]' in markdown


def test_of_several_learning_rates_the_lowest_is_advised(tmp_path):
    run = tokenizer_run()
    run.arguments["learning_rate"] = 2.0
    run.training("recon_all", lambda step, old: 9.0 if step == 100 else old)
    changes = {change.setting: change for change in write_report(run.write(tmp_path / "run"), VIEWS, "en").changes}
    assert changes["learning_rate"].after == 2e-4  # that of the stage, not a tenth of 2
    assert changes["learning_rate"].rules == ["learning-rate", "optimizer"]
    assert changes["learning_rate"].figure("en").endswith("-> 9 (step 100)")  # of the gravest


def test_every_advised_setting_is_one(tmp_path):
    """All settings that a rule's answers name in their advice are fields of the stage that they are given to."""
    from tests.ft_core.report.test_rules import SCENARIOS as COMMON_RUNS
    from tests.kronos_ft.report.test_rules import SCENARIOS as KRONOS_RUNS

    names = {field for kind in STAGE_TYPES["tokenizer"] for field in kind.__dataclass_fields__}
    seen = set()
    for rule, cases in (COMMON_RUNS | KRONOS_RUNS).items():
        for case, change in cases.items():
            run = tokenizer_run()
            change(run)
            facts = run.facts(tmp_path / f"{rule}-{case}", VIEWS)
            seen |= set(ask(ALL_RULES[rule], facts).answer.advice)
    assert seen
    assert seen <= names


def test_an_mt5_run_gets_a_next_run_too(tmp_path):
    run = mt5_run()
    run.record["lengths"]["target_cut"] = 0.3
    folder = run.write(tmp_path / "run")
    write_report(folder, (MT5,), "zh")
    types, presets = MT5.settings()
    _, data, args = parse_settings(
        types, ["--config", str(folder / "next.yaml"), "--use_cpu"], presets=presets, default_preset="fast",
        program="test",
    )  # fmt: skip
    assert data.max_target_length == 100
    assert args.warmup_steps == 20


@pytest.mark.parametrize("value", [1e-5, 2e-4, 0.1, 3.0, 5, True, None, "eval_loss", [0.7, 0.3], "a: b # c", 1e-10])
def test_yaml_reads_what_is_written(value):
    assert yaml.safe_load(f"name: {yaml_value(value)}  # why")["name"] == value


# Pictures


def test_a_chart_of_jumps_keeps_them():
    values = [1.0] * 5000
    values[3333] = 9.0
    svg = draw(Chart("title & more", [Line("loss", pd.Series(values), 0)]))
    assert "title &amp; more" in svg
    assert svg.count(",") < 1200
    heights = [float(pair.split(",")[1]) for pair in re.search('points="([^"]+)"', svg)[1].split()]
    assert max(heights) - min(heights) > 100


def test_charts_of_nothing_of_one_point_and_of_a_constant():
    assert draw(Chart("empty", [])) == ""
    for values in ((1.0,), (2.0, 2.0), (0.0, 0.0), (-1.0, 1.0)):
        curve = pd.Series(values)
        for log_scale in (False, True):
            assert draw(Chart("one", [Line("x", curve, 0)], log_scale)).endswith("</svg>")


def test_outliers_of_either_sign_leave_the_rest_to_see():
    values = (1.3, 1.2, 9e11, -0.5, 0.4, 0.2)
    svg = draw(Chart("objective", [Line("loss", pd.Series(values), 0)], steps="步"))
    heights = [float(pair.split(",")[1]) for pair in re.search('points="([^"]+)"', svg)[1].split()]
    assert heights[2] == min(heights)
    assert heights[3] == max(heights)
    assert heights[5] - heights[0] > 2  # points, where a plain axis shows none
    assert ">0</text>" in svg
    assert ">步</text>" in svg
    assert outlying_unit((1.0, 2.0, -3.0)) == outlying_unit((0.0, 0.0, 0.0, 9.0)) == 0.0


def test_ticks_are_round():
    assert ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert ticks(0.0001, 10, True) == pytest.approx([1e-4, 1e-3, 1e-2, 0.1, 1, 10])
    assert TOKENIZER.panels


def test_many_powers_of_ten_are_thinned():
    assert ticks(1e-2, 1e12, True) == pytest.approx([1e-2, 1e1, 1e4, 1e7, 1e10])


def test_the_way_back_from_an_explosion_is_no_fall(tmp_path):
    run = tokenizer_run()
    run.training("recon_all", lambda step, old: old + 9 * math.exp(-step / 20) if step > 10 else old)
    for language, words in (("en", "exploded, then fell back"), ("zh", "发散后回落")):
        write_report(run.write(tmp_path / language), VIEWS, language)
        rows = (tmp_path / language / "report.md").read_text(encoding="utf-8").splitlines()
        assert sum(words in row for row in rows if row.startswith("| `recon_all`")) == 1
        assert sum(words in row for row in rows if row.startswith("| `recon_pre`")) == 0
