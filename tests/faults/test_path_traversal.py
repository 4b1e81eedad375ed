"""Family 27: names that lead out of a folder, as symbol, repository, revision, shard or backup."""

import json
import shutil

import pandas as pd
import pytest

from kronos_ft.cli.main import main as kronos
from kronos_ft.daily.run import _plot_names
from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.models.modeling_kronos import Kronos
from kronos_ft.models.pretrained import HubUnreachable
from mt5_ft.cli.main import main as mt5
from mt5_ft.data.subset import drop_subset, restore
from mt5_ft.models.loading import load_model, load_tokenizer
from tests.untrusted import files_of, refusal

pytestmark = pytest.mark.fault(27)

OUTSIDE = ["../evil", "..", "a/../../evil", "..\\evil", "/etc/evil", "\\\\host\\evil", "~/evil", "C:\\evil", "./evil"]
UNREADABLE = ["a\nb", "a\x00b", "a\x1b[31m", "a\tb", "a\rb", "a\u202eb", "a\u2028b", "x" * 200]


@pytest.mark.parametrize("symbol", [*OUTSIDE, *UNREADABLE])
def test_symbols_of_a_column(tmp_path, symbol):
    frames = [simulate_candles(40, seed=seed).assign(symbol=name) for seed, name in enumerate(("BTC", symbol))]
    path = tmp_path / "markets.parquet"
    pd.concat(frames).to_parquet(path)
    with pytest.raises(ValueError, match=r"markets.parquet: symbol .*; rename it") as error:
        load_candles(path)
    assert str(error.value).isprintable()
    with pytest.raises(ValueError, match="; rename it"):
        load_candles({symbol: frames[0].drop(columns="symbol")})


@pytest.mark.parametrize(
    "symbol", ["BTC/USDT", "BTC/USDT:USDT", "^GSPC", "BRK.B", "..A", "贵州茅台", "=BTC", "EUR-USD", "a b"]
)
def test_symbols_that_markets_have(symbol):
    assert load_candles({symbol: simulate_candles(40)})[0].symbol == symbol


def test_forecasts_of_strange_symbols_stay_in_their_folder(made, tmp_path):
    names = ["BTC/USDT", "BTC_USDT", "..A", "=1+1|x", "贵州", "茅台", "$x^{$"]
    frames = [simulate_candles(90, seed=seed).assign(symbol=name) for seed, name in enumerate(names)]
    pd.concat(frames).to_csv(tmp_path / "markets.csv", index=False)
    folder = tmp_path / "out" / "deep"
    folder.mkdir(parents=True)
    before = files_of(tmp_path)
    words = ["forecast", "--data", tmp_path / "markets.csv", "--model", made / "predictor",
             "--tokenizer", made / "tokenizer", "--lookback", 30, "--horizon", 3, "--num_paths", 2,
             "--output", folder / "paths.csv", "--plot",
             folder / "p.png"]  # fmt: skip
    assert kronos([str(word) for word in words]) == 0
    new = files_of(tmp_path).keys() - before.keys()
    assert {path.parent for path in new} == {folder}
    assert len([path for path in new if path.suffix == ".png"]) == len(names)


def test_names_of_pictures_differ(tmp_path):
    names = _plot_names(tmp_path / "p.png", ["a/b", "a_b", "a b", "../../x"])
    assert len(set(names)) == 4
    assert {name.parent for name in names} == {tmp_path}


@pytest.mark.parametrize(
    "name", ["../evil", "owner/..", "a/../b", "owner/../../evil", "/etc/evil", "owner/na..me", "a/b/c"]
)
def test_repositories(name):
    for load in (Kronos.from_pretrained, load_model, load_tokenizer):
        with pytest.raises(
            ValueError, match=r"does not exist; correct the path|is not an existing folder or a Hub name"
        ):
            load(name)


@pytest.mark.parametrize("option", ["revision", "subfolder"])
@pytest.mark.parametrize("value", ["../../evil", "a/../../b", "/etc", "~/x"])
def test_revisions_and_subfolders(made, option, value):
    for name in ("owner/name", made / "predictor"):
        with pytest.raises(ValueError, match=f"{option}=.* is outside the folder of the model"):
            Kronos.from_pretrained(name, **{option: value})
    with pytest.raises((HubUnreachable, ValueError), match="cannot reach the Hub"):
        Kronos.from_pretrained("owner/name", revision="feature/x")


@pytest.mark.parametrize("shard", ["../outside.safetensors", "/tmp/outside.safetensors", "a/b.safetensors", "..", ""])
def test_shards(copied, tmp_path, shard):
    folder = copied("mt5")
    shutil.move(folder / "model.safetensors", tmp_path / "outside.safetensors")
    weights = {"weight_map": {"shared.weight": shard}, "metadata": {}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(weights))
    with pytest.raises(ValueError, match="refers to weights outside its folder"):
        load_model(str(folder))


@pytest.mark.parametrize("content", ["[]", "{}", '{"weight_map": 3}', "{", "[" * 100_000])
def test_indices_that_are_none(copied, content):
    folder = copied("mt5")
    (folder / "model.safetensors.index.json").write_text(content)
    wrong = r"index.json( is not valid JSON| is nested more than 64 levels deep| has no weight_map)"
    with pytest.raises(ValueError, match=wrong):
        load_model(str(folder))


def test_weights_of_a_configuration(copied, tmp_path):
    folder = copied("mt5")
    shutil.copy(folder / "model.safetensors", tmp_path / "outside.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "transformers_weights": "../outside.safetensors"}))
    with pytest.raises(ValueError, match="refers to weights outside its folder"):
        load_model(str(folder))


@pytest.mark.parametrize("kind", ["predictor", "mt5"])
def test_adapters_that_name_themselves(copied, kind):
    folder = copied(kind)
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "base_model_name_or_path": str(folder)}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    (folder / "base_model.json").write_text(json.dumps({"name": str(folder), "sha256": ""}))
    with pytest.raises(ValueError, match="names this adapter folder as its base model"):
        (Kronos.from_pretrained if kind == "predictor" else load_model)(str(folder))


def test_backups_that_are_links(made, tmp_path):
    path, secret = tmp_path / "records.jsonl", tmp_path / "secret"
    shutil.copy(made / "records.jsonl", path)
    secret.write_text("{}\n")
    backup = tmp_path / "records.jsonl.backup"
    backup.symlink_to(secret)
    before = files_of(tmp_path)
    with pytest.raises(ValueError, match=r"backup .* exists; restore or remove it"):
        drop_subset(path, 0.2)
    with pytest.raises(ValueError, match=r"backup .* is a link, which subset never creates"):
        restore(path)
    backup.unlink()
    backup.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"backup .* exists; restore or remove it"):
        drop_subset(path, 0.2)
    assert files_of(tmp_path).items() >= {p: c for p, c in before.items() if p != backup}.items()
    assert not (tmp_path / "nowhere").exists()


def test_the_mark_of_a_cut_that_is_a_link_is_replaced_not_followed(made, tmp_path):
    path, secret = tmp_path / "records.jsonl", tmp_path / "secret"
    shutil.copy(made / "records.jsonl", path)
    secret.write_text("kept")
    (tmp_path / "records.jsonl.backup.cut").symlink_to(secret)
    drop_subset(path, 0.2)
    assert secret.read_text() == "kept"
    restore(path)
    assert path.read_bytes() == (made / "records.jsonl").read_bytes()


def test_the_commands_refuse_in_one_line(csv, capsys, tmp_path):
    run = tmp_path / "run"
    assert "is not an existing folder or a Hub name" in refusal(
        capsys,
        kronos,
        ["tokenizer", "--data", csv, "--model", "owner/..", "--output_dir", run, "--lookback_window", 20],
    )
    words = ["tokenizer", "--data", csv, "--model", "a/b", "--revision", "../x", "--lookback_window", 20]
    assert "is outside the folder" in refusal(capsys, kronos, [*words, "--output_dir", run])
    assert "is not an existing folder or a Hub name" in refusal(
        capsys, mt5, ["train", "--data", "sample", "--model", "a/..", "--output_dir", run]
    )
    assert "is not a file and could not be loaded as a data set" in refusal(
        capsys, kronos, ["data", "check", "owner/.."]
    )
    assert not run.exists()
