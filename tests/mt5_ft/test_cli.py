"""The command line: whole runs on a tiny model, interrupted summaries, disk, and bad input in one line."""

import hashlib
import json
import shutil
import subprocess
import sys

import pytest
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from ft_core.checkpoints import list_checkpoints
from mt5_ft.cli import main
from mt5_ft.data.records import write_records
from mt5_ft.models.loading import load_model, load_tokenizer
from mt5_ft.resources import disk_of_run, folder_bytes
from mt5_ft.training.run import sample_path

SMALL = [
    "--max_steps", "4", "--eval_steps", "2", "--save_steps", "2", "--logging_steps", "1", "--warmup_steps", "0",
    "--max_source_length", "48", "--max_target_length", "24", "--generation_max_length", "12", "--precision", "fp32",
    "--eval_generate_rows", "3", "--per_device_eval_batch_size", "4", "--learning_rate", "1e-3",
]  # fmt: skip


@pytest.fixture
def start(model, tokenizer, tmp_path):
    folder = tmp_path / "start"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "records.jsonl"
    write_records(path, [json.loads(line) for line in sample_path().read_text().splitlines()[:40]])
    return path


@pytest.fixture
def train(start, data, tmp_path):
    """A function that runs `mt5-ft train` on the tiny model."""

    def run(*words, output="run"):
        command = ["train", "--model", start, "--data", data, "--output_dir", tmp_path / output, *SMALL, *words]
        return main([str(word) for word in command]), tmp_path / output

    return run


def refused(capsys, words, message):
    assert main([str(word) for word in words]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("mt5-ft: ")
    assert message in lines[-1]
    assert not any("Traceback" in line for line in lines)


def test_help_imports_no_torch():
    code = "import sys; from mt5_ft.cli import main; main(['--help']); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "mt5-ft COMMAND [OPTIONS]" in done.stdout


def test_a_whole_run(train, capsys):
    code, run = train()
    out = capsys.readouterr().out
    assert code == 0
    assert "36 to train on, 4 to validate on" in out
    assert "WARNING" in out
    assert "steps       4" in out
    assert out.count("prediction  ") == 3
    assert "scores      rouge1" in out
    final = run / "final"
    assert AutoModelForSeq2SeqLM.from_pretrained(final).config.d_model == 16
    assert AutoTokenizer.from_pretrained(final)("你好").input_ids
    metrics = json.loads((run / "training_metrics.json").read_text())
    assert metrics["validation_loss"]["best"] < 10
    assert {path.name for path in (run / "predictions").iterdir()} >= {"predictions-2.jsonl", "predictions-4-all.jsonl"}
    refused(capsys, ["train", "--data", "sample", "--output_dir", run], "is not empty; pass --resume")


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


def test_disk_is_as_planned(train, capsys):
    """Within 15 % of what a finished run used."""
    _, run = train("--save_total_limit", "2", "--max_steps", "6", output="disk")
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if line.startswith("disk"))
    planned = float(line.split(" at the peak, ")[1].split(" MiB")[0]) * 2**20
    assert len(list_checkpoints(run)) == 2
    assert planned == pytest.approx(folder_bytes(run), rel=0.15)


def test_disk_arithmetic():
    log = 300_000
    assert disk_of_run(100, 30, saves=10, limit=2) == (300 + log, 230 + log)
    assert disk_of_run(100, 30, saves=10, limit=1) == (300 + log, 130 + log)
    assert disk_of_run(100, 30, saves=1, limit=1) == (130 + log, 130 + log)
    assert disk_of_run(100, 30, saves=4, limit=None) == (430 + log, 430 + log)


def test_no_space_is_said_before_anything_is_written(train, tmp_path, monkeypatch, capsys):
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
    monkeypatch.setattr("mt5_ft.resources.shutil.disk_usage", lambda path: usage)
    code, run = train("--save_total_limit", "2")
    assert code == 2
    assert "of disk at its peak but 0.0 MiB are free; set save_total_limit to 1" in capsys.readouterr().err
    assert not run.exists()


def test_plan_and_compare(start, data, tmp_path, capsys):
    base = ["plan", "--model", start, "--data", data, "--output_dir", tmp_path / "none", "--precision", "fp32"]
    words = [str(word) for word in [*base, "--max_source_length", "48", "--max_target_length", "24"]]
    assert main(words) == 0
    assert "time        about" in capsys.readouterr().out
    assert main([*words, "--compare", "original", "optimized"]) == 0
    out = capsys.readouterr().out
    assert "        original       optimized" in out
    for name in ("epochs", "batch x accumulation", "effective batch", "time", "disk at the peak", "rows per second"):
        assert any(line.startswith(name) for line in out.splitlines())
    assert not (tmp_path / "none").exists()
    refused(capsys, [*base, "--compare", "original"], "--compare needs two presets or more")


def test_memory_that_runs_out_halves_the_batch(train, monkeypatch, capsys):
    from mt5_ft.training.trainer import MT5Trainer

    real, seen = MT5Trainer.training_step, []

    def step(self, model, inputs, *args, **kwargs):
        seen.append(len(inputs["labels"]))
        if len(inputs["labels"]) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")
        return real(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(MT5Trainer, "training_step", step)
    code, run = train("--per_device_train_batch_size", "8", "--gradient_accumulation_steps", "1")
    assert code == 0
    assert seen[:3] == [8, 4, 2]
    out = capsys.readouterr().out
    assert "going on with 4 x 2 accumulated, the same effective batch of 8" in out
    assert "going on with 2 x 4 accumulated, the same effective batch of 8" in out
    record = json.loads((run / "run.json").read_text())
    assert record["arguments"]["per_device_train_batch_size"] == 2
    assert record["global_step"] == 4


def test_memory_that_runs_out_at_one_names_three_settings(train, monkeypatch, capsys):
    from mt5_ft.training.trainer import MT5Trainer

    def step(self, *args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(MT5Trainer, "training_step", step)
    assert train("--per_device_train_batch_size", "1")[0] == 2
    err = capsys.readouterr().err
    assert all(word in err for word in ("lora", "adafactor", "max_source_length"))


@pytest.fixture
def summarize(start, data, tmp_path):
    def run(output, *words):
        command = ["summarize", "--model", start, "--input", data, "--output", tmp_path / output, "--max_length", "10"]
        return main([str(word) for word in [*command, "--batch_size", "4", *words]])

    return run


def test_summaries_in_input_order_and_the_same_bytes_twice(summarize, data, tmp_path):
    assert summarize("a.jsonl") == 0
    assert summarize("b.jsonl") == 0
    ids = [json.loads(line)["id"] for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert ids == [json.loads(line)["id"] for line in data.read_text().splitlines()]
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert summarize("c.jsonl", "--do_sample") == summarize("d.jsonl", "--do_sample") == 0
    assert (tmp_path / "c.jsonl").read_bytes() == (tmp_path / "d.jsonl").read_bytes()


@pytest.mark.parametrize("words", [(), ("--do_sample",)])
def test_an_interrupted_summary_goes_on(summarize, tmp_path, monkeypatch, capsys, words):
    import mt5_ft.generation as generation

    assert summarize("whole.jsonl", *words) == 0
    real, calls = generation.generate_batch, []

    def killed_after_three(*args):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(generation, "generate_batch", killed_after_three)
    assert summarize("cut.jsonl", *words) == 130
    assert not (tmp_path / "cut.jsonl").exists()
    with open(tmp_path / "cut.jsonl.part", "a") as part:
        part.write('{"positions": [1, 2')  # a line torn by the kill
    calls[:] = [1] * 10
    assert summarize("cut.jsonl", *words) == 0
    assert len(calls) == 10 + 7
    assert "(12 were done before)" in capsys.readouterr().out
    assert (tmp_path / "cut.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not (tmp_path / "cut.jsonl.part").exists()


def test_scores_of_a_file(summarize, data, tmp_path, capsys):
    assert summarize("p.jsonl") == 0
    capsys.readouterr()
    assert main(["evaluate", "--predictions", str(tmp_path / "p.jsonl"), "--data", str(data)]) == 0
    out = capsys.readouterr().out
    assert "40 of 40 records have a summary" in out
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    perfect = [{"id": row["id"], "prediction": row["experience_and_reflection"]} for row in rows]
    write_records(tmp_path / "perfect.jsonl", perfect)
    assert main(["evaluate", "--predictions", str(tmp_path / "perfect.jsonl"), "--data", str(data)]) == 0
    scores = dict(line.split() for line in capsys.readouterr().out.splitlines()[1:])
    assert float(scores["rougeL"]) == 100


def test_subset_and_restore(data, capsys):
    before = hashlib.sha256(data.read_bytes()).hexdigest()
    assert main(["subset", str(data), "--drop", "0.25", "--by", "topic", "--seed", "1"]) == 0
    assert len(data.read_text().splitlines()) == 30
    refused(capsys, ["subset", data, "--drop", "0.25"], "backup")
    assert main(["restore", str(data)]) == 0
    assert hashlib.sha256(data.read_bytes()).hexdigest() == before


def test_clean_keeps_final_and_the_best(train, capsys):
    _, run = train("--save_total_limit", "3", "--max_steps", "6")
    best = json.loads((run / "run.json").read_text())["best_step"]
    capsys.readouterr()
    assert main(["clean", str(run)]) == 0
    assert "would remove" in capsys.readouterr().out
    assert len(list_checkpoints(run)) == 3
    assert main(["clean", str(run), "--yes"]) == 0
    assert list(list_checkpoints(run)) == [best]
    assert (run / "final" / "model.safetensors").is_file()


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_bad_input(start, data, tmp_path, capsys):
    run = tmp_path / "run"
    base = ["train", "--model", start, "--output_dir", run, *SMALL]
    empty = write(tmp_path / "empty.jsonl", "")
    other = write(tmp_path / "other.jsonl", '{"id": 1, "text": "a", "summary": "b"}\n')
    blank = write(
        tmp_path / "blank.jsonl",
        '{"id": 1, "case_description": ["a"], "consultation_process": ["b"], "experience_and_reflection": " "}\n',
    )
    for words, message in (
        ([], "data is not set; pass --data FILE.jsonl"),
        (["--data", tmp_path / "none.jsonl"], "none.jsonl"),
        (["--data", empty], "empty.jsonl"),
        (["--data", other], "summary"),
        (["--data", blank], "blank.jsonl"),
        (["--data", data, "--preset", "best"], "preset='best' is not known; use one of original, optimized"),
        (["--data", data, "--lerning_rate", "1"], "did you mean learning_rate?"),
        (["--data", data, "--task", "poem"], "task='poem' is not known"),
        (["--data", data, "--source_fields", "text"], "belong together"),
        (["--data", data, "--model", tmp_path / "none"], "does not exist; correct the path"),
        (["--data", data, "--precision", "fp16"], "mixed_precision=fp16 has no effect on a CPU"),
        (["--data", data, "--validation_share", "0"], "validation_share=0.0 is outside (0, 1)"),
        (["--data", data, "--max_target_length", "1"], "max_target_length=1 leaves no room for a text"),
        (["--data", data, "--output_dir", data], "is a file; name a folder"),
    ):
        refused(capsys, [*base, *words], message)
        assert not run.exists(), words
    refused(capsys, ["trian"], "'trian' is not a command; did you mean train?")
    refused(capsys, ["summarize", "--model", start], "the following arguments are required: --input, --output")
    refused(capsys, ["clean", tmp_path], "holds no run")


def test_two_other_fields_and_five_aspects(train, start, data, tmp_path, capsys):
    code, run = train("--source_fields", "case_description", "--target_fields", "causes", output="pair")
    assert code == 0
    code, run = train("--task", "five_aspects", output="five")
    assert code == 0
    output = tmp_path / "five.jsonl"
    words = ["summarize", "--model", run / "final", "--input", data, "--output", output, "--max_length", "12"]
    assert main([str(word) for word in words]) == 0
    fields = json.loads(output.read_text().splitlines()[0]).keys()
    assert fields == {"id", "prediction", "causes", "symptoms", "treatment_process", "characteristics_of_illness",
                      "treatment_effect"}  # fmt: skip
    assert load_tokenizer(str(run / "final")).unk_token_id == 2
