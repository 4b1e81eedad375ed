"""The command line, a small finished run of both stages, and both models on a Hub of this machine."""

from types import SimpleNamespace

import pytest
import torch

from kronos_ft.cli.main import main
from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.models.configuration_kronos import KronosConfig, KronosTokenizerConfig
from kronos_ft.models.modeling_kronos import Kronos, KronosTokenizer

SMALL = {
    "model": "tiny", "tokenizer": "tiny", "lookback_window": 20, "predict_window": 4, "max_steps": 2,
    "eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2, "logging_steps": 1,
    "per_device_train_batch_size": 8, "learning_rate": "1e-3",
}  # fmt: skip


@pytest.fixture(scope="session")
def networks():
    """A tiny predictor and its tokenizer, of random weights."""
    torch.manual_seed(0)
    tokenizer = KronosTokenizer(KronosTokenizerConfig.from_size("tiny")).eval()
    with torch.no_grad():
        tokenizer.head.weight.mul_(5)  # or random weights decode every token to about the mean
    return Kronos(KronosConfig.from_size("tiny")).eval(), tokenizer


@pytest.fixture(scope="session")
def finetuned(tmp_path_factory):
    """The folder of a run of both stages, its candles as a file and as a series."""
    root = tmp_path_factory.mktemp("finetuned")
    simulate_candles(600, seed=5).to_csv(root / "market.csv", index=False)
    folder, data = root / "run", str(root / "market.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KRONOS_FT_CACHE", str(root / "cache"))
        settings = [f"--{name}={value}" for name, value in SMALL.items()]
        assert main(["finetune", f"--data={data}", "--from_scratch", f"--output_dir={folder}", *settings]) == 0
    return SimpleNamespace(folder=folder, data=data, series=load_candles(data)[0])


@pytest.fixture
def run(capfd):
    """A function that runs `kronos-ft`; exit code, lines of output, lines of errors."""

    def run(*words):
        capfd.readouterr()
        code = main([*map(str, words)])
        captured = capfd.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

    return run


@pytest.fixture
def pushed(hub, run, tiny_model, tiny_predictor, tmp_path):
    """Both models on the Hub, and their folders here."""
    for name, model in (("tokenizer", tiny_model), ("predictor", tiny_predictor)):
        model.save_pretrained(tmp_path / name)
        assert run("push", tmp_path / name, f"me/{name}")[0] == 0
    return tmp_path
