"""A tiny mT5 and its tokenizer, made once; records from the embedded sample."""

import copy
import json

import pytest
import torch
from transformers import MT5Config, MT5ForConditionalGeneration

from mt5_ft.cli.main import main
from mt5_ft.data.preprocessing import tokenize_records
from mt5_ft.data.records import EMOTION_SUMMARY, read_records, write_records
from mt5_ft.models.from_scratch import train_tokenizer
from mt5_ft.models.loading import untie
from mt5_ft.runs.data import sample_path
from mt5_ft.training.arguments import MT5Arguments
from mt5_ft.training.trainer import MT5Trainer


@pytest.fixture(scope="session")
def records():
    return read_records(sample_path(), EMOTION_SUMMARY)[0][:40]


@pytest.fixture(scope="session")
def tokenizer(records):
    return train_tokenizer([f"{record.source}\n{record.target}" for record in records], vocab_size=1500)


@pytest.fixture(scope="session")
def _model(tokenizer):
    torch.manual_seed(0)
    config = MT5Config(
        vocab_size=-(-len(tokenizer) // 64) * 64, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_decoder_layers=1,
        num_heads=2, decoder_start_token_id=0, dropout_rate=0.0,
    )  # fmt: skip
    model = untie(MT5ForConditionalGeneration(config))
    with torch.no_grad():
        model.lm_head.weight.mul_(0.25)
    return model


@pytest.fixture
def model(_model):
    return copy.deepcopy(_model)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KRONOS_FT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def tokens(records, tokenizer):
    return tokenize_records(records, tokenizer, max_source_length=48, max_target_length=32)[0]


@pytest.fixture
def make_trainer(model, tokenizer, tokens, records, tmp_path):
    """A function that builds a trainer of the tiny model; keyword arguments override the settings."""

    def make(output="run", eval_records=(), callbacks=None, **settings):
        values = {
            "output_dir": str(tmp_path / output),
            "per_device_train_batch_size": 8,
            "gradient_accumulation_steps": 1,
            "per_device_eval_batch_size": 3,
            "max_steps": 4,
            "eval_steps": 2,
            "save_steps": 2,
            "logging_steps": 1,
            "warmup_steps": 0,
            "learning_rate": 1e-3,
            "precision": "fp32",
            "train_sampling_strategy": "sequential",
            "generation_max_length": 12,
            "use_cpu": True,
            **settings,
        }
        train, validation = tokens.select(range(32)), tokens.select(range(32, 40))
        return MT5Trainer(
            copy.deepcopy(model),
            MT5Arguments(**values),
            tokenizer,
            train,
            validation,
            list(eval_records),
            callbacks=callbacks,
        )

    return make


SMALL = [
    "--max_steps", "4", "--eval_steps", "2", "--save_steps", "2", "--logging_steps", "1", "--warmup_steps", "0",
    "--max_source_length", "48", "--max_target_length", "24", "--generation_max_length", "12", "--precision", "fp32",
    "--eval_generate_rows", "3", "--per_device_eval_batch_size", "4", "--learning_rate", "1e-3",
]  # fmt: skip


@pytest.fixture
def small():
    """Settings of a run of four steps."""
    return list(SMALL)


@pytest.fixture
def start(model, tokenizer, tmp_path):
    folder = tmp_path / "start"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "records.jsonl"
    write_records(path, [json.loads(line) for line in sample_path().read_text("utf-8").splitlines()[:40]])
    return path


@pytest.fixture
def train(start, data, tmp_path):
    """A function that runs `mt5-ft train` on the tiny model."""

    base = ["--model", start, "--data", data, *SMALL]

    def run(*words, output="run"):
        command = ["train", *base, "--output_dir", tmp_path / output, *words]
        return main([str(word) for word in command]), tmp_path / output

    run.base = base
    return run


@pytest.fixture
def refused(capsys):
    """A function that runs words which must end in one line that holds `message` and exit code 2."""

    def check(words, message):
        assert main([str(word) for word in words]) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert lines[-1].startswith("mt5-ft: ")
        assert message in lines[-1]
        assert not any("Traceback" in line for line in lines)

    return check
