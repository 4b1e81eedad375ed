"""What `kronos-ft ui` was pointed at: every kind of folder, and each mistake in one line."""

import json
import shutil

import pytest

from kronos_ft.models.pairing import PAIRING_FILE
from kronos_ft.ui.shown_model import find_shown


def test_a_run_of_both_stages(run):
    shown = find_shown(str(run.folder))
    assert shown.model == str(run.folder / "predictor" / "best_model")
    assert shown.tokenizer == str(run.folder / "tokenizer")
    assert shown.run == run.folder
    assert shown.steps() == 2
    assert shown.data_settings()["data"] == run.data
    assert find_shown(str(run.folder), "elsewhere").tokenizer == "elsewhere"


def test_a_predictor_run_names_its_tokenizer(run):
    shown = find_shown(str(run.folder / "predictor"))
    assert shown.tokenizer == str(run.folder / "tokenizer" / "best_model")
    assert shown.run == run.folder / "predictor"


def test_a_model_folder(run, tmp_path):
    inside = find_shown(str(run.folder / "predictor" / "best_model"))
    assert (inside.run, inside.steps()) == (None, 2)
    shutil.copytree(run.folder / "predictor" / "best_model", tmp_path / "model")
    (tmp_path / "model" / PAIRING_FILE).unlink(missing_ok=True)
    alone = find_shown(str(tmp_path / "model"), "base")
    assert (alone.model, alone.tokenizer, alone.data_settings()) == (str(tmp_path / "model"), "base", {})
    with pytest.raises(ValueError, match="has no record of its tokenizer; pass --tokenizer DIR"):
        find_shown(str(tmp_path / "model"))


def test_published_models_and_their_tokenizers():
    assert find_shown("mini").tokenizer == "2k"
    assert find_shown("NeoQuasar/Kronos-small").tokenizer == "base"
    assert find_shown("somebody/else", "base").tokenizer == "base"
    with pytest.raises(ValueError, match="a model from the Hub needs its tokenizer; pass --tokenizer DIR"):
        find_shown("somebody/else")


def test_a_tokenizer_that_is_gone(run, tmp_path):
    shutil.copytree(run.folder / "predictor" / "best_model", tmp_path / "model")
    pairing = {"tokenizer": str(tmp_path / "gone"), "tokenizer_sha256": "0" * 64}
    (tmp_path / "model" / PAIRING_FILE).write_text(json.dumps(pairing))
    with pytest.raises(ValueError, match=r"gone of .* does not exist; pass --tokenizer DIR"):
        find_shown(str(tmp_path / "model"))


def test_what_is_no_model(run, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    (tmp_path / "unfinished").mkdir()
    shutil.copytree(run.folder / "tokenizer", tmp_path / "unfinished" / "tokenizer")
    for name, message in {
        str(tmp_path / "nowhere"): "does not exist; pass a run folder, a model folder, or mini, small, base",
        run.data: "is a file; pass a run folder or a model folder",
        str(tmp_path / "empty"): "is not a model folder or a run folder",
        str(tmp_path / "broken"): "config.json is not valid JSON",
        str(tmp_path / "unfinished"): "has no finished predictor",
        str(run.folder / "tokenizer"): "contains a tokenizer, not a predictor; pass a predictor's run",
    }.items():
        with pytest.raises(ValueError, match=message):
            find_shown(name)
