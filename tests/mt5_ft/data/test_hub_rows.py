"""A data set of the Hub by its name, through the real client, in processes whose Hub is on this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mt5_ft.data.hub_rows import is_hub_name
from mt5_ft.data.rows import read_rows
from tests.loopback_hub import LoopbackHub

ROWS = [{"text": f"text {n}", "summary": f"summary {n}"} for n in range(10)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


@pytest.fixture(scope="module")
def on_hub(tmp_path_factory):
    """A function that runs `mt5-ft` or code; its Hub holds `some/records` with two splits, and one that needs code."""
    folder = tmp_path_factory.mktemp("hub")
    repos = {
        "some/records": {"train.jsonl": LINES.encode(), "validation.jsonl": LINES[: LINES.index("\n") + 1].encode()},
        "some/code": {"code.py": b"raise SystemExit('executed')"},
    }
    with LoopbackHub(repos) as url:
        environment = {**os.environ, "HF_ENDPOINT": url, "HF_HOME": str(folder), "HF_HUB_DISABLE_XET": "1"}
        environment.pop("HF_HUB_OFFLINE", None)
        environment["PYTHONPATH"] = str(Path(__file__).parents[3])

        def run(*words):
            command = [sys.executable, *words]
            return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)

        run.folder = folder
        yield run


def test_rows_and_splits(on_hub):
    code = "from mt5_ft.data.rows import read_rows; print(len(read_rows('some/records')), {})"
    done = on_hub("-c", code.format("read_rows('some/records:validation')"))
    assert done.stdout.strip() == "10 {1: {'text': 'text 0', 'summary': 'summary 0'}}", done.stderr


def test_a_subset_is_a_new_file(on_hub):
    done = on_hub("-m", "mt5_ft", "subset", "some/records", "--drop", "0.5")
    assert done.returncode == 0, done.stderr
    assert "original in some/records" in done.stdout
    kept = (on_hub.folder / "some_records.jsonl").read_text("utf-8").splitlines()
    assert len(kept) == 5
    assert {*kept} < {*LINES.splitlines()}
    again = on_hub("-m", "mt5_ft", "subset", "some/records", "--drop", "0.5")
    assert (again.returncode, "some_records.jsonl exists; rename or remove it" in again.stderr) == (2, True)


def test_a_data_set_that_needs_code_is_refused_and_not_executed(on_hub):
    done = on_hub("-m", "mt5_ft", "subset", "some/code")
    assert done.returncode == 2
    assert "mt5-ft: data='some/code' is not a file and could not be loaded as a data set of the Hub (" in done.stderr
    assert "executed" not in done.stderr + done.stdout


def test_a_name_without_network_is_one_line():
    with pytest.raises(ValueError, match=r"data='owner/none' is not a file and could not be loaded .*OWNER/NAME:SPLIT"):
        read_rows("owner/none")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("owner/name", True),
        ("owner/name:validation", True),
        ("data/cases.jsonl", False),
        ("data/cases.csv.gz", False),
        ("./owner/name", True),
        ("/owner/name", False),
        ("a/b/c", False),
        ("cases", False),
    ],
)
def test_names_of_data_sets(name, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_hub_name(Path(name)) is expected


def test_a_file_of_that_name_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner").mkdir()
    (tmp_path / "owner" / "name").write_text(LINES, "utf-8")
    assert len(read_rows("owner/name")) == 10
