"""The texts of reports: complete in both languages, with the same places, each language in its own punctuation."""

import re

import pytest
from jinja2 import Environment, meta

from ft_core.report.catalogue import FILTERS, LANGUAGES, load_texts
from ft_core.report.rules import COMMON_RULES
from kronos_ft.report.views import VIEWS
from mt5_ft.report.views import MT5

PACKAGES = ("ft_core.report", "kronos_ft.report", "mt5_ft.report")
RULES = {rule.id: (view.package, rule) for view in (*VIEWS, MT5) for rule in (*COMMON_RULES, *view.rules)}
SECTIONS = (
    "phrases",
    "verdicts",
    "groups",
    "statuses",
    "overrides",
    "effects",
    "stages",
    "meanings",
    "text_logs",
    "rules",
)
PARSER = Environment(variable_start_string="{", variable_end_string="}")
PARSER.filters |= {**FILTERS, "span": str}
FUNCTIONS = {"say", "place", "rule", "word"}
OPEN = re.compile(r"{%.*?%}|{[^{}]*}|`[^`]*`")


def flat(texts, path=()):
    """Texts by the path of their keys."""
    found = {}
    for key, value in texts.items():
        found |= flat(value, (*path, key)) if isinstance(value, dict) else {(*path, key): value}
    return found


def all_texts(language, package):
    return flat({name: load_texts(language, package).section(name) for name in SECTIONS})


def places(text):
    return meta.find_undeclared_variables(PARSER.parse(text)) - FUNCTIONS


@pytest.mark.parametrize("package", PACKAGES)
def test_both_languages_have_the_same_texts_with_the_same_places(package):
    english, chinese = (all_texts(language, package) for language in LANGUAGES)
    assert english.keys() == chinese.keys()
    for key, text in english.items():
        assert places(text) == places(chinese[key]), key


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_rule_has_its_texts(language):
    for id, (package, rule) in RULES.items():
        texts = load_texts(language, package).rule(id)
        assert set(texts["answers"]) == set(rule.verdicts), id
        assert set(texts.get("figures", {})) <= set(rule.verdicts), id
        assert texts["figure"]
        assert texts["question"].endswith({"en": "?", "zh": "？"}[language])
        assert texts["needs"].endswith({"en": ".", "zh": "。"}[language])
        for answer in texts["answers"].values():
            assert answer.endswith({"en": ".", "zh": "。"}[language]), (id, answer)


@pytest.mark.parametrize("package", PACKAGES)
def test_sentences_are_written_in_their_language(package):
    for key, text in all_texts("en", package).items():
        assert not re.search("[\u3000-\u9fff\uff00-\uffef]", text), key
    for key, text in all_texts("zh", package).items():
        if key[0] == "rules" and key[-2] in ("answers", key[1]) and key[-1] not in ("figure",):
            shown = OPEN.sub("", text)
            assert re.search("[\u4e00-\u9fff]", shown), key
            assert not re.search(r"[,;?](?!\d)|: |\(", shown.replace("codebook collapse", "")), (key, shown)


def test_every_chart_has_a_chinese_title():
    for view in (*VIEWS, MT5):
        titles = load_texts("zh", view.package).section("titles")
        assert [panel.title for panel in view.panels if panel.title not in titles] == []


def test_time_spans_are_in_the_language():
    for seconds, english, chinese in ((45, "45 s", "45 秒"), (100, "1 min 40 s", "1 分 40 秒"),
                                      (7500, "2 h 5 min", "2 小时 5 分")):  # fmt: skip
        assert load_texts("en")("span", seconds=seconds) == english
        assert load_texts("zh")("span", seconds=seconds) == chinese
    assert load_texts("zh")("span", seconds=None) == "-"


def test_control_characters_of_records_are_not_shown():
    texts = load_texts("en")
    assert texts("status_of", status="interrupted", why="\x1b[31mred\nline") == "interrupted ([31mred line)"
    assert "\x1b" not in texts("list", items=["\x1b[2J"])
