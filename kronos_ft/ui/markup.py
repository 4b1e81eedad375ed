"""HTML elements of the page; all untrusted text is escaped here."""

import html
from collections.abc import Sequence


def text(value: object) -> str:
    """Escapes any value as one line of HTML text."""
    line = "".join(character for character in " ".join(str(value).split()) if character.isprintable())
    return html.escape(line)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, marked: Sequence[int] = ()) -> str:
    """A table whose first column is text and whose other columns are numbers.

    Args:
        header (`Sequence[str]`): column names.
        rows: cells as text.
        marked (`Sequence[int]`): indices of rows to highlight.
    """
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in header)
    lines = []
    for position, (name, *figures) in enumerate(rows):
        cells = "".join(f"<td>{text(figure)}</td>" for figure in figures)
        lines.append(
            f'<tr{" class=marked" if position in marked else ""}><th scope="row">{text(name)}</th>{cells}</tr>'
        )
    body = "".join(lines)
    markup = f'<table class="kf-table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="kf-scroll">{markup}</div>'


def tile(title: str, value: str, remark: str = "", kind: str = "") -> str:
    """One value with its title; `kind` is `up`, `down` or empty."""
    below = f'<span class="kf-remark">{text(remark)}</span>' if remark else ""
    return (
        f'<div class="kf-tile"><span class="kf-what">{text(title)}</span>'
        f'<span class="kf-value {kind}">{text(value)}</span>{below}</div>'
    )


def notice(message: str, kind: str) -> str:
    """A message of kind `error`, `warning` or `note`; empty for an empty message."""
    if not message:
        return ""
    role = ' role="alert"' if kind == "error" else ""
    return f'<div class="kf-notice kf-{kind}"{role}>{text(message)}</div>'


def command(words: str, line: str) -> str:
    """A text with a command to copy."""
    return f'<div class="kf-empty"><p>{text(words)}</p><pre><code>{text(line)}</code></pre></div>'
