"""`trim-vocab` and `expand-vocab`: the report, a run in between, and bad input in one line."""

import json

import pytest
import torch
from safetensors.torch import load_file

from mt5_ft.cli.main import main
from mt5_ft.models.loading import load_model, load_tokenizer


@pytest.fixture
def trim(start, data, tmp_path):
    """A function that trims the tiny model for a few records; words are added."""

    few = tmp_path / "few.jsonl"
    few.write_text("".join(data.read_text("utf-8").splitlines(keepends=True)[:8]), "utf-8")

    def run(*words, output="trimmed"):
        base = ["trim-vocab", "--model", start, "--data", few, "--output", tmp_path / output, "--extra", "50"]
        return main([str(word) for word in [*base, *words]]), tmp_path / output

    return run


def test_trim_train_and_expand(trim, train, start, data, tmp_path, capsys):
    code, trimmed = trim()
    out = capsys.readouterr().out
    assert code == 0
    for line in ("pieces      1,", "parameters  ", "weights     ", "coverage    9", "changed     0.00%", "unseen "):
        assert line in out
    code, run = train("--model", trimmed)
    assert code == 0
    summaries = tmp_path / "summaries.jsonl"
    words = ["summarize", "--model", run / "final", "--input", data, "--output", summaries, "--max_length", "8"]
    assert main([str(word) for word in words]) == 0
    output = tmp_path / "new" / "expanded"
    assert main(["expand-vocab", "--model", str(run / "final"), "--output", str(output)]) == 0
    assert (output / "task.json").read_text("utf-8") == (run / "final" / "task.json").read_text("utf-8")
    assert len(load_tokenizer(str(output))) == len(load_tokenizer(str(start)))
    assert load_model(str(output)).config.vocab_size == load_model(str(start)).config.vocab_size
    assert "full_model" not in json.loads((output / "config.json").read_text("utf-8"))


def test_trim_and_expand_give_the_same_file(trim, start, tmp_path, capsys):
    _, trimmed = trim()
    output = tmp_path / "expanded"
    assert main(["expand-vocab", "--model", str(trimmed), "--output", str(output)]) == 0
    assert "restored pieces were not trained and compete" in capsys.readouterr().out
    one, two = (load_file(folder / "model.safetensors") for folder in (output, start))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert (output / "tokenizer.json").read_bytes() == (start / "tokenizer.json").read_bytes()


def test_several_files_keep_what_each_needs(trim, start, data, tmp_path):
    other = tmp_path / "other.jsonl"
    other.write_text("".join(data.read_text("utf-8").splitlines(keepends=True)[20:]), "utf-8")
    _, one = trim("--languages", output="one")
    _, two = trim("--languages", "--data", other, output="two")
    small, both = (set(load_tokenizer(str(folder)).get_vocab()) for folder in (one, two))
    tokenizer = load_tokenizer(str(start))
    needed = {
        piece
        for line in other.read_text("utf-8").splitlines()
        for piece in tokenizer.tokenize("\n".join(json.loads(line)["consultation_process"]))
        if piece != "<unk>"
    }
    assert needed <= both
    assert not needed <= small


def test_a_trained_model_keeps_its_task_when_trimmed(train, data, tmp_path):
    _, run = train()
    output = tmp_path / "trimmed"
    words = ["trim-vocab", "--model", run / "final", "--data", data, "--output", output]
    assert main([str(word) for word in words]) == 0
    assert (output / "task.json").is_file()


def test_bad_input(trim, start, data, tmp_path, refused, capsys):
    output = tmp_path / "out"
    base = ["trim-vocab", "--model", start, "--output", output]
    for words, message in (
        ([], "the following arguments are required: --data"),
        (["--data", tmp_path / "none.jsonl"], "none.jsonl does not exist"),
        (["--data", data, "--languages", "xx"], "language 'xx' is not known; use some of zh"),
        (["--data", data, "--extra", "-2"], "extra=-2 is negative"),
        (["--data", data, "--task", "poem"], "task='poem' is not known"),
        (["--data", data, "--source_fields", "a"], "belong together"),
        (["--data", data, "--lang", "zh"], "--lang is not an option; did you mean --languages?"),
        (["--data", data, "--output", start], "exists; choose a new or an empty folder"),
        (["--data", data, "--output", data], "exists; choose a new or an empty folder"),
        (["--data", data, "--model", tmp_path / "none"], "does not exist; correct the path"),
    ):
        refused([*base, *words], message)
        assert not output.exists(), words
    refused(["expand-vocab", "--model", start, "--output", output], "was not trimmed")
    refused(["expand-vocab", "--model", start, "--output", data], "exists; choose a new or an empty folder")
    assert not output.exists()


def test_a_kill_while_writing_leaves_no_folder(trim, monkeypatch, tmp_path):
    def fail(*words, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("transformers.PreTrainedTokenizerFast.save_pretrained", fail)
    code, folder = trim()
    assert code == 2
    assert not folder.exists()
    assert not list(tmp_path.glob(".trimmed*"))
