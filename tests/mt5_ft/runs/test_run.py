"""Whole runs: from random weights without the Hub, on a full disk, and what is said on the way."""

import json
import re
import signal
import sys
from pathlib import Path

import pytest
from matplotlib import image

from mt5_ft.cli.main import main
from mt5_ft.models.loading import load_tokenizer
from mt5_ft.runs.finish import summary_lines
from mt5_ft.training.arguments import MT5ModelArguments
from mt5_ft.training.trainer import MT5Trainer
from tests.forked import Forked, program

ROOT = Path(__file__).parents[3]


def test_a_small_model_from_scratch_needs_no_hub(data, small, drawn_curves, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ft_core.hub.resolve.hub_answers", lambda: False)
    run = tmp_path / "run"
    words = ["train", "--data", data, "--output_dir", run, *small, "--max_steps", "8"]
    words = [str(word) for word in words]
    assert main(words) == 2
    assert "cannot reach the Hub for google/mt5-base" in (err := capsys.readouterr().err)
    assert "--model small --from_scratch" in err
    words += ["--model", "small", "--from_scratch"]
    real = MT5Trainer.training_step

    def interrupted(self, *args, **kwargs):
        if self.state.global_step == 5:
            raise KeyboardInterrupt
        return real(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(MT5Trainer, "training_step", interrupted)
        assert main(words) == 130
    assert main([*words, "--resume"]) == 0
    one, two = load_tokenizer(str(run / "checkpoint-8")), load_tokenizer(str(run / "final"))
    assert one.get_vocab() == two.get_vocab()
    assert "parameters, 100.0% trainable" in capsys.readouterr().out
    assert image.imread(run / "loss_curves.png").shape[1] == 1210
    assert main(["plan", *words[1:]]) == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"from_scratch": True}, "from_scratch=True cannot create google/mt5-base; add --model small"),
        ({"model": "small"}, "model=small has no weights; set from_scratch too"),
        ({"model": "small", "from_scratch": True, "lora": True}, "lora=True needs trained weights"),
        ({"lora_r": 0}, "lora_r=0 is below 1"),
        ({"lora_merge": True}, "lora_merge=True has no effect without lora=True"),
    ],
)
def test_models_that_cannot_be_started_from(values, message):
    with pytest.raises(ValueError, match=message):
        MT5ModelArguments(**values)


def test_summaries_of_evaluations_are_as_long_as_targets(train, monkeypatch):
    import mt5_ft.training.trainer as trainer

    seen, real = set(), trainer.summarize_texts

    def summarize(model, tokenizer, texts, settings):
        seen.add(settings.max_length)
        return real(model, tokenizer, texts, settings)

    monkeypatch.setattr(trainer, "summarize_texts", summarize)
    base = train.base
    at = base.index("--generation_max_length")
    del base[at : at + 2]
    assert train()[0] == 0
    assert seen == {24}


def small_files(words):
    """`mt5-ft` where no file may be larger than 200 KiB."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200 * 1024, before[1]))
    try:
        return program("mt5_ft", words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of file sizes there")
def test_a_disk_that_fills_up_while_saving_is_one_line(start, data, small, tmp_path):
    words = ["train", "--model", start, "--data", data, *small]
    words += ["--output_dir", tmp_path / "run", "--token_cache", "none"]
    done = Forked(tmp_path / "text", small_files, words)
    assert done.end() == 2, done.text()[-2000:]
    assert "Traceback" not in done.text()
    last = done.text().strip().splitlines()[-1]
    assert last.startswith("mt5-ft: checkpoint-2 could not be written to ")
    assert "(the disk is full); there is no earlier checkpoint: free some space and continue with --resume" in last
    assert not list((tmp_path / "run").glob("*checkpoint*"))


def test_nothing_is_kept_of_tokens_when_asked(train, tmp_path):
    assert train("--token_cache", "none", "--max_steps", "2")[0] == 0
    assert not list((tmp_path / "cache").glob("*.arrow"))
    assert train("--token_cache", tmp_path / "elsewhere", "--max_steps", "2", output="other")[0] == 0
    assert len(list((tmp_path / "elsewhere").glob("*.arrow"))) == 2
    record = json.loads((tmp_path / "other" / "run.json").read_text("utf-8"))
    assert "token_cache" not in record["data"]


def test_bad_output_folders_are_refused_before_anything_is_read(train, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("mt5_ft.runs.run.read_splits", None)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work", "utf-8")
    assert train("--overwrite", output="mine")[0] == 2
    assert "is not a run folder (no run.json) and is not overwritten" in capsys.readouterr().err
    assert (tmp_path / "mine" / "thesis.txt").is_file()


def test_warnings_say_what_to_set(train, data, capsys):
    _, run = train("--max_steps", "2")
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if "max_target_length" in line]
    assert re.fullmatch(
        r"WARNING     100% of the targets are truncated; max_target_length \d+ would fit 95 % of them", lines[0]
    )
    tokenizer = load_tokenizer(str(run / "final"))
    rows = [json.loads(line) for line in data.read_text("utf-8").splitlines()]
    lengths = sorted(len(tokenizer(row["experience_and_reflection"]).input_ids) for row in rows)
    assert lengths[30] <= int(lines[0].split()[-7]) <= lengths[-1]
    assert "validation" in out
    assert re.search(r"loss        validation [\d.]+ before training, ", out)
    assert "(of 100, all 4 validation records)" in out


def test_empty_summaries_are_warned_of():
    shares = {"empty_share": 1.0, "sentinel_share": 0.0, "repeated_share": 0.0}
    final = {"loss": 1.0, "rouge1": 0.0, "length_ratio": 0.0, "summarised_rows": 4, **shares}
    loss = {"first": 2.0, "first_step": 0, "best": 1.0, "last": 1.0}
    metrics = {"validation_loss": loss, "final": final, "examples": [], "steps": 1, "max_steps": 1, "seconds": 1.0}
    expected = "WARNING     the outputs are defective: 4 of 4 are empty; the model has not learnt enough: train longer"
    assert any(line.startswith(expected) for line in summary_lines(metrics))
    final |= {"empty_share": 0.0, "repeated_share": 0.25}
    assert not any("WARNING" in line for line in summary_lines(metrics | {"final": final | {"repeated_share": 0.1}}))
    assert any("1 of 4 repeat themselves" in line for line in summary_lines(metrics))
