"""mT5 on two CPU processes (gloo) against one: the same token-weighted loss, gradients, and rows counted once."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from transformers import MT5Config, MT5ForConditionalGeneration

from mt5_ft.data.preprocessing import tokenize_records
from mt5_ft.data.records import EMOTION_SUMMARY, read_records
from mt5_ft.models.from_scratch import train_tokenizer
from mt5_ft.models.loading import load_model, load_tokenizer, untie
from mt5_ft.runs.data import sample_path
from mt5_ft.training.trainer import MT5Collator
from tests.distributed import mt5_two_ranks
from tests.forked import Forked, Ranks, program, run_ranks

pytestmark = pytest.mark.distributed


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mt5")
    records = read_records(sample_path(), EMOTION_SUMMARY)[0][:40]
    tokenizer = train_tokenizer([f"{record.source}\n{record.target}" for record in records], vocab_size=1500)
    torch.manual_seed(0)
    config = MT5Config(
        vocab_size=-(-len(tokenizer) // 64) * 64, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_decoder_layers=1,
        num_heads=2, decoder_start_token_id=0, dropout_rate=0.0,
    )  # fmt: skip
    model = untie(MT5ForConditionalGeneration(config))
    with torch.no_grad():
        model.lm_head.weight.mul_(0.25)
    start = folder / "start"
    model.save_pretrained(start)
    tokenizer.save_pretrained(start)
    return start


def launch(start, processes, *words):
    """Trains; what each rank saw."""
    output = start.with_name(f"run{processes}x{'x'.join(map(str, words))}")
    batch, accumulation, *more = words
    words = (str(output), batch, accumulation, str(start), *more)
    environment = {"KRONOS_FT_CACHE": str(start.with_name("cache"))}
    run_ranks(start.parent, processes, mt5_two_ranks.main, *words, environment=environment)
    return [json.loads(Path(f"{output}-rank{rank}.json").read_text("utf-8")) for rank in range(processes)]


@pytest.fixture(scope="module")
def results(start):
    return [launch(start, *words) for words in ((1, 8, 1), (1, 4, 2), (2, 4, 1))]


def series_of(result, name):
    return [entry[name] for entry in result["history"] if name in entry]


@pytest.mark.fault(12)
def test_losses_gradients_and_weights_are_equal(results):
    """8 records of uneven length at once, 4 accumulated twice, and 4 on each of two ranks."""
    (one,), (accumulated,), two = results
    assert [result["world_size"] for result in two] == [2, 2]
    for result in (accumulated, *two):
        assert series_of(result, "loss") == pytest.approx(series_of(one, "loss"), rel=1e-6)
        assert series_of(result, "grad_norm") == pytest.approx(series_of(one, "grad_norm"), rel=1e-5)
        assert len(result["gradients"]) == 4
        for mine, other in zip(one["gradients"], result["gradients"], strict=True):
            for name, values in mine.items():
                scale = max(abs(value) for value in values)
                assert other[name] == pytest.approx(values, rel=1e-4, abs=1e-4 * scale + 1e-9), name
        for mine, other in zip(one["weights"], result["weights"], strict=True):
            assert other == pytest.approx(mine, rel=1e-4, abs=1e-5)
    assert two[0]["weights"] == two[1]["weights"]


def test_each_validation_row_counts_once(results):
    """Seven rows in batches of three on two ranks leave a padded last batch."""
    (one,), _, two = results
    for name in ("eval_loss", "eval_token_accuracy", "eval_rougeL", "eval_length_ratio"):
        assert len(series_of(one, name)) == (3 if name in ("eval_loss", "eval_token_accuracy") else 2)
        for result in two:
            assert series_of(result, name) == pytest.approx(series_of(one, name), rel=1e-5), name


def test_steps_of_tokens_on_two_ranks(start):
    """Each rank has as many micro-batches, each record comes once, and the step is that of all its tokens."""
    two = launch(start, 2, 1, 1, 180)
    assert series_of(two[0], "loss") == series_of(two[1], "loss")
    assert two[0]["weights"] == two[1]["weights"]
    for mine, other in zip(two[0]["rows"], two[1]["rows"], strict=True):
        assert len(mine) == len(other) >= 1
    per_epoch = two[0]["steps_per_epoch"]
    assert 1 < per_epoch <= 4
    seen = [row for rank in two for step in rank["rows"][:per_epoch] for rows in step for row in rows]
    assert sorted(seen) == list(range(32))

    model, tokenizer = load_model(str(start)), load_tokenizer(str(start))
    records = read_records(sample_path(), EMOTION_SUMMARY)[0][:40]
    tokens, _ = tokenize_records(records, tokenizer, max_source_length=48, max_target_length=32, cache="none")
    rows = [row for rank in two for rows in rank["rows"][0] for row in rows]
    batch = MT5Collator(tokenizer, model=model)([tokens[row] for row in rows])
    batch.pop("row")
    loss = model.train()(**batch).loss  # the mean over all tokens
    loss.backward()
    assert series_of(two[0], "loss")[0] == pytest.approx(float(loss.detach()), rel=1e-5)
    for name, parameter in model.named_parameters():
        expected = parameter.grad.flatten()[:5].tolist()
        scale = max(abs(value) for value in expected)
        found = two[0]["gradients"][0].get(f"module.{name}", two[0]["gradients"][0].get(name))
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-4 * scale + 1e-8), name


def dies_in_its_third_batch(words):
    """`mt5-ft WORDS`, whose process 1 is killed when it begins its third batch."""
    import mt5_ft.summaries.generation as generation

    real, calls = generation.generate_batch, []

    def generate_batch(*arguments):
        calls.append(1)
        if os.environ["RANK"] == "1" and len(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments)

    generation.generate_batch = generate_batch
    return program("mt5_ft", words)


@pytest.mark.parametrize("is_killed", [False, True])
def test_summaries_shared_by_two_processes_are_those_of_one(start, tmp_path, is_killed):
    words = ["summarize", "--model", start, "--input", sample_path(), "--batch_size", 32, "--max_length", 24]
    environment = {"OMP_NUM_THREADS": "1", "KRONOS_FT_TRACEBACK": ""}
    one = Forked(tmp_path / "one.text", program, "mt5_ft", [*words, "--output", tmp_path / "one.jsonl"])
    assert one.end() == 0, one.text()
    words += ["--output", tmp_path / "two.jsonl"]
    if is_killed:
        ranks = Ranks(tmp_path, 2, dies_in_its_third_batch, words, environment=environment)
        assert ranks.end() == [2, -signal.SIGKILL]
        assert "another process of this run has ended or does not respond" in ranks.ranks[0].text()
        assert "run the same command again" in ranks.ranks[0].text()
        assert not (tmp_path / "two.jsonl").exists()
        assert (tmp_path / "two.jsonl.part.1").read_bytes().count(b"\n") == 3  # the header and two batches
    run_ranks(tmp_path, 2, program, "mt5_ft", words, environment=environment)
    assert ("were done before" in (tmp_path / "rank-0.text").read_text()) == is_killed
    assert (tmp_path / "rank-1.text").read_text() == ""
    for name in ("one.jsonl", "one.jsonl.meta.json"):
        found = (tmp_path / name.replace("one", "two")).read_bytes()
        assert found == (tmp_path / name).read_bytes()
    assert not list(tmp_path.glob("*.part*"))


def lacks_memory_in_process_1(words):
    """`mt5-ft WORDS`; process 1 alone has memory for two records at most."""
    from mt5_ft.training.trainer import MT5Trainer

    real = MT5Trainer._token_sums

    def sums(self, model, inputs):
        if os.environ["RANK"] == "1" and model.training and len(inputs["labels"]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(self, model, inputs)

    MT5Trainer._token_sums = sums
    return program("mt5_ft", words)


def test_all_processes_halve_the_batch_when_one_lacks_memory(start, tmp_path):
    words = ["train", "--model", start, "--data", sample_path(), "--output_dir", tmp_path / "run", "--max_steps", 2]
    words += ["--per_device_train_batch_size", 8, "--gradient_accumulation_steps", 1, "--tokens_per_batch", 0]
    words += ["--max_source_length", 32, "--max_target_length", 16, "--eval_generate_rows", 4, "--report_to", "none"]
    words += ["--use_cpu", "true", "--trim_vocab", "false", "--train_sampling_strategy", "random"]
    environment = {"OMP_NUM_THREADS": "1", "KRONOS_FT_CACHE": str(tmp_path / "cache"), "KRONOS_FT_TRACEBACK": ""}
    run_ranks(tmp_path, 2, lacks_memory_in_process_1, words, environment=environment)
    texts = [(tmp_path / f"rank-{rank}.text").read_text() for rank in range(2)]
    assert texts[0].count("continuing with 4 x 2 accumulated, the same effective batch of 16") == 1
    assert texts[0].count("continuing with 2 x 4 accumulated, the same effective batch of 16") == 1
    assert "continuing with" not in texts[1]
    record = json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))
    assert record["arguments"]["per_device_train_batch_size"] == 2
    assert (record["global_step"], record["world_size"]) == (2, 2)
