"""A hook of mkdocs: the site has a language menu, so it needs no links between the two languages of a page.

On GitHub these links, in the first paragraph of both pages, are the only way from one language to the other.
"""

import re

LINKS = re.compile(r" ?\(\[中文\]\(zh/[\w-]+\.md\)\)|（\[English\]\(\.\./[\w-]+\.md\)）")


def on_page_markdown(markdown: str, **_: object) -> str:
    """The text of a page without the link to the same page in the other language."""
    return LINKS.sub("", markdown, count=1)
