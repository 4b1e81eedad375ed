"""Inputs of the small runs, made once, and an uninterrupted run of each kind to compare with."""

import functools

import pytest
import torch
from transformers import MT5Config, MT5ForConditionalGeneration

from kronos_ft.data.sources import simulate_candles
from kronos_ft.models.configuration_kronos import KronosConfig, KronosTokenizerConfig
from kronos_ft.models.modeling_kronos import Kronos, KronosTokenizer
from mt5_ft.data.records import EMOTION_SUMMARY, read_records, write_records
from mt5_ft.models.from_scratch import train_tokenizer
from mt5_ft.models.loading import untie
from mt5_ft.runs.data import sample_path
from tests.fault_runs import KRONOS, MT5, PREDICTOR, QUANTILES, Run, outcome, start

KINDS = ("tokenizer", "predictor", "mt5")


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    """Candles, a tokenizer, records and a small mT5 with dropout, in a folder."""
    folder = tmp_path_factory.mktemp("inputs")
    simulate_candles(600, seed=5).to_csv(folder / "btc.csv", index=False)
    torch.manual_seed(0)
    KronosTokenizer(KronosTokenizerConfig.from_size("tiny")).save_pretrained(folder / "tokenizer")
    Kronos(KronosConfig.from_size("tiny")).save_pretrained(folder / "predictor")
    records = read_records(sample_path(), EMOTION_SUMMARY)[0][:96]
    write_records(folder / "cases.jsonl", [record.row for record in records])
    tokenizer = train_tokenizer([f"{record.source}\n{record.target}" for record in records], vocab_size=1600)
    config = MT5Config(
        vocab_size=-(-len(tokenizer) // 64) * 64, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_decoder_layers=1,
        num_heads=2, decoder_start_token_id=0, dropout_rate=0.1,
    )  # fmt: skip
    model = untie(MT5ForConditionalGeneration(config))
    with torch.no_grad():
        model.lm_head.weight.mul_(0.25)
    model.save_pretrained(folder / "mt5")
    tokenizer.save_pretrained(folder / "mt5")
    return folder


@pytest.fixture(scope="session")
def make_run(inputs, tmp_path_factory):
    """A function that names a run of a kind, in a folder of its own."""
    words = {
        "tokenizer": ["--data", inputs / "btc.csv", *KRONOS, "--augment_noise", "true"],
        "predictor": ["--data", inputs / "btc.csv", "--tokenizer", inputs / "tokenizer", *KRONOS, *PREDICTOR],
        "quantiles": [
            *("--data", inputs / "btc.csv", "--model", inputs / "predictor", "--tokenizer", inputs / "tokenizer"),
            *QUANTILES,
        ],
        "mt5": ["--data", inputs / "cases.jsonl", "--model", inputs / "mt5", *MT5],
    }
    cache = tmp_path_factory.mktemp("cache")

    def make(kind: str, output=None) -> Run:
        output = output or tmp_path_factory.mktemp(kind) / "run"
        return Run(kind, [str(word) for word in words[kind]], output, {"KRONOS_FT_CACHE": str(cache)})

    return make


@pytest.fixture(scope="session")
def whole_ended(make_run):
    """A function that gives the uninterrupted run of a kind and how its process ended."""

    @functools.cache
    def get(kind: str):
        run = make_run(kind)
        ended = start(run)
        assert ended.code == 0, ended.text[-3000:]
        return run, ended

    return get


@pytest.fixture(scope="session")
def whole(whole_ended):
    """A function that gives the uninterrupted run of a kind, with its outcome and number of file operations."""

    @functools.cache
    def get(kind: str):
        run, ended = whole_ended(kind)
        return run, outcome(run), ended.operations

    return get
