"""The table of runtime dependencies in THIRD_PARTY.md, from the metadata of what is installed.

`python -m docs.third_party` lists those of setup.cfg and all that they need in turn, but not the libraries of NVIDIA
that torch brings along on a GPU.
"""

import configparser
import importlib.metadata
import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ft_core.io.files import write_text

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "THIRD_PARTY.md"
BEGIN, END = "<!-- runtime dependencies -->", "<!-- end of runtime dependencies -->"
HEAD = "| package | licence | why |\n|---|---|---|"
LEFT_OUT = re.compile(r"nvidia-|cuda-|triton$")
LONGEST = 60
PHRASES = {
    "Redistribution and use in source and binary forms": "BSD (by its text)",
    "Permission is hereby granted, free of charge": "MIT (by its text)",
}


def required() -> list[str]:
    """Names in `install_requires` of setup.cfg."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return [canonicalize_name(Requirement(line).name) for line in config["options"]["install_requires"].split()]


def licence(name: str) -> str:
    """What the metadata says: an SPDX expression, else a name of the licence, else classifiers, else its text.

    Raises:
        ValueError: the metadata says nothing that is known.
    """
    metadata = importlib.metadata.metadata(name)
    if expression := metadata.get("License-Expression"):
        return expression
    stated = (metadata.get("License") or "").strip()
    if stated and "\n" not in stated and len(stated) <= LONGEST and stated.lower() != "unknown":
        return stated
    classifiers = [value for value in metadata.get_all("Classifier") or [] if re.match("License :: .* :: ", value)]
    if classifiers:
        return ", ".join(value.split(" :: ")[-1] for value in classifiers)
    distribution = importlib.metadata.distribution(name)
    files = [file for file in distribution.files or [] if re.search("licen[cs]e|copying", file.name.lower())]
    texts = [stated, *(distribution.locate_file(file).read_text(encoding="utf-8") for file in files)]
    for phrase, known in PHRASES.items():
        if any(phrase in " ".join(text.split()) for text in texts):
            return known
    raise ValueError(f"package {name} says nothing of its licence that is known; look it up and add a phrase here")


def dependencies() -> dict[str, list[str]]:
    """Every runtime dependency that is installed, with the packages that need it."""
    needed: dict[str, list[str]] = {name: ["kronos-ft"] for name in required()}
    todo = list(needed)
    while todo:
        name = todo.pop()
        for line in importlib.metadata.requires(name) or []:
            requirement = Requirement(line)
            other = canonicalize_name(requirement.name)
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
                continue
            if LEFT_OUT.match(other):
                continue
            if other not in needed:
                needed[other] = []
                todo.append(other)
            if name not in needed[other]:
                needed[other].append(name)
    return needed


def table() -> str:
    """The table, sorted by name."""
    rows = []
    for name, by in sorted(dependencies().items()):
        why = "kronos-ft" if "kronos-ft" in by else ", ".join(sorted(by)[:3])
        rows.append(f"| {name} | {licence(name)} | {why} |")
    return "\n".join([HEAD, *rows])


def main() -> None:
    """Writes the table into THIRD_PARTY.md."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    write_text(PAGE, f"{before}{BEGIN}\n{table()}\n{END}{after}")


if __name__ == "__main__":
    main()
