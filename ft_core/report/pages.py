"""Documents from templates: as Markdown with its charts beside it, and as one HTML page that needs nothing else.

The templates hold Markdown, and the page is that Markdown as HTML, with the charts inline. Texts of the catalogues may
hold Markdown; every other text (names of files, symbols, records) is escaped.
"""

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from jinja2 import ChainableUndefined, Environment, PackageLoader, pass_context
from jinja2.runtime import Context
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape

from ..runs.folder import PICTURES_FILE
from .answers import NOT_APPLICABLE, NOT_KNOWN, OK, PROBLEM, WATCH
from .catalogue import FILTERS, Texts, clean
from .charts import HEIGHT, WIDTH, Chart, draw, style

LANGUAGE_CODES = {"en": "en", "zh": "zh-Hans"}
MARKS = {OK: "✔", WATCH: "▲", PROBLEM: "✖", NOT_APPLICABLE: "–", NOT_KNOWN: "?"}
CLASSES = {"✔": "ok", "▲": "watch", "✖": "problem", "–": "muted", "?": "muted"}
FOLDED = re.compile(r"<details>\n<summary>[^<>]*</summary>\n|</details>\n")  # the only HTML of the templates


class Markdown(str):
    """Text that is Markdown already; any other is escaped."""

    __slots__ = ()


def escape_markdown(value: object) -> object:
    """A value as text on one line without markup, and so within lists and objects."""
    if isinstance(value, list):
        return [escape_markdown(item) for item in value]
    if isinstance(value, dict):
        return {escape_markdown(name): escape_markdown(item) for name, item in value.items()}
    if not isinstance(value, str) or isinstance(value, Markdown):
        return value
    return Markdown(re.sub(r"([\\`*<\[\]|])", r"\\\1", clean(value)))


def code(text: str) -> Markdown:
    """A name as code."""
    return Markdown(f"`{clean(text).replace('`', chr(39)).replace('|', chr(92) + '|')}`")


@dataclass(frozen=True)
class Page:
    """A document in one language: its template and what that shows."""

    template: str
    texts: Texts
    title: str
    charts: Sequence[Chart]
    content: Mapping[str, object]

    @property
    def picture(self) -> Markdown:
        """The Markdown image link of the charts; empty without charts."""
        return Markdown(f"![{escape_markdown(self.charts[0].title)}]({PICTURES_FILE})" if self.charts else "")

    def to_markdown(self) -> str:
        """The document as Markdown; its charts are a file beside it."""

        def phrase(key: str, **values: object) -> Markdown:
            return Markdown(self.texts(key, **{name: escape_markdown(value) for name, value in values.items()}))

        known = {"t": phrase, "texts": self.texts, "language": self.texts.language}
        text = (
            _markdown_templates()
            .get_template(self.template)
            .render(known, title=self.title, picture=self.picture, **self.content)
        )
        return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"

    def to_html(self) -> str:
        """The document as one page without scripts, links or requests."""
        before, _, after = self.to_markdown().partition(self.picture or "\0")
        return _html_templates().get_template("page.html.j2").render(
            language=LANGUAGE_CODES[self.texts.language], title=self.title, before=_to_html(before),
            after=_to_html(after), charts=[Markup(svg) for svg in map(draw, self.charts)], chart_style=Markup(style()),
        )  # fmt: skip

    def drawing(self) -> str:
        """All charts in one SVG, two in a row; empty without one."""
        drawn = [
            Markup(draw(chart).replace("<svg ", f'<svg x="{place % 2 * WIDTH}" y="{place // 2 * HEIGHT}" ', 1))
            for place, chart in enumerate(self.charts)
        ]
        return drawn and _html_templates().get_template("charts.svg.j2").render(
            charts=drawn, width=2 * WIDTH, height=-(-len(drawn) // 2) * HEIGHT, style=Markup(style())
        )


def _to_html(text: str) -> Markup:
    """Markdown as HTML: other HTML than that of the templates is escaped, links and pictures are not made."""
    parser = MarkdownIt("commonmark").enable("table").disable(["html_inline", "link", "image", "autolink"])
    tokens = parser.parse(text)
    for token in tokens:
        if token.type == "html_block" and not FOLDED.fullmatch(token.content):
            token.content = str(escape(token.content))
    _label_cells(tokens)
    html = str(parser.renderer.render(tokens, parser.options, {}))
    return Markup(html.replace("<table", '<div class="scroll"><table').replace("</table>", "</table></div>"))


def _label_cells(tokens: Sequence[Token]) -> None:
    """Gives each cell of a table the name of its column, for narrow screens, and each verdict its colour."""
    names: list[str] = []
    place = 0
    for token, content in pairwise(tokens):
        if token.type == "table_open":
            names = []
        elif token.type == "tr_open":
            place = 0
        elif token.type == "th_open":
            names.append(content.content)
            token.attrSet("scope", "col")
        elif token.type == "td_open":
            token.attrSet("data-name", names[place])
            mark = re.match(r"\*\*(.) ", content.content)
            if mark and mark[1] in CLASSES:
                token.attrSet("class", f"verdict {CLASSES[mark[1]]}")
            place += 1


@pass_context
def _verdict(context: Context, word: str) -> Markdown:
    return Markdown(f"**{MARKS[word]} {context['texts'].find('verdicts', word)}**")


# cached, since compiling the templates takes longer than filling them in


@cache
def _markdown_templates() -> Environment:
    environment = _environment(finalize=escape_markdown)
    environment.filters |= {**FILTERS, "code": code, "verdict": _verdict}
    environment.filters |= {"megabytes": lambda size: round(size / 1e6, 1)}
    environment.filters |= {"fenced": lambda line: Markdown(line.replace("```", "")), "mean": statistics.fmean}
    environment.filters |= {"median": statistics.median, "stdev": statistics.stdev}
    return environment


@cache
def _html_templates() -> Environment:
    return _environment(autoescape=True)


def _environment(**options: object) -> Environment:
    return Environment(
        loader=PackageLoader("ft_core.report"), undefined=ChainableUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, **options,
    )  # fmt: skip
