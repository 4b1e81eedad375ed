"""The notebooks: committed with clean outputs of a run without errors, and run by nbmake; whole in `make test-docs`."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.docs.markdown import ROOT

NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
MOST_CELLS, MOST_BYTES = 15, 400_000
TRACEBACK = "Traceback (most recent call last)"
OF_THIS_MACHINE = re.compile(
    r"(?:/home/|/root|/tmp/|/Users/|[A-Z]:\\\\|site-packages|ipykernel_\d|https?://localhost|\b127\.0\.0\.1)"
)


def cells_of(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def texts_of(output):
    """The texts of an output, without its pictures."""
    data = output.get("data", {"text/plain": output.get("text", [])})
    return "".join("".join(lines) for kind, lines in data.items() if not kind.startswith("image/"))


def test_both_are_there():
    assert [path.stem for path in NOTEBOOKS] == ["emotion_summary", "finetune_btc"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_kept(path):
    code = [cell for cell in cells_of(path) if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [*range(1, len(code) + 1)]  # in order, in a new kernel
    outputs = [output for cell in code for output in cell["outputs"]]
    assert all(cell["outputs"] for cell in code)
    kinds = {output["output_type"] for output in outputs}
    assert kinds == {"stream", "display_data", "execute_result"}
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    said = "\n".join(map(texts_of, outputs))
    assert TRACEBACK not in said
    assert not OF_THIS_MACHINE.findall(said)
    assert "Loading weights" not in said


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_short_and_begins_with_a_line_in_chinese(path):
    cells = cells_of(path)
    assert len(cells) < MOST_CELLS
    assert path.stat().st_size < MOST_BYTES
    lines = [line for line in "".join(cells[0]["source"]).splitlines() if line]
    assert lines[0].startswith("# ")
    assert "[README_zh.md](../../README_zh.md)" in lines[1]
    chinese = [line for cell in cells for line in cell["source"] if re.search("[\u4e00-\u9fff]", line)]
    assert chinese == [f"{lines[1]}\n"]


FEWER = {"max_steps": 4, "eval_steps": 2, "save_steps": 2, "logging_steps": 1, "num_paths": 5, "stride": 100}


def shortened(source):
    """The notebook with fewer steps, windows and paths."""
    return re.sub(rf"\b({'|'.join(FEWER)})=\d+", lambda found: f"{found[1]}={FEWER[found[1]]}", source)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.parametrize("size", ["tiny", pytest.param("whole", marks=pytest.mark.docs)])
def test_a_notebook_runs(path, size, tmp_path):
    source = path.read_text(encoding="utf-8")
    (tmp_path / path.name).write_text(shortened(source) if size == "tiny" else source, encoding="utf-8")
    settings = {"HF_HUB_OFFLINE": "1", "KRONOS_FT_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    settings |= {"OMP_NUM_THREADS": "1", "KRONOS_FT_SPEED": "auto"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbmake", "--nbmake-timeout=900"]
    found = subprocess.run(
        [*command, "--rootdir", str(tmp_path), path.name],
        cwd=tmp_path,
        env=os.environ | settings,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout[-3000:]
    assert "1 passed" in found.stdout
