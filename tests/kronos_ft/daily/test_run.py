"""`kronos-ft forecast`: the table, the picture, the origin in the past, bad input in one line."""

import numpy as np
import pandas as pd
import pytest

from kronos_ft.cli.main import main
from kronos_ft.data.sources import simulate_candles
from kronos_ft.forecasting.networks import load_network
from kronos_ft.models.found_model import find_model
from kronos_ft.models.modeling_kronos import Kronos


@pytest.fixture(scope="module")
def folders(networks, tmp_path_factory):
    root = tmp_path_factory.mktemp("networks")
    for name, network in zip(("model", "tokenizer"), networks, strict=True):
        network.save_pretrained(root / name)
    return root


@pytest.fixture
def forecast(folders, tmp_path, capsys):
    """A function that runs the command and returns its exit code, output and errors."""
    simulate_candles(300, seed=4).to_csv(tmp_path / "sim.csv", index=False)

    def run(*words, data=tmp_path / "sim.csv", output="paths.parquet"):
        code = main(
            [
                *("forecast", "--data", str(data), "--model", str(folders / "model")),
                *("--tokenizer", str(folders / "tokenizer"), "--lookback", "60", "--horizon", "8"),
                *("--num_paths", "7", "--output", str(tmp_path / output), *map(str, words)),
            ]
        )
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    run.folder = tmp_path
    return run


@pytest.mark.fault(21)
def test_table_of_paths_and_picture(forecast):
    code, out, _ = forecast("--plot", forecast.folder / "picture.png")
    assert code == 0
    assert "close at (UTC)" in out
    assert "invalid candles" in out
    table = pd.read_parquet(forecast.folder / "paths.parquet")
    assert list(table.columns[:3]) == ["symbol", "path", "timestamps"]
    assert len(table) == 7 * 8
    last = pd.read_csv(forecast.folder / "sim.csv", parse_dates=["timestamps"]).timestamps.iloc[-1]
    times = table[table.path == 0].timestamps
    assert times.tolist() == [last + pd.Timedelta(hours=hour) for hour in range(1, 9)]
    assert (table.low <= table[["open", "close"]].min(axis=1)).all()
    assert (forecast.folder / "picture.png").read_bytes()[:4] == b"\x89PNG"


def test_the_same_seed_gives_the_same_bytes(forecast):
    for name in ("a.csv", "b.csv"):
        assert forecast("--seed", 5, output=name)[0] == 0
    assert (forecast.folder / "a.csv").read_bytes() == (forecast.folder / "b.csv").read_bytes()
    forecast("--seed", 6, output="c.csv")
    assert (forecast.folder / "a.csv").read_bytes() != (forecast.folder / "c.csv").read_bytes()


@pytest.mark.fault(17)
def test_bars_from_the_origin_on_are_hidden(forecast):
    frame = pd.read_csv(forecast.folder / "sim.csv")
    origin = frame.timestamps[200]
    assert forecast("--origin", origin, output="whole.csv")[0] == 0
    frame.loc[200:, ["open", "high", "low", "close", "volume", "amount"]] *= 2
    (forecast.folder / "changed").mkdir()
    frame.to_csv(forecast.folder / "changed" / "sim.csv", index=False)
    data = forecast.folder / "changed" / "sim.csv"  # the name is the symbol, which the draws depend on
    assert forecast("--origin", origin, data=data, output="changed_paths.csv")[0] == 0
    whole, changed = (pd.read_csv(forecast.folder / name) for name in ("whole.csv", "changed_paths.csv"))
    values = ["timestamps", "open", "high", "low", "close", "volume", "amount"]
    pd.testing.assert_frame_equal(whole[values], changed[values])
    assert whole.timestamps[0] == origin


def test_several_symbols_get_a_picture_each(forecast):
    folder = forecast.folder / "markets"
    folder.mkdir()
    for seed, name in enumerate(("one", "two")):
        simulate_candles(100 + 20 * seed, seed=seed).to_csv(folder / f"{name}.csv", index=False)
    code, _, _ = forecast("--plot", forecast.folder / "p.png", data=folder)
    assert code == 0
    table = pd.read_parquet(forecast.folder / "paths.parquet")
    assert sorted(table.symbol.unique()) == ["one", "two"]
    assert (forecast.folder / "p-one.png").is_file()
    assert (forecast.folder / "p-two.png").is_file()


def test_paths_do_not_depend_on_the_other_symbols(forecast):
    folder = forecast.folder / "markets"
    folder.mkdir()
    for seed, name in enumerate(("one", "two")):
        simulate_candles(100, seed=seed).to_csv(folder / f"{name}.csv", index=False)
    assert forecast(data=folder, output="both.csv")[0] == 0
    assert forecast(data=folder / "two.csv", output="alone.csv")[0] == 0
    both, alone = (pd.read_csv(forecast.folder / name) for name in ("both.csv", "alone.csv"))
    together = both[both.symbol == "two"].reset_index(drop=True)
    np.testing.assert_allclose(together.close, alone.close, rtol=1e-6)


def test_raw_paths_are_kept_on_request(forecast):
    forecast("--raw", "--num_paths", 60, output="raw.csv")
    forecast("--num_paths", 60, output="possible.csv")
    raw, possible = (pd.read_csv(forecast.folder / name) for name in ("raw.csv", "possible.csv"))
    assert np.array_equal(raw.close, possible.close)
    assert (raw.high < raw[["open", "close"]].max(axis=1)).any()
    assert not (possible.high < possible[["open", "close"]].max(axis=1)).any()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--horizon", "0"], "horizon=0 is too small; use 1 or more"),
        (["--horizon", "-4"], "horizon=-4 is too small"),
        (["--lookback", "400"], "sim has 300 bars before the forecast, fewer than lookback=400"),
        (["--lookback", "1"], "lookback=1 is too small; use 2 or more"),
        (["--num_paths", "2000000000"], "GiB are available; "),
        (["--origin", "soon"], "origin='soon' is not a time"),
        (["--origin", "nat"], "origin='nat' is not a time"),
        (["--max_context", "0"], "max_context=0 is below 2"),
        (["--device", "foo"], "device='foo' cannot be used"),
        (["--output", "paths.xlsx"], "must end in .parquet or .csv"),
        (["--plot", "paths.jpg"], "must end in .png"),
        (["--overflow", "sometimes"], "overflow='sometimes' is not known"),
        (["--top_p", "2"], "top_p=2.0 is outside"),
        (["--model", "./nowhere"], "nowhere does not exist; pass a run folder, a model folder"),
        (["--horizont", "3"], "--horizont is not a setting"),
    ],
)
def test_bad_input_is_one_line(forecast, words, message):
    code, _, errors = forecast(*words)
    assert code == 2
    assert message in errors.splitlines()[-1]
    assert "Traceback" not in errors
    assert not list(forecast.folder.glob("paths*"))


def test_an_existing_table_is_not_replaced(forecast):
    assert forecast()[0] == 0
    code, _, errors = forecast()
    assert code == 2
    assert "exists; pass --overwrite or another output" in errors
    assert forecast("--overwrite")[0] == 0


def test_a_tokenizer_of_other_bits(forecast, tmp_path):
    from kronos_ft.models.configuration_kronos import KronosTokenizerConfig
    from kronos_ft.models.modeling_kronos import KronosTokenizer

    config = KronosTokenizerConfig(**{**vars(KronosTokenizerConfig.from_size("tiny")), "s1_bits": 6, "s2_bits": 4})
    KronosTokenizer(config).save_pretrained(tmp_path / "other")
    code, _, errors = forecast("--tokenizer", tmp_path / "other")
    assert code == 2
    assert "the model has s1_bits=5, but the tokenizer has s1_bits=6" in errors


def test_a_folder_takes_precedence_over_a_size_of_its_name(tiny_predictor, tmp_path, monkeypatch):
    """As in training: the same name must mean the same model in both."""
    monkeypatch.chdir(tmp_path)
    tiny_predictor.save_pretrained(tmp_path / "mini")
    assert load_network(Kronos, "mini").config.d_model == tiny_predictor.config.d_model
    assert find_model("mini", "2k").max_context() == 512
