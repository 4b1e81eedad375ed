"""Joins several target fields to one text, each under a heading `【name】`, and splits generated texts into fields.

Splitting accepts imperfect outputs of a model: SentencePiece turns newlines into spaces, so headings can be anywhere in
a line, and headings may be missing or repeated.
"""

import re
from collections.abc import Mapping, Sequence


def _heading(targets: Sequence[str]) -> re.Pattern:
    names = "|".join(re.escape(name) for name in targets)
    return re.compile(rf"(?P<escape>\\*)【\s*(?P<name>{names})\s*】")


def join_targets(values: Mapping[str, str], targets: Sequence[str]) -> str:
    """Joins the texts of target fields, each under a line `【name】`; a single field is returned unchanged.

    A heading inside a text is escaped by a backslash, so that `split_targets` is the exact inverse.
    """
    if len(targets) == 1:
        return values[targets[0]]
    heading = _heading(targets)
    texts = {name: heading.sub(lambda found: "\\" + found[0], values[name]) for name in targets}
    return "\n".join(f"【{name}】\n{text}" for name, text in texts.items())


def split_targets(text: str, targets: Sequence[str]) -> dict[str, str]:
    """Splits the output of `join_targets` or of a model into fields.

    A missing heading gives an empty text, a repeated heading gives both texts on separate lines, and text before the
    first heading belongs to the first field.
    """
    if len(targets) == 1:
        return {targets[0]: text}
    parts: dict[str, list[str]] = {name: [] for name in targets}
    heading = _heading(targets)
    marks = [found for found in heading.finditer(text) if not found["escape"]]
    before = text[: marks[0].start()] if marks else text
    if before.strip():
        parts[targets[0]].append(before.strip())
    for mark, following in zip(marks, [*marks[1:], None], strict=bool(marks)):
        part = re.sub(r"^\s", "", text[mark.end() : following.start() if following else None])
        if following:  # remove the separator before the next heading
            part = re.sub(r"\s\Z", "", part)
        parts[mark["name"]].append(part)
    return {
        name: heading.sub(lambda found: found[0].removeprefix("\\"), "\n".join(part)) for name, part in parts.items()
    }
