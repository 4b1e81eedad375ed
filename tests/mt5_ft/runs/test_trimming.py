"""A run that trims its vocabulary: what it keeps, how it goes on, and what it ends with."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from ft_core.checkpoints.listing import list_checkpoints
from mt5_ft.cli.main import main
from mt5_ft.data.records import EMOTION_SUMMARY, read_records, write_records
from mt5_ft.models.loading import load_model, load_tokenizer
from mt5_ft.runs.data import sample_path
from mt5_ft.training.arguments import MT5ModelArguments
from mt5_ft.training.trainer import MT5Trainer

FAST = ["--preset", "fast", "--trim_extra", "20", "--tokens_per_batch", "300"]


@pytest.fixture
def few(tmp_path):
    """A file of records that need a part of the vocabulary."""
    path = tmp_path / "few.jsonl"
    rows = [json.loads(line) for line in sample_path().read_text("utf-8").splitlines()[:12]]
    short = [row | {"consultation_process": ["短。"], "experience_and_reflection": f"短 {row['id']}。"} for row in rows]
    write_records(path, short)
    return path


@pytest.fixture(autouse=True)
def _few(train, few):
    train.base[train.base.index("--data") + 1] = few


@pytest.fixture
def run(train, capsys):
    code, run = train(*FAST)
    run.with_name("out.txt").write_text(capsys.readouterr().out, "utf-8")
    assert code == 0
    return run


def test_the_run_and_its_model_say_what_was_kept(run, start, few):
    out = run.with_name("out.txt").read_text("utf-8")
    full = load_tokenizer(str(start))
    kept = json.loads((run / "kept_ids.json").read_text("utf-8"))["kept_ids"]
    assert json.loads((run / "final" / "kept_ids.json").read_text("utf-8"))["kept_ids"] == kept
    assert f"vocabulary  {len(full):,} -> {len(kept):,} pieces; 0.00% of the texts tokenised differently" in out
    assert "; records not used for a trial selection of pieces need +" in out
    tokenizer, model = (
        AutoTokenizer.from_pretrained(run / "final"),
        AutoModelForSeq2SeqLM.from_pretrained(run / "final"),
    )
    assert len(tokenizer) == len(kept) < len(full)
    assert model.config.vocab_size == len(model.lm_head.weight) < len(load_model(str(start)).lm_head.weight)
    for record in read_records(few, EMOTION_SUMMARY)[0]:
        for text in (record.source, record.target):
            assert [kept[number] for number in tokenizer(text).input_ids] == full(text).input_ids


def test_the_full_vocabulary_comes_back(run, start, tmp_path):
    assert main(["expand-vocab", "--model", str(run / "final"), "--output", str(tmp_path / "whole")]) == 0
    whole, full = load_model(str(tmp_path / "whole")), load_model(str(start))
    kept = json.loads((run / "kept_ids.json").read_text("utf-8"))["kept_ids"]
    others = sorted(set(range(len(full.lm_head.weight))) - set(kept))
    assert torch.equal(whole.lm_head.weight[others], full.lm_head.weight[others])
    assert torch.equal(whole.lm_head.weight[kept], load_model(str(run / "final")).lm_head.weight[: len(kept)])
    assert len(load_tokenizer(str(tmp_path / "whole"))) == len(load_tokenizer(str(start)))


def test_a_resume_keeps_what_was_kept(train, monkeypatch, capsys):
    real = MT5Trainer.training_step

    def interrupted(self, *args, **kwargs):
        if self.state.global_step == 3:
            raise KeyboardInterrupt
        return real(self, *args, **kwargs)

    words = [*FAST, "--max_steps", "5"]
    with monkeypatch.context() as patch:
        patch.setattr(MT5Trainer, "training_step", interrupted)
        code, run = train(*words)
    assert code == 130
    kept = (run / "kept_ids.json").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("mt5_ft.runs.trimming.choose_pieces", None)  # nothing is chosen anew
        patch.setattr("mt5_ft.runs.trimming.measure_unseen", lambda *args, **kwargs: None)
        code, run = train(*words, "--resume")
    assert code == 0
    assert (run / "kept_ids.json").read_bytes() == kept
    _, whole = train(*words, output="whole")
    one, two = (load_model(str(folder / "final")).state_dict() for folder in (run, whole))
    assert all(torch.equal(one[name], two[name]) for name in one)
    (run / "training_metrics.json").unlink()
    (run / "kept_ids.json").write_text('{"kept_ids": 7}', "utf-8")
    assert train(*words, "--resume")[0] == 2
    assert "kept_ids.json is not a list of token ids" in capsys.readouterr().err


def test_trimming_and_adapters(train, capsys):
    assert train(*FAST, "--lora")[0] == 2
    assert "set lora_merge true too, or trim_vocab false" in capsys.readouterr().err
    code, run = train(*FAST, "--lora", "--lora_merge")
    assert code == 0
    kept = json.loads((run / "kept_ids.json").read_text("utf-8"))["kept_ids"]
    assert len(AutoTokenizer.from_pretrained(run / "final")) == len(kept)
    assert len(load_model(str(run / "final")).lm_head.weight) >= len(kept)


def test_checkpoints_of_adapters_of_a_trimmed_vocabulary(train, capsys):
    words = [*FAST, "--lora", "--lora_merge"]
    code, run = train(*words)
    assert code == 0
    plan = capsys.readouterr().out
    (checkpoint,) = list_checkpoints(run).values()
    assert (checkpoint / "kept_ids.json").read_bytes() == (run / "kept_ids.json").read_bytes()
    names = load_file(checkpoint / "adapter_model.safetensors").keys()
    assert names
    assert all(".lora_" in name for name in names), "the tables are the base's"
    planned = float(re.search(r"checkpoint  ([\d.]+) MiB", plan)[1]) * 2**20
    assert sum(path.stat().st_size for path in checkpoint.iterdir()) == pytest.approx(planned, rel=0.25)
    with pytest.raises(ValueError, match=r"adapters for a trimmed vocabulary, .* with --resume, or use final/"):
        load_model(str(checkpoint))
    assert train(*words, "--max_steps", "8", "--resume_force")[0] == 0


def test_a_vocabulary_of_the_records_is_not_trimmed(caplog):
    settings = MT5ModelArguments(model="small", from_scratch=True, trim_vocab=True)
    assert not settings.trim_vocab
    assert "trim_vocab is ignored" in caplog.text
    with pytest.raises(ValueError, match="language 'klingon' is not known"):
        MT5ModelArguments(trim_vocab=True, trim_languages=["klingon"])


def test_plan_shows_what_fast_changes(start, few, tmp_path, capsys):
    words = [
        "plan",
        "--model",
        start,
        "--data",
        few,
        "--output_dir",
        tmp_path / "none",
        "--trim_extra",
        20,
        "--precision",
        "fp32",
    ]
    words += ["--max_source_length", "48", "--max_target_length", "24", "--compare", "original", "fast", "8gb"]
    assert main([str(word) for word in words]) == 0
    lines = {line[:22].strip(): line[22:].split() for line in capsys.readouterr().out.splitlines()}
    assert lines[""] == ["original", "fast", "8gb"]
    for name in ("vocabulary", "checkpoint", "disk at the peak"):
        original, fast = lines[name][0], lines[name][-2]
        assert original != fast, name
    assert int(lines["vocabulary"][1].replace(",", "")) < int(lines["vocabulary"][0].replace(",", ""))
    assert not (tmp_path / "none").exists()


def test_the_last_checkpoint_goes_after_the_last_figures(train, monkeypatch, capsys):
    """A kill in the final evaluation finds it there, and the resume has nothing to train."""
    words = ["--max_steps", "6", "--save_total_limit", "1"]
    terms = MT5Trainer.logged_terms

    def worse(self, *args):
        return terms(self, *args) | {"loss": 1.0 + self.state.global_step}

    monkeypatch.setattr(MT5Trainer, "logged_terms", worse)
    real = MT5Trainer.evaluate

    def killed(self, *args, metric_key_prefix="eval", **kwargs):
        if metric_key_prefix == "final":
            raise KeyboardInterrupt
        return real(self, *args, metric_key_prefix=metric_key_prefix, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(MT5Trainer, "evaluate", killed)
        code, run = train(*words)
    assert code == 130
    record = json.loads((run / "run.json").read_text("utf-8"))
    assert record["arguments"]["save_total_limit"] == 1
    assert record["best_step"] < 6, "the last checkpoint is not the best one"
    assert list(list_checkpoints(run)) == [record["best_step"], 6]
    with monkeypatch.context() as patch:
        patch.setattr(MT5Trainer, "training_step", None)
        assert train(*words, "--resume")[0] == 0
    assert list(list_checkpoints(run)) == [record["best_step"]]
    assert (run / "training_metrics.json").is_file()
