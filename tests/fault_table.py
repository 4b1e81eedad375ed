"""A pytest plugin that puts the results of the fault suite into a table: `pytest -m fault --fault-table FILE.json`.

The table counts what ran; a family without a test is a failure of its own.
"""

import json
from collections import defaultdict
from pathlib import Path

import pytest

from .faults.families import FAMILIES


def pytest_addoption(parser):
    group = parser.getgroup("fault suite")
    group.addoption("--fault-table", metavar="FILE.json", help="write the results by family")
    group.addoption("--kills", type=int, default=5, help="SIGKILLs of each long test (default 5; the whole suite: 50)")


class FaultTable:
    """Counts outcomes by family."""

    def __init__(self, path: Path, kills: int):
        self.path = path
        self.kills = kills
        self.families: dict[str, list[int]] = {}
        self.counts = {number: defaultdict(int) for number in FAMILIES}

    def pytest_collection_modifyitems(self, items):
        for item in items:
            numbers = sorted({number for mark in item.iter_markers("fault") for number in mark.args})
            self.families[item.nodeid] = numbers

    def pytest_runtest_logreport(self, report):
        if report.when != "call" and report.outcome == "passed":
            return
        for number in self.families.get(report.nodeid, ()):
            self.counts[number][report.outcome] += 1

    def pytest_sessionfinish(self, session):
        rows = []
        for number, family in FAMILIES.items():
            counts = self.counts[number]
            good = counts["passed"] > 0 and not counts["failed"]
            result = "ok" if good else "FAILED" if counts["failed"] else "not run"
            rows.append({"family": number, **family._asdict(), **counts, "result": result})
        table = {"kills": self.kills, "families": rows}
        self.path.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
        failures = [row["family"] for row in rows if row["result"] != "ok"]
        if failures:
            print(f"\nfault families that failed or did not run: {failures}")
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


def pytest_configure(config):
    path = config.getoption("--fault-table")
    if path:
        config.pluginmanager.register(FaultTable(Path(path), config.getoption("--kills")))
