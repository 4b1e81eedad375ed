"""`kronos-ft forecast`: tables, pictures, the log of quantiles, batches with bad symbols, bad input in one line."""

import numpy as np
import pandas as pd
import pytest

from kronos_ft import KronosForecaster, forecast_series
from kronos_ft.cli.main import main
from kronos_ft.daily.quantile_log import read_log
from kronos_ft.data.sources import simulate_candles
from kronos_ft.forecasting.networks import load_network
from kronos_ft.models.found_model import find_model
from kronos_ft.models.identity import weights_hash
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


@pytest.fixture
def daily(finetuned, tmp_path, run):
    """A function that runs the command with the model of a finished run, one word for it, on `sim.csv`."""
    simulate_candles(120, seed=4).to_csv(tmp_path / "sim.csv", index=False)

    def forecast(*words, data=tmp_path / "sim.csv"):
        return run("forecast", "--data", data, "--model", finetuned.folder, "--num_paths", 5, *words)

    forecast.folder = tmp_path
    return forecast


def test_a_run_is_enough(daily, finetuned):
    code, lines, _ = daily("--output", daily.folder / "paths.csv")
    assert code == 0
    assert lines[0] == "settings          20 bars of context, 4 bars ahead, 5 paths, T 1, top_p 1, top_k 0"
    assert not any(line.startswith("WARNING") for line in lines)
    table = pd.read_csv(daily.folder / "paths.csv")
    forecast = KronosForecaster.from_pretrained(finetuned.folder).predict(daily.folder / "sim.csv", num_paths=5)
    np.testing.assert_allclose(table.close, forecast.to_frame().close)
    code, lines, _ = daily("--lookback", 30, "--horizon", 6)
    assert code == 0
    warnings = [line for line in lines if line.startswith("WARNING")]
    assert [line.startswith("WARNING     lookback=30 differs from the 20 bars") for line in warnings] == [True, False]
    assert warnings[1].startswith("WARNING     horizon=6 exceeds the 4 bars ahead that")


def test_every_bar_on_request(daily):
    rows = [
        [line for line in daily("--horizon", 20, *words)[1] if line.startswith("2020-")]
        for words in ([], ["--all_bars"])
    ]
    assert [len(one) for one in rows] == [6, 20]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_quantiles_and_their_log(daily, finetuned, suffix):
    log = daily.folder / f"log{suffix}"
    frame = pd.read_csv(daily.folder / "sim.csv")
    code, lines, _ = daily("--quantiles", log, "--append", "--origin", frame.timestamps[100])
    assert code == 0
    assert lines[-1] == f"quantiles         {log}"
    first = read_log(log)
    assert first.symbol.tolist() == ["sim"] * 4
    assert (first.origin == pd.Timestamp(frame.timestamps[99])).all()
    assert first.last_close[0] == pytest.approx(frame.close[99])
    assert set(first.model) == {weights_hash(Kronos.from_pretrained(finetuned.folder / "predictor" / "best_model"))}
    assert daily("--quantiles", log, "--append", "--origin", frame.timestamps[101])[0] == 0
    assert len(read_log(log)) == 8
    before = log.read_bytes()
    code, lines, _ = daily("--quantiles", log, "--append", "--origin", frame.timestamps[100], "--seed", 7)
    assert code == 0
    assert f"not added         sim: {log} has a forecast of this model from" in "\n".join(lines)
    assert log.read_bytes() == before
    code, _, errors = daily("--quantiles", log)
    assert code == 2
    assert f"quantiles={log} exists; pass --append to add to it, --overwrite or another file" in errors[0]
    assert daily("--quantiles", log, "--overwrite", "--output", daily.folder / "paths.csv")[0] == 0
    assert len(read_log(log)) == 4


def test_a_repeated_forecast_is_still_drawn(daily):
    """The log refuses it, but the files that were asked for are written."""
    log = daily.folder / "log.csv"
    assert daily("--quantiles", log, "--append")[0] == 0
    before = log.read_bytes()
    code, lines, _ = daily("--quantiles", log, "--append", "--output", daily.folder / "paths.csv")
    assert code == 0
    assert sum(line.startswith("not added") for line in lines) == 1
    assert (daily.folder / "paths.csv").is_file()
    assert log.read_bytes() == before


@pytest.mark.fault(17)
def test_bars_from_the_origin_on_change_no_logged_quantile(daily):
    frame = pd.read_csv(daily.folder / "sim.csv")
    origin = frame.timestamps[90]
    assert daily("--quantiles", daily.folder / "known.csv", "--origin", origin)[0] == 0
    frame.loc[90:, ["open", "high", "low", "close", "volume", "amount"]] *= 3
    frame[:97].to_csv(daily.folder / "sim.csv", index=False)
    assert daily("--quantiles", daily.folder / "changed.csv", "--origin", origin)[0] == 0
    known, changed = (read_log(daily.folder / name).drop(columns="created") for name in ("known.csv", "changed.csv"))
    pd.testing.assert_frame_equal(known, changed)


@pytest.fixture
def markets(daily):
    """A folder with two good files, one that is too short, one with constant prices and one with a defect."""
    folder = daily.folder / "markets"
    folder.mkdir()
    tables = {
        name: simulate_candles(80, seed=seed) for seed, name in enumerate(("one", "two", "short", "still", "bad"))
    }
    tables["short"] = tables["short"][:10]
    tables["still"].loc[40:, ["open", "high", "low", "close"]] = 7.0
    tables["bad"].loc[50, "close"] = -1
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    (folder / "text.csv").write_text("nothing, of, this\n")
    return folder


def test_symbols_that_cannot_be_forecast_are_left_out(daily, markets):
    log = daily.folder / "log.csv"
    code, lines, _ = daily("--quantiles", log, data=markets)
    assert code == 0
    assert read_log(log).symbol.unique().tolist() == ["one", "two"]
    left = "\n".join(line for line in lines if line.startswith("WARNING     left out: "))
    for message in (
        "short has 10 bars before the forecast, fewer than lookback=20",
        "still: all prices of the context are 7",
        "bad.csv: price zero or ne",
        "text.csv",
    ):
        assert message in left
    assert left.count("\n") == 3


@pytest.mark.parametrize(("share", "warns"), [(-1.0, True), (1.0, False)])
def test_few_of_many_symbols_are_shown(daily, monkeypatch, share, warns):
    monkeypatch.setattr("kronos_ft.daily.run.MANY_TOUCHED", share)
    tables = [simulate_candles(80, seed=seed).assign(symbol=f"s{seed:02}") for seed in range(21)]
    pd.concat(tables).to_csv(daily.folder / "many.csv", index=False)
    code, lines, _ = daily("--quantiles", daily.folder / "log.csv", data=daily.folder / "many.csv")
    assert code == 0
    assert read_log(daily.folder / "log.csv").symbol.nunique() == 21
    assert [line[:3] for line in lines if ", close " in line and line.endswith(" UTC")] == ["s00", "s01", "s02"]
    assert f"more symbols      18 more forecasts are in {daily.folder / 'log.csv'}" in lines
    warning = (
        "WARNING     21 of 21 forecasts, e.g. of s00, have a high share of invalid candles: the model does not fit"
    )
    assert any(line.startswith(warning) for line in lines) is warns
    code, lines, _ = daily(data=daily.folder / "many.csv")  # the lines are all there is
    assert sum(", close " in line and line.endswith(" UTC") for line in lines) == 21


def test_strict_refuses_all_of_them(daily, markets):
    for name in ("bad", "text", "short", "still"):
        code, _, errors = daily("--quantiles", daily.folder / "log.csv", "--strict", data=markets)
        assert code == 2
        assert len(errors) == 1
        (markets / f"{name}.csv").unlink()
    assert not (daily.folder / "log.csv").exists()
    assert daily("--quantiles", daily.folder / "log.csv", "--strict", data=markets)[0] == 0


def test_nothing_to_forecast_is_an_error(daily, markets):
    for name in ("one", "two"):
        (markets / f"{name}.csv").unlink()
    code, _, errors = daily(data=markets)
    assert code == 2
    assert "fewer than lookback=20" in errors[0]


def test_an_interrupted_batch_goes_on(daily, markets, monkeypatch):
    """Each part is written at once; the same command with --append forecasts only what the file lacks."""
    log, asked = daily.folder / "log.csv", []
    monkeypatch.setattr("kronos_ft.daily.run._part_size", lambda num_paths: 1)
    monkeypatch.setattr("kronos_ft.daily.run.WRITTEN_AT_ONCE", 1)
    whole = forecast_series

    def stops(predictor, series, *args, **options):
        asked.extend(one.symbol for one in series)
        if asked == ["one", "two"]:
            raise KeyboardInterrupt
        return whole(predictor, series, *args, **options)

    monkeypatch.setattr("kronos_ft.daily.run.forecast_series", stops)
    assert daily("--quantiles", log, "--append", data=markets)[0] == 130
    assert read_log(log).symbol.unique().tolist() == ["one"]
    assert daily("--quantiles", log, "--append", data=markets)[0] == 0
    assert asked == ["one", "two", "two"]
    assert read_log(log).symbol.unique().tolist() == ["one", "two"]


def test_a_candle_that_begins_later_asks_for_the_time_zone(daily, monkeypatch):
    last = np.datetime64(pd.read_csv(daily.folder / "sim.csv").timestamps.iloc[-1], "ns")
    for hours, is_warned in ((-7, True), (1, False)):
        monkeypatch.setattr("kronos_ft.daily.finished_bars.utc_now", lambda h=hours: last + np.timedelta64(h, "h"))
        code, lines, _ = daily("--quantiles", daily.folder / f"zone{hours}.csv", "--drop_unfinished")
        assert code == 0
        assert (
            any("begins after the current time (UTC)" in line and "--timezone" in line for line in lines) is is_warned
        )


def test_a_candle_that_has_not_ended(daily, monkeypatch):
    last = pd.read_csv(daily.folder / "sim.csv").timestamps.iloc[-1]
    monkeypatch.setattr(
        "kronos_ft.daily.finished_bars.utc_now", lambda: np.datetime64(last, "ns") + np.timedelta64(59, "m")
    )
    code, lines, _ = daily("--quantiles", daily.folder / "with.csv")
    assert code == 0
    assert any(line.startswith("WARNING     the last candle of sim looks unfinished") for line in lines)
    code, lines, _ = daily("--quantiles", daily.folder / "without.csv", "--drop_unfinished")
    assert code == 0
    assert "left out    the last candle of sim: its bar has not ended" in lines
    origins = [read_log(daily.folder / name).origin[0] for name in ("with.csv", "without.csv")]
    assert origins[0] - origins[1] == pd.Timedelta(hours=1)
    monkeypatch.setattr(
        "kronos_ft.daily.finished_bars.utc_now", lambda: np.datetime64(last, "ns") + np.timedelta64(60, "m")
    )
    code, lines, _ = daily("--drop_unfinished")
    assert not any("last candle" in line for line in lines)


def test_settings_that_exclude_each_other(daily):
    for words, message in (
        (["--append"], "append needs a file to add rows to; pass --quantiles FILE.csv"),
        (["--append", "--overwrite", "--quantiles", "log.csv"], "append and overwrite exclude each other"),
        (["--quantiles", "log.txt"], "quantiles=log.txt must end in .parquet or .csv"),
    ):
        code, _, errors = daily(*words)
        assert code == 2
        assert message in errors[0]


def test_a_file_that_is_no_log_is_not_changed(daily):
    log = daily.folder / "log.csv"
    log.write_text("a,b\n1,2\n")
    code, _, errors = daily("--quantiles", log, "--append")
    assert code == 2
    assert "log.csv has no column symbol, origin" in errors[0]
    assert log.read_text() == "a,b\n1,2\n"
