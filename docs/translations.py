"""Which English sections the Chinese pages translate, as hashes, so that a change of the English text is noticed.

`python -m docs.translations` accepts the English pages as they are now: run it when the Chinese pages follow them.
"""

import hashlib
import json
import re
from pathlib import Path

from ft_core.io.files import write_text

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "docs/zh/translated.json"
DIGITS = 12  # of a hash


def pairs() -> dict[str, str]:
    """The Chinese page of each English page that has one; paths from the root of the repository."""
    names = sorted(path.name for path in (ROOT / "docs/zh").glob("*.md"))
    return {"README.md": "README_zh.md", **{f"docs/{name}": f"docs/zh/{name}" for name in names}}


def section_hashes(page: str) -> dict[str, str]:
    """The hash of each section of a page by its heading, comments in code included; line breaks do not count."""
    texts: dict[str, list[str]] = {}
    heading, in_code = "", False
    for line in page.splitlines():
        in_code ^= line.startswith("```")
        if not in_code and re.match("#+ ", line):
            heading = line.lstrip("# ")
        texts.setdefault(heading, []).extend(line.split())
    return {name: hashlib.sha256(" ".join(words).encode()).hexdigest()[:DIGITS] for name, words in texts.items()}


def untranslated() -> list[str]:
    """The English sections that differ from those that were translated, as `PAGE: HEADING`."""
    known = json.loads(RECORD.read_text(encoding="utf-8"))
    found = []
    for name in pairs():
        now, then = section_hashes((ROOT / name).read_text(encoding="utf-8")), known.get(name, {})
        found += [f"{name}: {heading}" for heading in {**then, **now} if now.get(heading) != then.get(heading)]
    return found


def main() -> None:
    """Writes the hashes of all translated pages."""
    hashes = {name: section_hashes((ROOT / name).read_text(encoding="utf-8")) for name in pairs()}
    write_text(RECORD, json.dumps(hashes, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
