"""A run begun by an earlier version resumes.

`run_of_34fc8a4.tar.gz` was written by commit 34fc8a4, before the packages were divided into rooms: `killed/` is a
tokenizer run killed after step 8 of 24, `whole/` has the weights of the same run without interruption.
"""

import json
import tarfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

ARCHIVE = Path(__file__).with_name("run_of_34fc8a4.tar.gz")
SETTINGS = [
    *("--data", "sample", "--model", "tiny", "--from_scratch", "--lookback_window", "20", "--predict_window", "4"),
    *("--stride", "40", "--validation_stride", "200", "--max_steps", "24", "--eval_strategy", "steps"),
    *("--eval_steps", "4", "--save_strategy", "steps", "--save_steps", "4", "--logging_steps", "3"),
    *("--report_to", "none", "--use_cpu", "true", "--per_device_train_batch_size", "16"),
    *("--gradient_accumulation_steps", "1", "--keep_best", "1"),
]


@pytest.fixture
def folder(tmp_path):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def test_it_resumes_and_ends_with_the_same_weights(run, folder):
    code, _, errors = run("tokenizer", *SETTINGS, "--output_dir", folder / "killed", "--resume")
    assert code == 0, errors
    record = json.loads((folder / "killed" / "run.json").read_text())
    assert (record["status"], record["global_step"]) == ("finished", 24)
    entries = [json.loads(line) for line in (folder / "killed" / "metrics.jsonl").read_text().splitlines()]
    steps = [entry["step"] for entry in entries if "loss" in entry]
    assert steps == sorted(set(steps))
    assert {3, 6, 9, 12, 15, 18, 21, 24} <= set(steps)
    expected = load_file(folder / "whole" / "model.safetensors")
    found = load_file(folder / "killed" / "best_model" / "model.safetensors")
    assert found.keys() == expected.keys()
    for name, value in expected.items():  # not bit for bit: the processor may be another
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-4)


def test_another_setting_is_refused_with_its_name(run, folder):
    changed = ["--seed", "7", "--output_dir", folder / "killed", "--resume"]
    code, _, errors = run("tokenizer", *SETTINGS, *changed)
    assert code == 2
    assert "seed" in errors[-1]
