"""Published weights that a predictor descends from: recorded by runs, pushed with the predictor, found again."""

import json

import pytest
import torch

from ft_core.hub.origin import HubOrigin
from kronos_ft.cli.main import main
from kronos_ft.data.sources import simulate_candles
from kronos_ft.models.configuration_kronos import KronosConfig, KronosTokenizerConfig
from kronos_ft.models.descent import MOST_ANCESTORS, ancestors, published_ancestor
from kronos_ft.models.modeling_kronos import Kronos, KronosTokenizer
from kronos_ft.models.pairing import PAIRING_FILE, trained_with
from kronos_ft.training.predictor_arguments import KronosArguments
from kronos_ft.training.predictor_trainer import KronosTrainer

SMALL = {
    "lookback_window": 20, "predict_window": 4, "max_steps": 2, "eval_strategy": "steps", "eval_steps": 2,
    "save_strategy": "steps", "save_steps": 2, "logging_steps": 1, "per_device_train_batch_size": 8,
}  # fmt: skip


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A tokenizer, a predictor of a run that started from published weights, and one of random weights."""
    root = tmp_path_factory.mktemp("descent")
    torch.manual_seed(0)
    KronosTokenizer(KronosTokenizerConfig.from_size("tiny")).save_pretrained(root / "tokenizer")
    for name, model in (("tuned", {"model": "mini", "from_scratch": False}), ("fresh", {"from_scratch": True})):
        Kronos(KronosConfig.from_size("tiny")).save_pretrained(root / name / "best_model")
        (root / name / "run.json").write_text(json.dumps({"model": model}))
    simulate_candles(600, seed=5).to_csv(root / "market.csv", index=False)
    return root


@pytest.mark.parametrize(("name", "published"), [("tuned", "NeoQuasar/Kronos-mini"), ("fresh", None)])
def test_a_run_records_what_it_descends_from(start, name, published, tmp_path, monkeypatch):
    monkeypatch.setenv("KRONOS_FT_CACHE", str(tmp_path / "cache"))
    words = [f"--data={start / 'market.csv'}", f"--model={start / name}", f"--tokenizer={start / 'tokenizer'}"]
    words += [f"--{key}={value}" for key, value in SMALL.items()]
    assert main(["predictor", *words, f"--output_dir={tmp_path / 'run'}"]) == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["descends_from"] == published
    best = tmp_path / "run" / "best_model"
    assert json.loads((best / PAIRING_FILE).read_text()).get("descends_from") == published
    # what is pushed and pulled has no run record, but this file
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / PAIRING_FILE).write_text((best / PAIRING_FILE).read_text())
    assert ("NeoQuasar/Kronos-mini" in ancestors(str(alone))) == (published is not None)
    assert trained_with(alone)["tokenizer_sha256"]


@pytest.mark.parametrize("repository", ["NeoQuasar/Kronos-mini", "someone/else"])
def test_a_trainer_of_weights_of_the_hub_records_it_too(tmp_path, repository):
    """As in the demonstration, which trains published weights with a trainer of its own."""
    model = Kronos(KronosConfig.from_size("tiny"))
    model.hub_origin = HubOrigin(repository, "a" * 40)
    trainer = KronosTrainer(model, KronosArguments(str(tmp_path), eval_strategy="no", save_strategy="no", use_cpu=True))
    assert trainer.recorder.facts["descends_from"] == (repository if "Kronos" in repository else None)


def test_the_record_of_such_a_run_is_found(tmp_path):
    (tmp_path / "best_model").mkdir()
    (tmp_path / "run.json").write_text(json.dumps({"descends_from": "NeoQuasar/Kronos-base"}))
    assert ancestors(str(tmp_path / "best_model"))[-1] == "NeoQuasar/Kronos-base"


def test_published_ancestors_of_facts():
    assert published_ancestor({"model": "small", "from_scratch": False}) == "NeoQuasar/Kronos-small"
    assert published_ancestor({"model": "x", "repository": "NeoQuasar/Kronos-base"}) == "NeoQuasar/Kronos-base"
    assert published_ancestor({"model": "small", "from_scratch": True}) is None
    assert published_ancestor({"model": "", "repository": None}) is None
    assert published_ancestor({}) is None


def test_a_long_chain_ends(tmp_path):
    for number in range(MOST_ANCESTORS + 5):
        folder = tmp_path / str(number) / "best_model"
        folder.mkdir(parents=True)
        following = str(tmp_path / str(number + 1) / "best_model")
        (folder.parent / "run.json").write_text(json.dumps({"model": {"model": following}}))
    assert len(ancestors(str(tmp_path / "0"))) == MOST_ANCESTORS
