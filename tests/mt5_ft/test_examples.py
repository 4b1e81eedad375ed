"""The example by itself: errors are one line, and one's own run is not overwritten unasked."""

from pathlib import Path

from tests.forked import Forked, script

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_emotion_summary.py"


def test_errors_are_one_line(data, start, tmp_path):
    words = ["--model", start, "--output_dir", tmp_path / "run"]
    done = Forked(tmp_path / "text", script, EXAMPLE, [tmp_path / "none.jsonl", *words])
    assert done.end() == 2
    assert done.text().splitlines()[-1].startswith("train_emotion_summary.py: data file ")
    assert "Traceback" not in done.text()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}", "utf-8")
    words += ["--source_fields", "case_description", "--target_fields", "causes"]
    done = Forked(tmp_path / "text", script, EXAMPLE, [data, *words])
    assert done.end() == 2
    assert "is not empty; pass --resume to continue it or --overwrite" in done.text()
    assert "Traceback" not in done.text()
