"""The five runs of `benchmarks.sick_runs` as folders: their records and logs, and empty files of the same sizes."""

import gzip
import json
from functools import cache
from pathlib import Path

DATA = Path(__file__).with_name("data")
RUNS = ("healthy", "rate-too-high", "no-scaling", "leaking-split", "stopped-early")


@cache
def _folders() -> dict:
    with gzip.open(DATA / "sick_runs.json.gz", "rt", encoding="utf-8") as file:
        return json.load(file)


@cache
def baseline() -> dict:
    """What the reports of commit 34fc8a4 found in these runs, and the changes that they advised."""
    return json.loads((DATA / "sick_runs_findings.json").read_text(encoding="utf-8"))


def write_sick_run(name: str, folder: Path) -> Path:
    """Writes the folder of a run; weights are holes of their size, which no report reads."""
    content = _folders()[name]
    for place, text in content["texts"].items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for place, size in content["sizes"].items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(size)
    return folder
