"""A pytest plugin that puts the results of the fault suite into a table: `pytest -m fault --fault-table FILE.json`.

The table counts what ran; a family without a test is a failure of its own. `python -m tests.fault_table FILE.json
PAGE.md` writes it into a page.
"""

import json
import platform
import sys
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.faults.families import FAMILIES

BEGIN, END = "<!-- fault table -->", "<!-- end of fault table -->"


def pytest_addoption(parser):
    group = parser.getgroup("fault suite")
    group.addoption("--fault-table", metavar="FILE.json", help="write the results by family")
    group.addoption("--kills", type=int, default=5, help="SIGKILLs of each long test (default 5; the whole suite: 50)")


class FaultTable:
    """Counts outcomes by family; the tests may run in several processes."""

    def __init__(self, path: Path, kills: int):
        self.path = path
        self.kills = kills
        self.counts = {number: defaultdict(int) for number in FAMILIES}

    def pytest_runtest_logreport(self, report):
        if report.when != "call" and report.outcome == "passed":
            return
        for number in dict(report.user_properties).get("faults", ()):
            self.counts[number][report.outcome] += 1

    def pytest_sessionfinish(self, session):
        rows = []
        for number, family in FAMILIES.items():
            counts = self.counts[number]
            good = counts["passed"] > 0 and not counts["failed"]
            result = "ok" if good else "FAILED" if counts["failed"] else "not run"
            rows.append({"family": number, **family._asdict(), **counts, "result": result})
        table = {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
            "kills": self.kills,
            "families": rows,
        }
        self.path.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
        failures = [row["family"] for row in rows if row["result"] != "ok"]
        if failures:
            print(f"\nfault families that failed or did not run: {failures}")
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


def pytest_collection_modifyitems(items):
    for item in items:
        numbers = sorted({number for mark in item.iter_markers("fault") for number in mark.args})
        item.user_properties.append(("faults", numbers))


def pytest_configure(config):
    path = config.getoption("--fault-table")
    if path and not hasattr(config, "workerinput") and not config.option.collectonly:
        config.pluginmanager.register(FaultTable(Path(path), config.getoption("--kills")))


def as_markdown(table: dict) -> str:
    """The table for a page."""
    failed = sum(row.get("failed", 0) for row in table["families"])
    passed = sum(row.get("passed", 0) for row in table["families"])
    skipped = sum(row.get("skipped", 0) for row in table["families"])
    lines = [
        f"{table['date']}, {table['machine']}: {passed} passed, {failed} failed, {skipped} skipped (a test may "
        f"count in several families); "
        f"{table['kills']} kills for each of tokenizer, predictor and mT5.",
        "",
        "| | fault | how it is made | what must hold | tests | result |",
        "|---|---|---|---|---|---|",
    ]
    for row in table["families"]:
        skips = f" ({row['skipped']} skipped)" if row.get("skipped") else ""
        cells = (
            row["family"],
            row["fault"],
            row["made"],
            row["must_hold"],
            f"{row.get('passed', 0)}{skips}",
            row["result"],
        )
        lines.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    return "\n".join(lines)


def write_into(page: Path, table: dict) -> None:
    """Puts the table between its marks in a page."""
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n{as_markdown(table)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    write_into(Path(sys.argv[2]), json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
