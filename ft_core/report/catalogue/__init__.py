"""The texts of reports: catalogues in two languages, filled in with values.

A catalogue is a YAML file of sentences. Places for values are Jinja expressions in single braces, such as
`{first|number}` or `{% if limit %}, limit {limit}{% endif %}`. This folder holds what every run needs; each program
adds the texts of its own rules from a folder `catalogue` of its report package.
"""

import locale
import os
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.resources import files

import yaml
from jinja2 import Environment, StrictUndefined, Undefined

from ...io.progress_lines import span as english_span

LANGUAGES = ("en", "zh")
COMMON = "ft_core.report"
LOCALE_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")
MISSING = "-"


def default_language() -> str:
    """Chinese if the locale of the environment is Chinese, else English."""
    for name in LOCALE_VARIABLES:
        value = os.environ.get(name)
        if value:
            return "zh" if locale.normalize(value).lower().startswith("zh") else "en"
    return "en"


def _chinese_span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} 秒"
    return f"{minutes} 分 {rest} 秒" if minutes < 60 else f"{minutes // 60} 小时 {minutes % 60} 分"


def _shown(write: Callable[..., str]) -> Callable[..., str]:
    """A filter that writes a number, and a dash where there is none."""
    return lambda value, *options: MISSING if value is None or isinstance(value, Undefined) else write(value, *options)


def clean(value: object) -> str:
    """Text on one line, without control characters: names from outside may hold any."""
    return " ".join("".join(one if one.isprintable() else " " for one in str(value)).split())


def _on_one_line(value: object) -> object:
    return clean(value) if isinstance(value, str) else value


FILTERS: Mapping[str, Callable[..., str]] = {
    "clean": clean,
    "number": _shown("{:.4g}".format),  # a figure with four significant digits
    "short": _shown("{:g}".format),
    "brief": _shown("{:.3g}".format),
    "signed": _shown("{:+.3g}".format),
    "count": _shown("{:,.0f}".format),
    "fixed": _shown(lambda value, digits: f"{value:,.{digits}f}"),
    "percent": _shown(lambda share, digits=0: f"{share:.{digits}%}".replace("%", " %")),
    "change": _shown(lambda share, digits=0: f"{share:+.{digits}%}".replace("%", " %")),
    "plural": lambda count, one, several: f"{count:,} {one if count == 1 else several}",
}
SPANS = {"en": _shown(english_span), "zh": _shown(_chinese_span)}
COMMAS = {"en": ", ", "zh": "、"}


class Texts:
    """All texts of one language for one kind of run.

    Args:
        language (`str`): en or zh.
        packages (`Iterable[str]`): report packages whose `catalogue` folders hold the texts.
    """

    def __init__(self, language: str, packages: Iterable[str]):
        self.language = language
        self._environment = Environment(
            variable_start_string="{", variable_end_string="}", undefined=StrictUndefined, finalize=_on_one_line
        )
        self._environment.filters |= FILTERS | {
            "span": SPANS[language],
            "list": lambda items: COMMAS[language].join(map(str, items)),
        }
        self._environment.globals |= {
            "rule": self.name_of_rule,
            "word": lambda key: self.find("words", key),
            "place": lambda at: self("place", at=at),
            "say": self,
        }
        self._compiled = cache(self._environment.from_string)
        self._sections: dict[str, dict] = {}
        for package in packages:
            text = files(f"{package}.catalogue").joinpath(f"{language}.yaml").read_text(encoding="utf-8")
            for section, content in yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)).items():
                self._sections.setdefault(section, {}).update(content)

    def __call__(self, key: str, /, **values: object) -> str:
        """A phrase, filled in."""
        return self.fill(self._sections["phrases"][key], values)

    def fill(self, text: str, values: Mapping[str, object]) -> str:
        """A text of the catalogue, filled in."""
        return self._compiled(text).render(values) if "{" in text else text

    def find(self, section: str, key: str, default: str | None = None) -> str:
        """A text of a section; the default, or the key, where there is none."""
        return self._sections.get(section, {}).get(key, key if default is None else default)

    def section(self, name: str) -> Mapping[str, object]:
        """All texts of a section by key."""
        return self._sections.get(name, {})

    def rule(self, id: str) -> Mapping[str, object]:
        """Question, needs, answers and figures of a rule."""
        return self._sections["rules"][id]

    def name_of_rule(self, id: str) -> str:
        """What sentences call a rule: its id, in Chinese after its question."""
        known = self._sections["rules"].get(id)
        return f"「{known['question']}」（{id}）" if self.language == "zh" and known else id


@cache
def load_texts(language: str, package: str = COMMON) -> Texts:
    """The texts of a language, with those of a program's report package."""
    assert language in LANGUAGES
    return Texts(language, dict.fromkeys((COMMON, package)))
