"""Family 15: files that would run code when unpickled are refused, with the way to convert, and never read."""

import json
import shutil

import pytest

from ft_core.io.pickles import is_pickle
from kronos_ft.cli.main import main as kronos
from kronos_ft.data.candles import load_candles
from kronos_ft.models.modeling_kronos import Kronos, KronosTokenizer
from mt5_ft.cli.main import main as mt5
from mt5_ft.data.records import EMOTION_SUMMARY, read_records
from mt5_ft.models.loading import load_model, load_tokenizer
from tests.untrusted import refusal, write_payload

pytestmark = pytest.mark.fault(15)

WEIGHTS = ("pytorch_model.bin", "model.pt", "model.pth", "weights.ckpt", "model.pkl", "model.pickle")
CONVERT = "convert them if you trust their origin: python -c"


@pytest.fixture
def witness(tmp_path):
    path = tmp_path / "executed"
    yield path
    assert not path.exists(), "the payload was executed"


def test_the_payload_works(tmp_path):
    """Or nothing here would show anything."""
    import pickle

    witness = tmp_path / "executed"
    pickle.loads(write_payload(tmp_path / "x.pkl", witness).read_bytes())
    assert witness.exists()


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("kind", ["predictor", "tokenizer", "mt5"])
def test_weights(copied, witness, name, kind):
    folder = copied(kind)
    (folder / "model.safetensors").unlink()
    write_payload(folder / name, witness)
    load = {"predictor": Kronos.from_pretrained, "tokenizer": KronosTokenizer.from_pretrained, "mt5": load_model}[kind]
    with pytest.raises(ValueError, match="pickled weights") as error:
        load(str(folder))
    assert name in str(error.value)
    assert CONVERT in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["predictor", "tokenizer", "mt5"])
def test_weights_under_the_name_of_safetensors(copied, witness, kind):
    folder = copied(kind)
    write_payload(folder / "model.safetensors", witness)
    load = {"predictor": Kronos.from_pretrained, "tokenizer": KronosTokenizer.from_pretrained, "mt5": load_model}[kind]
    with pytest.raises(ValueError, match="damaged"):
        load(str(folder))


@pytest.mark.parametrize("kind", ["predictor", "mt5"])
def test_pickles_beside_safetensors_are_not_read(copied, witness, kind):
    folder = copied(kind)
    for name in (*WEIGHTS, "optimizer.pt", "training_args.bin", "tokenizer.pkl"):
        write_payload(folder / name, witness)
    (Kronos.from_pretrained if kind == "predictor" else load_model)(str(folder))
    if kind == "mt5":
        load_tokenizer(str(folder))


@pytest.mark.parametrize("kind", ["predictor", "mt5"])
def test_adapters(copied, witness, made, kind):
    folder = copied(kind)
    (folder / "model.safetensors").unlink()
    settings = {"peft_type": "LORA", "base_model_name_or_path": str(made / kind), "r": 2, "target_modules": ["q"]}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    (folder / "base_model.json").write_text(json.dumps({"name": str(made / kind), "sha256": ""}))
    write_payload(folder / "adapter_model.bin", witness)
    with pytest.raises(ValueError, match=r"pickled .* \(adapter_model.bin\), which are never loaded") as error:
        (Kronos.from_pretrained if kind == "predictor" else load_model)(str(folder))
    assert "'adapter_model.safetensors')" in str(error.value)
    shutil.copy(made / kind / "model.safetensors", folder / "decoy.safetensors")
    with pytest.raises(ValueError, match=r"adapter_model\.(bin|safetensors)"):
        (Kronos.from_pretrained if kind == "predictor" else load_model)(str(folder))


@pytest.mark.parametrize("shard", ["pytorch_model-00001-of-00001.bin", "model.pkl"])
def test_shards_of_an_index(copied, witness, shard):
    folder = copied("mt5")
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    index = {"metadata": {}, "weight_map": {"shared.weight": shard, "lm_head.weight": "model-1.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    write_payload(folder / shard, witness)
    with pytest.raises(ValueError, match="refers to pickled weights") as error:
        load_model(str(folder))
    assert CONVERT in str(error.value)


def test_weights_named_by_a_configuration(copied, witness):
    folder = copied("mt5")
    write_payload(folder / "adapter_model.bin", witness)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "transformers_weights": "adapter_model.bin"}))
    with pytest.raises(ValueError, match=r"refers to pickled weights \(adapter_model.bin\)"):
        load_model(str(folder))


@pytest.mark.parametrize("name", ["tokenizer.pkl", "vocab.pt", "tokenizer.bin", "tokenizer.pickle"])
def test_tokenizers(copied, witness, name):
    folder = copied("mt5")
    (folder / "tokenizer.json").unlink()
    write_payload(folder / name, witness)
    remedy = "if you trust its origin, load it elsewhere and write tokenizer.json"
    with pytest.raises(ValueError, match=f"pickled tokenizer.*{remedy}"):
        load_tokenizer(str(folder))


@pytest.mark.parametrize("name", ["btc.pkl", "btc.pickle", "btc.bin", "btc.pkl.gz", "btc.joblib"])
def test_candles(tmp_path, witness, capsys, name):
    path = write_payload(tmp_path / name, witness)
    line = refusal(capsys, kronos, ["data", "check", path])
    assert f"{name} has the suffix of a pickle, which is never read" in line
    assert f"pandas.read_pickle('{name}').to_parquet('btc.parquet')" in line


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".txt", ".csv.gz"])
def test_candles_under_another_name(tmp_path, witness, suffix):
    path = write_payload(tmp_path / f"btc{suffix}", witness)
    with pytest.raises(ValueError, match="btc"):
        load_candles(path)


@pytest.mark.parametrize("name", ["cases.pkl", "cases.bin", "cases.jsonl"])
def test_records(tmp_path, witness, name):
    path = write_payload(tmp_path / name, witness)
    with pytest.raises(ValueError, match=name) as error:
        read_records(path, EMOTION_SUMMARY)
    assert name == "cases.jsonl" or "to_json('cases.jsonl', orient='records', lines=True)" in str(error.value)


@pytest.mark.parametrize(
    ("main", "words"),
    [
        (kronos, ["forecast", "--data", "sample", "--tokenizer", "T", "--model", "F"]),
        (kronos, ["predictor", "--data", "sample", "--tokenizer", "F", "--model", "tiny", "--from_scratch"]),
        (kronos, ["tokenizer", "--data", "sample", "--model", "F"]),
        (mt5, ["train", "--data", "sample", "--model", "F"]),
        (mt5, ["summarize", "--input", "R", "--output", "O", "--model", "F"]),
    ],
)
def test_a_file_instead_of_a_folder(made, tmp_path, witness, capsys, monkeypatch, main, words):
    monkeypatch.chdir(tmp_path)
    places = {
        "F": write_payload(tmp_path / "model.pt", witness), "T": made / "tokenizer", "R": made / "records.jsonl",
        "O": tmp_path / "o.jsonl",
    }  # fmt: skip
    line = refusal(capsys, main, [places.get(word, word) for word in words])
    assert "model.pt has the suffix of a pickle, which is never loaded" in line
    assert CONVERT in line
    assert not (tmp_path / "o.jsonl").exists()
    assert not (tmp_path / "runs").exists()


def test_names_of_pickles():
    assert all(map(is_pickle, ("a.bin", "a.PT", "a.pkl.gz", "a.b.ckpt")))
    assert not any(map(is_pickle, ("a.safetensors", "a.csv.gz", "a", "pt", "bin.json")))
