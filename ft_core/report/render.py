"""Blocks as one HTML page that needs nothing beside it: no network, no script; light, dark and on paper."""

import re
from collections.abc import Iterable
from html import escape

from .blocks import Block, Cell, Code, Document, Heading, Picture, Table, Text, Verdict
from .charts import STYLE as CHART_STYLE, draw
from .markdown import verdict_text

LANGUAGE_CODES = {"en": "en", "zh": "zh-Hans"}
CLASSES = {"ok": "ok", "watch": "watch", "problem": "problem", "not applicable": "silent", "not known": "silent"}
NUMBER = re.compile(r"[+-]?[\d,]+(\.\d+)?(e[+-]?\d+)?( \(\d+\)| MB| s| %)?|-")
PAGE_STYLE = """
:root { color-scheme: light dark; --ink: #1c2733; --paper: #fff; --soft: #f3f5f7; --rule: #d5dbe1;
  --ok: #1b7f4b; --watch: #8a5a00; --problem: #b3261e; --silent: #6b7480; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e8ed; --paper: #14191f; --soft: #1e252d; --rule: #38424d;
  --ok: #5fd39a; --watch: #f0b64a; --problem: #ff8a80; --silent: #98a3ae; } }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 15px/1.55 system-ui, "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif; }
h1 { font-size: 1.6rem; } h2 { margin-top: 2.2rem; border-bottom: 1px solid var(--rule); font-size: 1.25rem; }
h3 { font-size: 1.05rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0; font-size: .92em; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top;
  overflow-wrap: break-word; }
td.number, th.number { text-align: right; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
th { background: var(--soft); white-space: nowrap; }
td.verdict { white-space: nowrap; font-weight: 600; }
.ok { color: var(--ok); } .watch { color: var(--watch); }
.problem { color: var(--problem); } .silent { color: var(--silent); }
code, pre { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .92em; background: var(--soft); }
pre { padding: .8rem; overflow-x: auto; } code { padding: 0 .2em; overflow-wrap: break-word; }
td:last-child > code:only-child { white-space: nowrap; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(22rem, 1fr)); gap: 1rem; margin: 1rem 0; }
figure { margin: 0; }
@media screen and (max-width: 600px) { body { padding: .8rem; } .pictures { grid-template-columns: 1fr; }
  table.wide thead { display: none; }
  table.wide tr { display: block; border-bottom: 2px solid var(--rule); padding: .4rem 0; }
  table.wide td { display: block; border: 0; padding: .1rem .3rem; text-align: left; white-space: normal; }
  table.wide td[data-name]::before { content: attr(data-name) ": "; color: var(--silent); font-weight: 400; } }
@media print { :root { color-scheme: light; --ink: #000; --paper: #fff; --soft: #f3f5f7; --rule: #999; --ok: #1b7f4b;
  --watch: #8a5a00; --problem: #b3261e; --silent: #555; }
  body { max-width: none; padding: 0; font-size: 11px; } h2, h3 { break-after: avoid; }
  tr, figure { break-inside: avoid; }
  .pictures { grid-template-columns: 1fr 1fr; } .scroll, pre { overflow: visible; } pre { white-space: pre-wrap; } }
"""


def _inline(text: str) -> str:
    """Text with its strong and code parts; all else is escaped."""
    parts = re.split(r"(`[^`]*`|\*\*[^*]+\*\*)", text)
    found = []
    for part in parts:
        if len(part) > 2 and part.startswith("`") and part.endswith("`"):
            found.append(f"<code>{escape(part[1:-1])}</code>")
        elif len(part) > 4 and part.startswith("**") and part.endswith("**"):
            found.append(f"<strong>{escape(part[2:-2])}</strong>")
        else:
            found.append(escape(part))
    return "".join(found)


def _cell(cell: Cell, name: str, language: str) -> str:
    """A cell; the name of its column is shown before it where cells are stacked."""
    label = f' data-name="{escape(name, quote=True)}"' if name else ""
    if isinstance(cell, Verdict):
        return f'<td class="verdict {CLASSES[cell.verdict]}"{label}>{verdict_text(cell.verdict, language)}</td>'
    number = ' class="number"' if NUMBER.fullmatch(cell) else ""
    return f"<td{number}{label}>{_inline(cell)}</td>"


def _right(cells: Iterable[Cell]) -> str:
    """The class of a heading over numbers alone."""
    return ' class="number"' if all(isinstance(cell, str) and NUMBER.fullmatch(cell) for cell in cells) else ""


def _table(table: Table, language: str) -> str:
    head = ""
    if any(table.head):
        cells = "".join(
            f'<th scope="col"{_right(row[place] for row in table.rows)}>{_inline(cell)}</th>'
            for place, cell in enumerate(table.head)
        )
        head = f"<thead><tr>{cells}</tr></thead>"
    names = table.head if any(table.head) else [""] * len(table.head)
    rows = "".join(
        f"<tr>{''.join(_cell(cell, name, language) for cell, name in zip(row, names, strict=True))}</tr>"
        for row in table.rows
    )
    kind = ' class="wide"' if len(names) > 2 and head else ""
    return f'<div class="scroll"><table{kind}>{head}<tbody>{rows}</tbody></table></div>'


def _block(block: Block, language: str) -> str:
    match block:
        case Heading(level, text):
            return f"<h{level}>{_inline(text)}</h{level}>"
        case Text(text):
            return f"<p>{_inline(text)}</p>"
        case Table():
            return _table(block, language)
        case Code(text, _):
            return f"<pre>{escape(text)}</pre>"
        case Picture(chart):
            return f"<figure>{draw(chart)}</figure>"


def to_html(document: Document) -> str:
    """The document as a page."""
    parts, pictures = [], []
    for block in [*document.blocks, None]:
        if isinstance(block, Picture):
            pictures.append(_block(block, document.language))
            continue
        if pictures:
            parts.append(f'<div class="pictures">{"".join(pictures)}</div>')
            pictures = []
        if block is not None:
            parts.append(_block(block, document.language))
    return (
        f'<!doctype html>\n<html lang="{LANGUAGE_CODES[document.language]}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(document.title)}</title>\n<style>{PAGE_STYLE}{CHART_STYLE}\n"
        f"</style>\n</head>\n<body>\n{chr(10).join(parts)}\n</body>\n</html>\n"
    )
