"""The page's words: the same fields in every language, and Chinese where it is promised."""

from string import Formatter

import pytest

from kronos_ft.ui.words import LANGUAGES, words_of


def fields(text):
    return sorted(name for _, name, _, _ in Formatter().parse(text) if name)


def test_every_word_has_the_same_fields_in_all_languages():
    english, chinese = (words_of(language) for language in LANGUAGES)
    assert {name: fields(text) for name, text in english.items()} == {
        name: fields(text) for name, text in chinese.items()
    }
    untranslated = {name for name, text in english.items() if text == chinese[name]}
    assert untranslated == {"data_run"}


def test_an_unknown_language():
    with pytest.raises(ValueError, match="lang='fr' is not known; use one of en, zh"):
        words_of("fr")
