"""Optimizers with a smaller state: what they need, and what a plan says of them."""

import importlib.util

import pytest
from torch import nn

from mt5_ft.training.arguments import MT5Arguments
from mt5_ft.training.planning import optimizer_bytes


def test_8_bit_needs_its_package(tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "bitsandbytes" else real(name, *a)
    )
    with pytest.raises(ValueError, match="optimizer=adamw8bit needs the package bitsandbytes, which is not installed"):
        MT5Arguments(output_dir=str(tmp_path), optimizer="adamw8bit")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: True if name == "bitsandbytes" else real(name, *a)
    )
    args = MT5Arguments(output_dir=str(tmp_path), optimizer="adamw8bit")
    assert (args.optim, args.learning_rate) == ("adamw_bnb_8bit", 1e-4)
    with pytest.raises(ValueError, match="optim=adamw_bnb_8bit has no effect here: set optimizer to one of adamw, ada"):
        MT5Arguments(output_dir=str(tmp_path), optim="adamw_bnb_8bit")


def test_bytes_of_the_state():
    model = nn.Sequential(nn.Embedding(100, 64), nn.Linear(64, 128, bias=True))
    whole, product, bias = 100 * 64, 64 * 128, 128
    assert optimizer_bytes(model, "adamw") == 8 * (whole + product + bias)
    assert optimizer_bytes(model, "adamw8bit") == 8 * (whole + bias) + 2 * product + 2 * 4 * product // 256
    assert optimizer_bytes(model, "adafactor") == 4 * (164 + 192 + 128)
    model[1].weight.requires_grad = False
    assert optimizer_bytes(model, "adamw") == 8 * (whole + bias)
