"""A resume that would be another run is refused with the list of differences, or says what it keeps."""

import json
import random
import shutil
from pathlib import Path

import pytest

from kronos_ft.data.sources import simulate_candles
from tests.fault_runs import start
from tests.fault_sample import sample

KINDS = ("tokenizer", "predictor", "mt5")
BATCH = {
    "mt5": (["--gradient_accumulation_steps", "1"], "batch x accumulation: 4 x 2 -> 4 x 1"),
    "tokenizer": (["--per_device_train_batch_size", "16"], "per_device_train_batch_size: 32 -> 16"),
    "predictor": (["--per_device_train_batch_size", "16"], "per_device_train_batch_size: 32 -> 16"),
}


@pytest.fixture
def cut(whole, make_run):
    """A function that gives a copy of a run of a kind that has not reached its end."""

    def make(kind):
        run = make_run(kind)
        shutil.copytree(whole(kind)[0].output, run.output)
        shutil.rmtree(run.model.parent)
        (run.output / "training_metrics.json").unlink()
        shutil.rmtree(run.output / "checkpoint-24")
        return run

    return make


def other_data(kind, run, folder):
    if kind == "mt5":
        path = folder / "other.jsonl"
        lines = Path(run.words[run.words.index("--data") + 1]).read_text("utf-8").splitlines()
        random.Random(0).shuffle(lines)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path
    path = folder / "other.csv"
    simulate_candles(600, seed=6).to_csv(path, index=False)
    return path


@pytest.mark.fault(6)
@pytest.mark.parametrize("kind", sample(KINDS, "tokenizer", "mt5"))
def test_other_settings_are_refused(kind, cut, tmp_path):
    run = cut(kind)
    before = {path: path.read_bytes() for path in run.output.rglob("*") if path.is_file()}
    words, batch = BATCH[kind]
    path = other_data(kind, run, tmp_path)
    fingerprint = "data.content: " if kind == "mt5" else "data.fingerprint: "
    for further, difference in (
        (words, batch),
        (["--seed", "7"], "seed: 42 -> 7"),
        (["--data", path], fingerprint),
        (["--max_steps", "30", "--weight_decay", "0.5"], "max_steps: 24 -> 30"),
    ):
        ended = start(run, "--resume", *further)
        assert ended.code == 2, ended.text[-3000:]
        last = ended.text.splitlines()[-1]
        assert "cannot be resumed with other settings (" in last
        assert difference in last
        assert "--resume_force" in last
    assert {path: path.read_bytes() for path in run.output.rglob("*") if path.is_file()} == before


@pytest.mark.fault(6)
@pytest.mark.parametrize("kind", sample(KINDS, "predictor"))
def test_forced_it_says_what_it_keeps(kind, cut, tmp_path):
    run = cut(kind)
    words, batch = BATCH[kind]
    ended = start(run, "--resume_force", *words, "--seed", "7", "--data", other_data(kind, run, tmp_path))
    assert ended.code == 0, ended.text[-3000:]
    assert "resume_force: continuing with " in ended.text
    assert batch in ended.text
    assert "weights, optimizer state (with its weight_decay and betas), step count and history are those" in ended.text
    record = json.loads((run.output / "run.json").read_text("utf-8"))
    assert (record["status"], record["global_step"], record["arguments"]["seed"]) == ("finished", 24, 7)


@pytest.mark.fault(6, 7)
@pytest.mark.parametrize("kind", sample(KINDS, "tokenizer"))
def test_forced_with_another_schedule(kind, cut):
    """More steps and another rate: the new schedule is entered at the step that was reached."""
    run = cut(kind)
    ended = start(run, "--resume_force", "--max_steps", "28", "--learning_rate", "5e-4")
    assert ended.code == 0, ended.text[-3000:]
    assert "max_steps: 24 -> 28" in ended.text
    straight = run.to(run.output.with_name("straight"))
    assert start(straight, "--max_steps", "28", "--learning_rate", "5e-4").code == 0

    def last_rates(output):
        log = [json.loads(line) for line in (output / "metrics.jsonl").read_text("utf-8").splitlines()]
        return {entry["step"]: entry["learning_rate"] for entry in log[-8:] if "learning_rate" in entry}

    assert last_rates(run.output) == pytest.approx(last_rates(straight.output))


@pytest.mark.fault(6)
@pytest.mark.parametrize("kind", sample(KINDS, "mt5"))
def test_a_finished_run_is_made_longer(kind, cut):
    run = cut(kind)
    assert start(run, "--resume").code == 0
    assert "cannot be resumed with other settings" in start(run, "--resume", "--max_steps", "28").text
    ended = start(run, "--resume_force", "--max_steps", "28")
    assert ended.code == 0, ended.text[-3000:]
    assert "nothing left to train" not in ended.text
    record = json.loads((run.output / "run.json").read_text("utf-8"))
    assert (record["status"], record["global_step"]) == ("finished", 28)


@pytest.mark.fault(7)
@pytest.mark.parametrize("kind", sample(KINDS, "mt5"))
def test_another_learning_rate(kind, cut, whole):
    run = cut(kind)
    ended = start(run, "--resume", "--learning_rate", "0.5")
    assert ended.code == 0, ended.text[-3000:]
    assert "learning_rate=0.5 is ignored: the run continues with " in ended.text
    assert "because its schedule has started" in ended.text
    assert run.model.read_bytes() == whole(kind)[0].model.read_bytes()


@pytest.mark.fault(6)
def test_without_a_record_the_manifest_is_compared(cut):
    run = cut("tokenizer")
    (run.output / "run.json").unlink()
    ended = start(run, "--resume", "--seed", "7")
    assert ended.code == 2
    assert "(seed: 42 -> 7" in ended.text.splitlines()[-1]
