"""Documents from templates: as Markdown with its charts beside it, and as one HTML page that needs nothing else.

A template holds Markdown in named blocks. The HTML page shows the same blocks, with the charts inline and with folded
parts. Texts of the catalogues may hold Markdown; every other text (names of files, symbols, records) is escaped.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from jinja2 import ChainableUndefined, Environment, PackageLoader
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from .answers import NOT_APPLICABLE, NOT_KNOWN, OK, PROBLEM, WATCH
from .catalogue import Texts, clean, load_texts
from .charts import HEIGHT, STYLE, WIDTH, Chart, draw

LANGUAGE_CODES = {"en": "en", "zh": "zh-Hans"}
MARKS = {OK: "✔", WATCH: "▲", PROBLEM: "✖", NOT_APPLICABLE: "–", NOT_KNOWN: "?"}
CLASSES = {"✔": "ok", "▲": "watch", "✖": "problem", "–": "muted", "?": "muted"}
NUMBER = re.compile(r"[+-]?[\d,]+(\.\d+)?(e[+-]?\d+)?( \(\d+\)| MB| s| %)?|-")
CHARTS, FOLDED = "charts", "settled"  # blocks that the page shows in its own way


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


def verdict(word: str, language: str) -> Markdown:
    """A verdict with its mark."""
    return Markdown(f"**{MARKS[word]} {load_texts(language).find('verdicts', word)}**")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Markdown:
    """A Markdown table, with columns of numbers aligned to the right."""
    lines = [[str(escape_markdown(cell)) or " " for cell in row] for row in (head, *rows)]
    numeric = [all(NUMBER.fullmatch(row[place]) for row in rows) for place in range(len(head))]
    lines.insert(1, ["---:" if is_number else "---" for is_number in numeric])
    return Markdown("\n".join(f"| {' | '.join(cells)} |" for cells in lines))


@dataclass(frozen=True)
class Page:
    """A document in one language: its template and what that shows."""

    template: str
    language: str
    texts: Texts
    title: str
    charts: Sequence[Chart]
    content: Mapping[str, object]

    def _context(self) -> dict[str, object]:
        def say(key: str, **values: object) -> Markdown:
            return Markdown(self.texts(key, **{name: escape_markdown(value) for name, value in values.items()}))

        heads = lambda *keys: [self.texts(key) if key else "" for key in keys]  # noqa: E731

        def properties(pairs: Sequence[tuple[str, object]]) -> Markdown:
            return table(["", ""], [[self.texts(key), value] for key, value in pairs if value])

        first = escape_markdown(self.charts[0].title) if self.charts else ""
        return {
            **self.content,
            "title": self.title,
            "t": say,
            "heads": heads,
            "properties": properties,
            "first_chart": first,
        }

    def to_markdown(self) -> str:
        """The document as Markdown; its charts are a file beside it."""
        text = _templates().get_template(self.template).render(self._context())
        return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"

    def to_html(self) -> str:
        """The document as one page without scripts, links or requests."""
        template, context = _templates().get_template(self.template), self._context()
        source = _templates().loader.get_source(_templates(), self.template)[0]
        parts = []
        for name in re.findall(r"\{% block (\w+)", source):
            text = "".join(template.blocks[name](template.new_context(context)))
            parts.append((name, Markup(_to_html(text))))
        shown = [Markup(svg) for svg in map(draw, self.charts) if svg]
        return _pages().get_template("page.html.j2").render(
            language=LANGUAGE_CODES[self.language], title=self.title, parts=parts, charts=shown, t=self.texts,
            chart_style=Markup(STYLE), charts_block=CHARTS, folded_block=FOLDED,
        )  # fmt: skip

    def drawing(self) -> str:
        """All charts in one SVG, two in a row; empty without one."""
        drawn = [svg for svg in map(draw, self.charts) if svg]
        if not drawn:
            return ""
        return _pages().get_template("charts.svg.j2").render(
            charts=[
                Markup(svg.replace("<svg ", f'<svg x="{place % 2 * WIDTH}" y="{place // 2 * HEIGHT}" ', 1))
                for place, svg in enumerate(drawn)
            ],
            width=2 * WIDTH, height=-(-len(drawn) // 2) * HEIGHT, style=Markup(STYLE),
        )  # fmt: skip


def _to_html(text: str) -> str:
    """Markdown as HTML: raw HTML is escaped, links and pictures are not made."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["link", "image", "autolink"])
    tokens = parser.parse(text)
    _label_cells(tokens)
    html = str(parser.renderer.render(tokens, parser.options, {}))
    return html.replace("<table", '<div class="scroll"><table').replace("</table>", "</table></div>")


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


def _environment(autoescape: bool, finalize: Callable[[object], object] | None = None) -> Environment:
    return Environment(
        loader=PackageLoader("ft_core.report"), autoescape=autoescape, finalize=finalize, undefined=ChainableUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip


@cache
def _templates() -> Environment:
    environment = _environment(False, escape_markdown)
    environment.globals |= {"table": table}
    environment.filters |= {"code": code}
    return environment


@cache
def _pages() -> Environment:
    return _environment(True)
