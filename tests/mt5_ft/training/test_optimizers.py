"""Optimizers with a smaller state: what they need, and what a plan says of them."""

import importlib.util

import pytest
from torch import nn

from mt5_ft.cli.main import _settings, main
from mt5_ft.runs.planning import optimizer_bytes
from mt5_ft.training.arguments import MT5Arguments


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


@pytest.mark.parametrize("preset", ["fast", "8gb", "cpu"])
@pytest.mark.parametrize(("optimizer", "rate"), [("adamw", 1e-4), ("adafactor", 1e-3)])
def test_presets_take_the_optimizers_own_rate(preset, optimizer, rate, tmp_path):
    words = ["--output_dir", str(tmp_path), "--precision", "fp32", "--optimizer", optimizer]
    assert _settings(words, "train", preset)[2].learning_rate == rate
    assert _settings([*words, "--learning_rate", "3e-4"], "train", preset)[2].learning_rate == 3e-4


def test_the_rate_of_a_preset_for_adamw_is_warned_of_with_adafactor(train, tmp_path, capsys):
    words = [str(word) for word in [*train.base, "--output_dir", tmp_path / "plan", "--optimizer", "adafactor"]]
    del words[words.index("--learning_rate") : words.index("--learning_rate") + 2]
    assert main(["plan", *words]) == 0
    warning = "learning_rate=5e-05 of preset optimized is for adamw, but adafactor learns little at it"
    assert f"{warning}; set --learning_rate 0.001" in capsys.readouterr().out
    assert main(["plan", *words, "--learning_rate", "1e-3"]) == 0
    assert "learns little" not in capsys.readouterr().out
