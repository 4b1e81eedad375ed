"""Family 16: code of a repository is never run, and a configuration that asks for it is refused, not ignored."""

import json
import re

import pytest

from kronos_ft.cli.main import main as kronos
from kronos_ft.models.modeling_kronos import Kronos, KronosTokenizer
from mt5_ft.cli.main import main as mt5
from mt5_ft.models.loading import load_model, load_tokenizer
from tests.hub_fixtures import talk_to
from tests.loopback_hub import LoopbackHub
from tests.untrusted import refusal

pytestmark = pytest.mark.fault(16)

CODE = {
    "config.json": {"auto_map": {"AutoConfig": "evil.Config", "AutoModelForSeq2SeqLM": "evil.Model"}},
    "tokenizer_config.json": {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}},
    "processor_config.json": {"auto_map": {"AutoProcessor": "evil.Processor"}},
}
LOADERS = {"predictor": Kronos.from_pretrained, "tokenizer": KronosTokenizer.from_pretrained, "mt5": load_model}


def plant(folder, name, settings):
    """Adds settings to a JSON file of a folder, and a module that leaves a witness when it is imported."""
    path = folder / name
    values = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    path.write_text(json.dumps(values | settings))
    (folder / "evil.py").write_text(f"open({str(folder / 'executed')!r}, 'w')\n")
    return path


@pytest.mark.parametrize("name", CODE)
@pytest.mark.parametrize("kind", LOADERS)
def test_auto_map_in_a_folder(copied, name, kind):
    folder = copied(kind)
    plant(folder, name, CODE[name])
    with pytest.raises(
        ValueError, match=rf"{name} asks to run code of the repository \(auto_map\), which is never done"
    ):
        LOADERS[kind](str(folder))
    assert not (folder / "executed").exists()


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_auto_map_in_the_folder_of_a_tokenizer(copied, name):
    folder = copied("mt5")
    plant(folder, name, CODE[name])
    with pytest.raises(ValueError, match="asks to run code of the repository"):
        load_tokenizer(str(folder))
    assert not (folder / "executed").exists()


@pytest.mark.parametrize("settings", [{"trust_remote_code": True}, {"text": {"trust_remote_code": True}},
                                      {"parts": [{"auto_map": {"AutoModel": "evil.Model"}}]}])  # fmt: skip
def test_trust_and_nested_settings(copied, settings):
    folder = copied("mt5")
    plant(folder, "config.json", settings)
    with pytest.raises(ValueError, match="asks to run code of the repository"):
        load_model(str(folder))


@pytest.mark.parametrize("settings", [{"auto_map": None}, {"auto_map": {}}, {"trust_remote_code": False}])
def test_settings_that_ask_for_nothing(copied, settings):
    folder = copied("predictor")
    plant(folder, "config.json", settings)
    Kronos.from_pretrained(folder)


def test_unknown_architectures_do_not_ask_the_user(copied, monkeypatch):
    folder = copied("mt5")
    plant(folder, "config.json", {"model_type": "evil"})
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question was asked"))
    with pytest.raises(ValueError, match="cannot be loaded"):
        load_model(str(folder))


def test_trust_is_no_setting(made, capsys):
    with pytest.raises(ValueError, match="trust_remote_code=True is not supported"):
        Kronos.from_pretrained(made / "predictor", trust_remote_code=True)
    for main, command in ((kronos, "tokenizer"), (kronos, "predictor"), (kronos, "finetune"), (mt5, "train")):
        line = refusal(capsys, main, [command, "--data", "sample", "--trust_remote_code", "true"])
        assert "--trust_remote_code is not a setting" in line


def test_the_commands_refuse_in_one_line(copied, made, csv, capsys, tmp_path):
    predictor, t5 = copied("predictor"), copied("mt5")
    plant(predictor, "config.json", CODE["config.json"])
    plant(t5, "tokenizer_config.json", CODE["tokenizer_config.json"])
    run = tmp_path / "run"
    kronos_words = ["--data", csv, "--model", predictor, "--tokenizer", made / "tokenizer"]
    for main, words in (
        (kronos, ["forecast", *kronos_words, "--lookback", 60]),
        (kronos, ["predictor", *kronos_words, "--output_dir", run, "--lookback_window", 20]),
        (mt5, ["train", "--data", "sample", "--model", t5, "--output_dir", run]),
    ):  # fmt: skip
        assert "asks to run code of the repository (auto_map)" in refusal(capsys, main, words)
        assert not run.exists()


@pytest.mark.fault(15, 27)
def test_repositories_on_a_hub(made, tmp_path, monkeypatch):
    files = {path.name: path.read_bytes() for path in (made / "mt5").iterdir()}
    config = json.loads(files["config.json"])
    tokens = json.loads(files["tokenizer_config.json"])
    weights = {"model.safetensors": files["model.safetensors"]}
    rest = {name: content for name, content in files.items() if name not in ("model.safetensors", "config.json")}
    index = json.dumps({"metadata": {}, "weight_map": {"shared.weight": "../../evil.safetensors"}}).encode()
    code = json.dumps({**config, **CODE["config.json"]}).encode()
    repos = {
        "a/code": {**rest, **weights, "config.json": code, "evil.py": b"open('executed', 'w')"},
        "a/pickled": {**rest, "config.json": files["config.json"], "pytorch_model.bin": b"pickle"},
        "a/pickled@refs/pr/2": {"README.md": b""},
        "a/pickled@refs/pr/10": weights,
        "a/shards": {**rest, "config.json": files["config.json"], "model.safetensors.index.json": index},
        "a/nothing": {"config.json": files["config.json"]},
        "a/tokens": {
            **files,
            "tokenizer_config.json": json.dumps({**tokens, **CODE["tokenizer_config.json"]}).encode(),
        },
    }
    monkeypatch.chdir(tmp_path)
    of_code, of_shards = "asks to run code of the repository (auto_map)", "('../../evil.safetensors')"
    pickled = (
        "a/pickled contains only pickled weights (pytorch_model.bin), which are never loaded; use revision "
        "refs/pr/10, a pull request with safetensors, if you trust it (training and pull accept --revision); or "
        "download it and convert them"
    )
    with LoopbackHub(repos) as url:
        talk_to(url, monkeypatch, tmp_path)
        for load, name, expected in (
            *((load, "a/code", f"{of_code}, which is never done") for load in (*LOADERS.values(), load_tokenizer)),
            (load_model, "a/pickled", pickled),
            (load_model, "a/shards", f"refers to weights outside its folder {of_shards}"),
            (load_model, "a/nothing", "a/nothing has no model.safetensors; pass a repository with an mT5 model"),
            (load_tokenizer, "a/tokens", of_code),
        ):
            with pytest.raises(ValueError, match=re.escape(expected)):
                load(name)
    assert not list(tmp_path.rglob("executed"))
