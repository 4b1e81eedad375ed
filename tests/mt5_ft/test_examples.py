"""The example by itself: errors are one line, and one's own run is not overwritten unasked."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_example(*words):
    command = [sys.executable, "examples/train_emotion_summary.py", *map(str, words)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, encoding="utf-8", check=False, timeout=300
    )


def test_errors_are_one_line(data, start, tmp_path):
    words = ["--model", start, "--output_dir", tmp_path / "run"]
    done = run_example(tmp_path / "none.jsonl", *words)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("train_emotion_summary.py: data file ")
    assert "Traceback" not in done.stderr
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}", "utf-8")
    done = run_example(data, *words, "--source_fields", "case_description", "--target_fields", "causes")
    assert done.returncode == 2
    assert "is not empty; pass --resume to go on with it or --overwrite" in done.stderr
    assert "Traceback" not in done.stderr
