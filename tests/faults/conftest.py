"""Folders of a tiny predictor, its tokenizer and a tiny mT5, made once; tests copy what they damage."""

import json
import shutil

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


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A folder with `predictor`, `tokenizer`, `other` (a second tokenizer), `mt5` and `records.jsonl`."""
    root = tmp_path_factory.mktemp("made")
    torch.manual_seed(0)
    for name in ("tokenizer", "other"):
        network = KronosTokenizer(KronosTokenizerConfig.from_size("tiny"))
        with torch.no_grad():
            network.head.weight.mul_(5)  # or random weights decode every token to about the mean
        network.save_pretrained(root / name)
    Kronos(KronosConfig.from_size("tiny")).save_pretrained(root / "predictor")
    records = read_records(sample_path(), EMOTION_SUMMARY)[0][:30]
    pieces = train_tokenizer([f"{record.source}\n{record.target}" for record in records], vocab_size=1500)
    config = MT5Config(
        vocab_size=-(-len(pieces) // 64) * 64, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_decoder_layers=1,
        num_heads=2, decoder_start_token_id=0,
    )  # fmt: skip
    untie(MT5ForConditionalGeneration(config)).save_pretrained(root / "mt5")
    pieces.save_pretrained(root / "mt5")
    write_records(
        root / "records.jsonl", [json.loads(line) for line in sample_path().read_text("utf-8").splitlines()[:30]]
    )
    return root


@pytest.fixture
def copied(made, tmp_path):
    """A function that copies one of those folders for a test to change."""

    def copy(name):
        return shutil.copytree(made / name, tmp_path / name)

    return copy


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "btc.csv"
    simulate_candles(600, seed=4).to_csv(path, index=False)
    return path
