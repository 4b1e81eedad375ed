"""Several target fields as one text for the model to write, and back: each field under a heading `【name】`.

The way back expects what models write rather than what they were shown. SentencePiece turns every newline into a
space, so generated headings stand anywhere in a line; a heading may be missing, or come twice.
"""

import re
from collections.abc import Mapping, Sequence


def _heading(targets: Sequence[str]) -> re.Pattern:
    names = "|".join(re.escape(name) for name in targets)
    return re.compile(rf"(?P<escape>\\*)【\s*(?P<name>{names})\s*】")


def join_targets(values: Mapping[str, str], targets: Sequence[str]) -> str:
    """Joins the texts of target fields: one stays as it is, several come under a line `【name】` each.

    A heading inside a text gets a backslash, so that `split_targets` is the exact inverse.
    """
    if len(targets) == 1:
        return values[targets[0]]
    heading = _heading(targets)
    texts = {name: heading.sub(lambda found: "\\" + found[0], values[name]) for name in targets}
    return "\n".join(f"【{name}】\n{text}" for name, text in texts.items())


def split_targets(text: str, targets: Sequence[str]) -> dict[str, str]:
    """Splits what `join_targets` joined, or what a model wrote in its place.

    A heading that is missing gives an empty text, one that comes twice gives both texts on lines of their own, and text
    before any heading belongs to the first field.
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
        if following:  # the separator before the next heading; without a heading it is the text's own
            part = re.sub(r"\s\Z", "", part)
        parts[mark["name"]].append(part)
    return {
        name: heading.sub(lambda found: found[0].removeprefix("\\"), "\n".join(part)) for name, part in parts.items()
    }
