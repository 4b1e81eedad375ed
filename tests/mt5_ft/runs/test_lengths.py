"""Length limits from the records, evaluations from the steps of an epoch, and warm-ups that are too long."""

import json
import re

import numpy as np
import pytest

from mt5_ft.cli.main import main
from mt5_ft.data.preprocessing import tokenize_records
from mt5_ft.data.records import Record
from mt5_ft.models.task import read_task
from mt5_ft.runs.data import read_splits
from mt5_ft.runs.lengths import FEWEST, MEASURED, choose_lengths
from mt5_ft.training.arguments import MT5Arguments, MT5DataArguments
from mt5_ft.training.trainer import MT5Trainer


def without(words, *names):
    """Words without some options and their values."""
    words = list(words)
    for name in names:
        at = words.index(name)
        del words[at : at + 2]
    return words


@pytest.fixture
def free(train):
    """`train` without length limits and intervals of its own, at 6 steps an epoch of 36 records."""
    names = ("--max_source_length", "--max_target_length", "--eval_steps", "--save_steps", "--max_steps")
    train.base[:] = without(train.base, *names)
    train.base += ["--gradient_accumulation_steps", "3", "--num_train_epochs", "2"]
    return train


def recorded(run):
    return json.loads((run / "run.json").read_text("utf-8"))


def tokens_of(records, tokenizer, side):
    return [len(tokenizer(getattr(record, side))["input_ids"]) for record in records]


def test_limits_are_the_95th_percentile_in_multiples_of_8(records, tokenizer):
    data, chosen = choose_lengths(MT5DataArguments(), records, tokenizer)
    for side in ("source", "target"):
        exact = np.quantile(tokens_of(records, tokenizer, side), 0.95, method="inverted_cdf")
        assert getattr(data, f"max_{side}_length") == chosen.limits[side] == 8 * np.ceil(exact / 8)
    _, lengths = tokenize_records(records, tokenizer, max_source_length=1024, max_target_length=512)
    assert chosen.line(lengths) == (
        f"max_source_length {data.max_source_length} and max_target_length {data.max_target_length} chosen to fit 95 % "
        "of 40 training records; 0 sources and 0 targets are truncated"
    )


def test_given_limits_stay_and_the_other_side_is_chosen(records, tokenizer):
    data, chosen = choose_lengths(MT5DataArguments(max_source_length=20), records, tokenizer)
    assert data.max_source_length == 20
    assert chosen.limits.keys() == {"target"}
    data, chosen = choose_lengths(MT5DataArguments(max_source_length=20, max_target_length=10), records, tokenizer)
    assert (data.max_source_length, data.max_target_length, chosen.limits) == (20, 10, {})


def test_short_texts_get_the_floor_and_long_ones_the_cap(tokenizer):
    def limits(source, target, tokens=0):
        data, chosen = choose_lengths(MT5DataArguments(), [Record("1", source, target, 1, {})] * 3, tokenizer, tokens)
        return data.max_source_length, data.max_target_length, [chosen.is_capped(side) for side in ("source", "target")]

    assert limits("a", "b") == (FEWEST, FEWEST, [False, False])
    assert limits("word 9 " * 2000, "word 9 " * 2000) == (1024, 512, [True, True])
    source, target, _ = limits("word 9 " * 2000, "b", tokens=1000)  # a record of both limits fits into a micro-batch
    assert (source, target) == (968, 32)


def test_a_large_file_is_sampled_with_a_seed(records, tokenizer):
    many = [records[n % 40] for n in range(MEASURED + 500)]
    first, again = (choose_lengths(MT5DataArguments(), many, tokenizer)[1] for _ in range(2))
    assert first == again
    assert (first.measured, first.records) == (MEASURED, MEASURED + 500)


def test_a_run_uses_one_pair_of_limits_everywhere(free, data, capsys):
    code, run = free()
    assert code == 0
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if "chosen to fit 95 %" in line]
    assert line.startswith("limits      max_source_length ")
    labels = [line.split("  ")[0] for line in out.splitlines() if re.match(r"[a-z]+(?: [a-z]+)?  ", line)]
    assert labels.count("lengths") == labels.count("limits") == 1
    limits = {name: recorded(run)["data"][name] for name in ("max_source_length", "max_target_length")}
    assert limits.items() <= read_task(run / "final").items()
    assert f"max_source_length {limits['max_source_length']} and" in line
    summaries = run.parent / "out.jsonl"
    words = ["summarize", "--model", run / "final", "--input", data, "--output", summaries]
    assert main([str(word) for word in words]) == 0
    made_from = json.loads(summaries.with_name("out.jsonl.meta.json").read_text("utf-8"))["made_from"]
    assert made_from["max_source_length"] == limits["max_source_length"]
    assert made_from["max_length"] == limits["max_target_length"]


def test_each_epoch_is_evaluated_and_saved_where_it_has_few_steps(free, capsys):
    code, run = free("--save_total_limit", "5")
    assert code == 0
    assert "evaluation  each epoch: every 6 steps; --eval_steps changes it" in capsys.readouterr().out
    log = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert [entry["step"] for entry in log if "eval_loss" in entry][:3] == [0, 6, 12]
    assert {path.name for path in run.glob("checkpoint-*")} == {"checkpoint-6", "checkpoint-12"}
    assert recorded(run)["arguments"]["eval_steps"] == recorded(run)["arguments"]["save_steps"] == 6


def test_intervals_that_are_set_win(free, capsys):
    code, run = free("--eval_steps", "4")
    assert code == 0
    assert "evaluation  each epoch" not in capsys.readouterr().out
    log = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert [entry["step"] for entry in log if "eval_loss" in entry][:4] == [0, 4, 8, 12]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (1000, 1000, 1000)),
        ({"most_eval_steps": 2000}, (2000, 2000, 2000)),
        ({"eval_steps": 300}, (300, 900, 0)),
        ({"eval_steps": 5000}, (5000, 5000, 0)),
        ({"eval_steps": 0.1}, (0.1, 0.1, 0)),
        ({"save_steps": 2000}, (1000, 2000, 0)),
        ({"most_eval_steps": 0}, (1000, 1000, 0)),
    ],
)
def test_intervals_that_are_not_set_follow_from_the_others(given, expected, tmp_path):
    args = MT5Arguments(str(tmp_path), use_cpu=True, precision="fp32", **given)
    assert (args.eval_steps, args.save_steps, args.most_eval_steps) == expected


def test_negative_intervals_are_refused(tmp_path):
    with pytest.raises(ValueError, match="most_eval_steps=-1 is negative; use 0 or a number of steps"):
        MT5Arguments(str(tmp_path), most_eval_steps=-1)


def interrupt(free, monkeypatch, *words):
    real = MT5Trainer.training_step

    def step(self, *args, **kwargs):
        if self.state.global_step == 8:
            raise KeyboardInterrupt
        return real(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(MT5Trainer, "training_step", step)
        code, run = free(*words)
    assert code == 130
    return run


def test_a_resumed_run_keeps_what_was_chosen(free, monkeypatch):
    run = interrupt(free, monkeypatch)
    before = recorded(run)
    monkeypatch.setattr("mt5_ft.runs.lengths.MULTIPLE", 64)  # another choice, if it were made again
    code, run = free("--resume")
    after = recorded(run)
    assert code == 0
    assert after["status"] == "finished"
    assert after["data"] == before["data"]
    assert after["arguments"]["eval_steps"] == before["arguments"]["eval_steps"] == 6


def test_a_run_of_an_earlier_version_keeps_its_limits_and_intervals(free, monkeypatch):
    limits = ("--max_source_length", "256", "--max_target_length", "256")
    run = interrupt(free, monkeypatch, *limits, "--eval_steps", "2000", "--save_steps", "2000", "--save_strategy", "no",
                    "--load_best_model_at_end", "false")  # fmt: skip
    record = recorded(run)
    record["arguments"] |= {"save_strategy": "steps", "load_best_model_at_end": True}
    del record["arguments"]["most_eval_steps"]
    (run / "run.json").write_text(json.dumps(record), "utf-8")
    code, run = free("--resume")
    after = recorded(run)
    assert code == 0
    assert after["data"]["max_source_length"] == after["data"]["max_target_length"] == 256
    assert after["arguments"]["eval_steps"] == after["arguments"]["save_steps"] == 2000


def test_the_warm_up_of_earlier_defaults_goes_on(make_trainer, tmp_path):
    (tmp_path / "run").mkdir()
    record = {"status": "stopped", "seconds": 1.0, "started": "2026-01-01T00:00:00+00:00", "best_step": None}
    record |= {"world_size": 1, "arguments": {"warmup_steps": 200}}
    (tmp_path / "run" / "run.json").write_text(json.dumps(record), "utf-8")
    assert make_trainer(warmup_steps=0.05, resume=True).args.warmup_steps == 200
    assert make_trainer(warmup_steps=10, resume=True).args.warmup_steps == 10
    assert make_trainer(warmup_steps=0.05, overwrite=True).args.warmup_steps == 0.05


def test_the_default_warm_up_is_a_twentieth(tmp_path):
    args = MT5Arguments(str(tmp_path), use_cpu=True, precision="fp32")
    assert args.get_warmup_steps(40) == 2


def test_a_warm_up_of_more_than_a_tenth_is_kept_with_a_warning(start, data, tmp_path, capsys):
    words = ["plan", "--model", start, "--data", data, "--output_dir", tmp_path / "none", "--precision", "fp32"]
    words += ["--max_source_length", "48", "--max_target_length", "24", "--max_steps", "20", "--warmup_steps"]
    said = "WARNING     the warm-up of 5 steps is more than a tenth of the 20 steps; set e.g. --warmup_steps 0.05"
    for steps, expected in (("5", True), ("2", False), ("0.1", False)):
        assert main([str(word) for word in [*words, steps]]) == 0
        assert (said in capsys.readouterr().out) is expected


def test_splits_are_read_before_limits_are_chosen(data, tokenizer):
    train, _ = read_splits(MT5DataArguments(data=str(data)), 1)
    assert choose_lengths(MT5DataArguments(), train, tokenizer)[1].records == len(train) == 36
