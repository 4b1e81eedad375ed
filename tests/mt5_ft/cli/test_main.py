"""The command line: whole runs on a tiny model, interrupted summaries, disk, and bad input in one line."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys

import pytest
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from mt5_ft.cli.main import main
from mt5_ft.models.loading import load_model, load_tokenizer


def test_help_imports_no_torch():
    code = "import sys; from mt5_ft.cli.main import main; main(['--help']); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "mt5-ft COMMAND [OPTIONS]" in done.stdout


def test_a_whole_run(train, capsys, refused):
    code, run = train()
    out = capsys.readouterr().out
    assert code == 0
    assert "36 for training, 4 for validation" in out
    assert "WARNING" in out
    assert "steps       4" in out
    assert out.count("prediction  ") == 3
    assert "scores      rouge1" in out
    final = run / "final"
    assert AutoModelForSeq2SeqLM.from_pretrained(final).config.d_model == 16
    assert AutoTokenizer.from_pretrained(final)("你好").input_ids
    metrics = json.loads((run / "training_metrics.json").read_text("utf-8"))
    assert metrics["validation_loss"]["best"] < 10
    assert {path.name for path in (run / "predictions").iterdir()} >= {"predictions-2.jsonl", "predictions-4-all.jsonl"}
    refused(["train", "--data", "sample", "--output_dir", run], "is not empty; pass --resume")


def test_adapters_alone_and_merged_load_either_way(train, start, capsys):
    _, alone = train("--lora", "true", output="alone")
    assert (alone / "final" / "adapter_model.safetensors").is_file()
    assert not (alone / "final" / "model.safetensors").exists()
    _, merged = train("--lora", "true", "--lora_merge", "true", output="merged")
    assert (merged / "final" / "model.safetensors").is_file()
    one, two = (load_model(str(run / "final")) for run in (alone, merged))
    for name, value in one.state_dict().items():
        assert value.allclose(two.state_dict()[name], atol=1e-6), name
    assert "trainable" in capsys.readouterr().out


def test_subset_and_restore(data, refused):
    before = hashlib.sha256(data.read_bytes()).hexdigest()
    assert main(["subset", str(data), "--drop", "0.25", "--by", "topic", "--seed", "1"]) == 0
    assert len(data.read_text("utf-8").splitlines()) == 30
    refused(["subset", data, "--drop", "0.25"], "backup")
    assert main(["restore", str(data)]) == 0
    assert hashlib.sha256(data.read_bytes()).hexdigest() == before


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_bad_input(start, data, small, tmp_path, refused):
    run = tmp_path / "run"
    base = ["train", "--model", start, "--output_dir", run, *small]
    empty = write(tmp_path / "empty.jsonl", "")
    other = write(tmp_path / "other.jsonl", '{"id": 1, "question": "a", "reply": "b"}\n')
    blank = write(
        tmp_path / "blank.jsonl",
        '{"id": 1, "case_description": ["a"], "consultation_process": ["b"], "experience_and_reflection": " "}\n',
    )
    for words, message in (
        ([], "data is not set; pass --data FILE.jsonl"),
        (["--data", tmp_path / "none.jsonl"], "none.jsonl"),
        (["--data", empty], "empty.jsonl"),
        (["--data", other], "reply"),
        (["--data", blank], "blank.jsonl"),
        (["--data", data, "--preset", "no_such"], "preset='no_such' is not known; use one of original, optimized"),
        (["--data", data, "--lerning_rate", "1"], "did you mean learning_rate?"),
        (["--data", data, "--task", "poem"], "task='poem' is not known"),
        (["--data", data, "--source_fields", "text"], "belong together"),
        (["--data", data, "--model", tmp_path / "none"], "does not exist; correct the path"),
        (["--data", data, "--precision", "fp16"], "mixed_precision=fp16 has no effect on a CPU"),
        (["--data", data, "--validation_share", "0"], "validation_share=0.0 is outside (0, 1)"),
        (["--data", data, "--max_target_length", "1"], "max_target_length=1 is too small for a text"),
        (["--data", data, "--output_dir", data], "is a file; choose a folder"),
        (["--data", data, "--eval_strategy", "epoch"], "eval_strategy=epoch and save_strategy=steps differ, so a"),
        (["--data", data, "--eval_strategy", "epoch"], "set save_strategy epoch too, or load_best_model_at_end false"),
        (["--data", data, "--num_train_epochs", "0", "--max_steps", "-1"], "num_train_epochs=0 trains nothing; use a"),
    ):
        refused([*base, *words], message)
        assert not run.exists(), words
    refused(["trian"], "'trian' is not a command; did you mean train?")
    refused(["summarize", "--model", start], "the following arguments are required: --input, --output")
    refused(["clean", tmp_path], "is not a run folder")


@pytest.fixture
def closed_pipe():
    """The writing end of a pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    with contextlib.suppress(OSError):
        os.close(writing)


@pytest.mark.parametrize("command", ["plan", "summarize", "evaluate"])
def test_a_reader_that_leaves_is_no_failure(start, data, small, tmp_path, command, closed_pipe, monkeypatch, capsys):
    """The pipe is closed before the command writes to it; its work is complete."""
    scored, output = tmp_path / "scored.jsonl", tmp_path / "scores.json"
    words = {
        "plan": ["--model", start, "--data", data, "--output_dir", tmp_path / "run", *small],
        "summarize": ["--model", start, "--input", data, "--output", output, "--max_length", "3"],
        "evaluate": ["--predictions", scored, "--data", data, "--output", output],
    }[command]
    rows = [json.loads(line) for line in data.read_text("utf-8").splitlines()]
    write(scored, "".join(json.dumps({"id": row["id"], "prediction": "a"}) + "\n" for row in rows))
    with monkeypatch.context() as patch, os.fdopen(closed_pipe, "w", encoding="utf-8") as pipe:
        patch.setattr(sys, "stdout", pipe)
        assert main([command, *map(str, words)]) == 0  # and closing the pipe, as at the end of a process, is no error
    assert "Broken" not in capsys.readouterr().err
    assert output.exists() is (command != "plan")


def test_a_process_whose_reader_leaves_ends_well(data, closed_pipe):
    words = [sys.executable, "-m", "mt5_ft", "subset", str(data), "--drop", "0.25"]
    process = subprocess.run(words, stdout=closed_pipe, stderr=subprocess.PIPE, check=False)
    assert (process.returncode, process.stderr) == (0, b"")
    assert len(data.read_text("utf-8").splitlines()) == 30


def test_two_other_fields_and_five_aspects(train, start, data, tmp_path, capsys):
    code, run = train("--source_fields", "case_description", "--target_fields", "causes", output="pair")
    assert code == 0
    code, run = train("--task", "five_aspects", output="five")
    assert code == 0
    output = tmp_path / "five.jsonl"
    words = ["summarize", "--model", run / "final", "--input", data, "--output", output, "--max_length", "12"]
    assert main([str(word) for word in words]) == 0
    fields = json.loads(output.read_text("utf-8").splitlines()[0]).keys()
    assert fields == {"id", "prediction", "causes", "symptoms", "treatment_process", "characteristics_of_illness",
                      "treatment_effect", "source_fingerprint"}  # fmt: skip
    assert load_tokenizer(str(run / "final")).unk_token_id == 2
