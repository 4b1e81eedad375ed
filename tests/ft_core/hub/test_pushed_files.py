"""Which files are pushed, what stays here and why, and what the card says."""

import json
import pickle

import pytest
import torch
import yaml
from safetensors.torch import save_file

from ft_core.hub.card import CardFacts, model_card
from ft_core.hub.card_facts import read_run
from ft_core.hub.origin import is_hub_name
from ft_core.hub.pushed_files import check_base, choose_files, find_folder


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    save_file({"weight": torch.zeros(3)}, path / "model.safetensors")
    (path / "config.json").write_text('{"model_type": "any"}')
    return path


@pytest.mark.fault(15)
@pytest.mark.parametrize("name", ["training_args.bin", "optimizer.pt", "rng_state.pth", "x.pkl", "y.pickle", "z.ckpt"])
def test_pickled_files_stay_here(folder, name):
    (folder / name).write_bytes(pickle.dumps({}))
    chosen = choose_files(folder)
    assert name not in chosen.files
    assert chosen.lines() == [f"left out (pickled: could run code): {name}"]


def test_what_is_no_part_of_a_model_stays_here(folder):
    for name in (".env", "config.json.tmp", "notes.csv", "run.json", "trainer_state.json", "modeling.py",
        "evaluation.json", "my_config.json", "notes.txt", "report.md",
    ):  # fmt: skip
        (folder / name).write_text("{}")
    (folder / "logs").mkdir()
    (folder / "README.md").write_text("# Card\n\n[More Information Needed]\n")
    for name in ("tokenizer.json", "spiece.model", "LICENSE", "chat_template.jinja"):
        (folder / name).write_text("{}")
    chosen = choose_files(folder)
    assert sorted(chosen.files) == [
        "LICENSE", "chat_template.jinja", "config.json", "model.safetensors", "spiece.model", "tokenizer.json",
    ]  # fmt: skip
    assert chosen.lines() == [
        "left out (hidden or temporary): .env, config.json.tmp",
        "left out (empty card template): README.md",
        "left out (not part of a model): evaluation.json, modeling.py, my_config.json, notes.csv, notes.txt, report.md",
        "left out (a folder): logs",
        "left out (training record with local paths): run.json, trainer_state.json",
    ]


def test_paths_of_this_machine_are_left_out_of_configurations(folder, tmp_path):
    values = {"model_type": "any", "_name_or_path": str(tmp_path), "vocab_file": "./here", "name_or_path": "me/model"}
    config = folder / "config.json"
    config.write_text(json.dumps(values))
    assert json.loads(choose_files(folder).files["config.json"]) == {"model_type": "any", "name_or_path": "me/model"}
    assert json.loads(config.read_text()) == values


def test_weights_in_parts_that_are_not_all_there(folder):
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(
        ValueError, match=r"model-00002-of-00002.safetensors is missing, although model.safetensors.index"
    ):
        choose_files(folder)


def test_damaged_configuration(folder):
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json is not valid JSON.*; restore the file, then push"):
        choose_files(folder)


def test_card():
    facts = CardFacts(
        "Kronos predictor", "kronos-ft", "time-series-forecasting", ["kronos"], 'load("{repo}")',
        "NeoQuasar/Kronos-small", {"steps": "80"}, ["No advice."],
    )  # fmt: skip
    _, metadata, text = model_card(facts, "me/btc").split("---\n", 2)
    assert yaml.safe_load(metadata) == {
        "library_name": "kronos-ft", "pipeline_tag": "time-series-forecasting", "tags": ["kronos"],
        "base_model": "NeoQuasar/Kronos-small", "license": "mit", "base_model_relation": "finetune",
    }  # fmt: skip
    assert "# btc" in text
    assert 'load("me/btc")' in text
    assert "| steps | 80 |" in text
    assert "- No advice." in text


def test_a_card_claims_no_unknown_licence_or_base():
    card = model_card(CardFacts("A model", "kronos-ft", "summarization", [], "", "me/other"), "me/btc")
    assert "license" not in card
    assert "base_model" not in model_card(CardFacts("A model", "kronos-ft", "summarization", [], ""), "me/btc")


def test_folder_of_what_was_named(folder, tmp_path):
    assert find_folder(folder, "best_model") == (folder, None)
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(
        ValueError, match=r"is neither a model folder \(no config.json and no adapter_config.json\) nor"
    ):
        find_folder(run, "best_model")
    (run / "run.json").write_text("{}")
    with pytest.raises(ValueError, match=r"has no best_model/, so it did not finish; continue with --resume"):
        find_folder(run, "best_model")
    folder.rename(run / "best_model")
    for named in (run, run / "best_model"):
        assert find_folder(named, "best_model") == (run / "best_model", run)
    with pytest.raises(ValueError, match="is missing; pass a model folder or a run folder"):
        find_folder(tmp_path / "nowhere", "best_model")
    with pytest.raises(ValueError, match=r"run.json lacks the field status; restore it"):
        read_run(run)


def test_names_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_hub_name("google/mt5-small")
    for name in (None, "small", "/models/small", "./a/b", "runs/old/best_model", "../b"):
        assert not is_hub_name(name)
    (tmp_path / "google" / "mt5-small").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"contains adapters for the local model google/mt5-small, .*; merge"):
        check_base(tmp_path, "google/mt5-small", "merge")


def test_places_are_left_out_at_any_depth_and_pieces_of_a_vocabulary_are_not(folder, tmp_path):
    values = {
        "task_specific_params": {"summary": {"data_dir": str(tmp_path), "prefix": "so: "}},
        "files": [str(tmp_path / "a.jsonl"), "a name"],
        "additional_special_tokens": ["/", "<extra_id_0>"],
        "added_tokens_decoder": {"7": {"content": "/"}},
        "pad": None,
    }
    (folder / "config.json").write_text(json.dumps(values))
    assert json.loads(choose_files(folder).files["config.json"]) == values | {
        "task_specific_params": {"summary": {"prefix": "so: "}}, "files": ["a name"],
    }  # fmt: skip


def test_licences_go_and_notes_stay(folder):
    for name in ("LICENSE", "LICENSE-APACHE", "NOTICE.txt", "NOTICE-internal.md", "LICENSED_TO.csv"):
        (folder / name).write_text("words")
    chosen = choose_files(folder)
    assert {"LICENSE", "LICENSE-APACHE", "NOTICE.txt"} <= set(chosen.files)
    assert {"NOTICE-internal.md", "LICENSED_TO.csv"} <= set(chosen.left_out)
