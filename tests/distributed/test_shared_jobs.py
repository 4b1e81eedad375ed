"""Two processes that share a forecast, an evaluation or a calibration write byte for byte what one process writes."""

import json
import os
import shutil
import signal

import pandas as pd
import pytest
import torch

from kronos_ft import Kronos, KronosConfig, KronosTokenizer, KronosTokenizerConfig
from kronos_ft.data.candles import fingerprint, load_candles, load_usable
from kronos_ft.data.sources import simulate_candles
from tests.forked import Forked, Ranks, program, run_ranks

pytestmark = pytest.mark.distributed
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "KRONOS_FT_TRACEBACK": ""}
SYMBOLS, PATHS = 120, 40  # three parts of 50 symbols


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    (folder / "many").mkdir()
    one = simulate_candles(600, seed=5)
    one.to_csv(folder / "btc.csv", index=False)
    for number in range(SYMBOLS):
        one[3 * number : 3 * number + 60].to_csv(folder / "many" / f"s{number:03d}.csv", index=False)
    torch.manual_seed(3)
    KronosTokenizer(KronosTokenizerConfig.from_size("tiny")).save_pretrained(folder / "tokenizer")
    Kronos(KronosConfig.from_size("tiny")).save_pretrained(folder / "predictor")
    return folder


def words_of(command, folder, *words):
    model = ("--model", folder / "predictor", "--tokenizer", folder / "tokenizer")
    return [command, *model, *words]


def run_one(folder, words):
    one = Forked(folder / "one.text", program, "kronos_ft", words, environment=ENVIRONMENT)
    assert one.end() == 0, one.text()[-3000:]
    return one.text()


def run_two(folder, words):
    run_ranks(folder, 2, program, "kronos_ft", words, environment=ENVIRONMENT)
    return [(folder / f"rank-{rank}.text").read_text() for rank in range(2)]


def forecast_words(folder, out):
    files = ("--output", out / "paths.parquet", "--quantiles", out / "quantiles.csv")
    sizes = ("--lookback", 20, "--horizon", 3, "--num_paths", PATHS)
    return words_of("forecast", folder, "--data", folder / "many", *files, *sizes)


def assert_same_forecasts(one, two):
    assert (one / "paths.parquet").read_bytes() == (two / "paths.parquet").read_bytes()
    logs = [pd.read_csv(out / "quantiles.csv").drop(columns="created") for out in (one, two)]
    pd.testing.assert_frame_equal(*logs, check_exact=True)
    assert sorted(path.name for path in two.glob("*.p*")) == ["paths.parquet"]  # no parts are left


@pytest.fixture(scope="module")
def forecast(folder):
    out = folder / "forecast"
    out.mkdir()
    return out, run_one(folder, forecast_words(folder, out))


def test_forecast(folder, forecast, tmp_path):
    one, alone = forecast
    main, other = run_two(tmp_path, forecast_words(folder, tmp_path))
    assert_same_forecasts(one, tmp_path)
    assert main.replace(str(tmp_path), str(one)) == alone
    assert other == ""


def test_several_processes_need_a_file(folder, tmp_path):
    words = words_of("forecast", folder, "--data", folder / "btc.csv", "--lookback", 20, "--horizon", 3)
    ranks = Ranks(tmp_path, 2, program, "kronos_ft", words, environment=ENVIRONMENT)
    assert ranks.end() == [2, 2]
    assert "several processes need a file to write; pass --output, --quantiles or --plot" in ranks.text()


def checks_tables(source, refused, checked):
    """Loads the candles together with the other processes, and notes which tables this process checked itself."""
    import kronos_ft.data.candles as candles
    from ft_core.runs.shared_work import shared_map

    whole, own = candles._series_of, []

    def series_of(table, policy, timezone):
        own.append(table.symbol)
        return whole(table, policy, timezone)

    candles._series_of = series_of
    left_out = None
    try:
        if refused:
            series, left_out = load_usable(source, each=shared_map)
        else:
            series = load_candles(source, each=shared_map)
        found = [fingerprint(series), [one.report.to_dict() for one in series]]
    except ValueError as error:
        found = [str(error), []]
    checked.with_suffix(f".{os.environ['RANK']}").write_text(json.dumps([own, left_out, found]))


@pytest.mark.parametrize("form", ["folder", "table"])
@pytest.mark.parametrize("refused", [False, True], ids=["all or none", "usable"])
def test_each_process_checks_its_share_of_the_tables(folder, tmp_path, form, refused):
    (tmp_path / "many").mkdir()
    tables = {path.stem: pd.read_csv(path) for path in sorted((folder / "many").glob("*.csv"))[:7]}
    tables["s003"].loc[5, "high"] = -1.0
    for table in tables.values():
        table["tickvol"] = 7.0
    tables["s000"]["volume"] = 0.0  # its ticks are used instead, those of the others not
    for symbol, table in tables.items():
        table.to_csv(tmp_path / "many" / f"{symbol}.csv", index=False)
    pd.concat(table.assign(symbol=symbol) for symbol, table in tables.items()).to_csv(tmp_path / "all.csv", index=False)
    source = str(tmp_path / ("many" if form == "folder" else "all.csv"))
    run_ranks(tmp_path, 2, checks_tables, source, refused, tmp_path / "checked", environment=ENVIRONMENT)
    (own, *first), (other, *second) = (json.loads((tmp_path / f"checked.{rank}").read_text()) for rank in range(2))
    assert first == second
    assert sorted(own + other) == sorted(tables)
    assert len(own) - len(other) == 1
    if refused:
        usable, left_out = load_usable(source)
        assert first == [left_out, [fingerprint(usable), [one.report.to_dict() for one in usable]]]
        assert len(usable) == 6
    else:
        with pytest.raises(ValueError, match="price zero or negative in 1 row") as error:
            load_candles(source)
        assert first == [None, [str(error.value), []]]


def dies_in_its_part(words):
    """`kronos-ft WORDS`, whose process 1 is killed when it begins its part; process 0 has the two others."""
    import kronos_ft.daily.run as run

    whole = run.forecast_series

    def forecast_series(predictor, series, *arguments, **options):
        if os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(predictor, series, *arguments, **options)

    run.forecast_series = forecast_series
    return program("kronos_ft", words)


def test_a_killed_process_ends_the_other_and_a_restart_continues(folder, forecast, tmp_path):
    words = forecast_words(folder, tmp_path)
    ranks = Ranks(tmp_path, 2, dies_in_its_part, words, environment=ENVIRONMENT)
    assert ranks.end() == [2, -signal.SIGKILL]
    text = ranks.ranks[0].text()
    assert "another process of this run has ended or does not respond" in text
    assert "run the same command again: it continues with the finished parts" in text
    assert "Traceback" not in text
    assert not (tmp_path / "paths.parquet").exists()
    assert len(list((tmp_path / "paths.parquet.parts").glob("forecast-*"))) == 2
    main, _ = run_two(tmp_path, words)
    assert "continued   2 finished parts" in main
    assert_same_forecasts(forecast[0], tmp_path)


def test_evaluate(folder, tmp_path):
    words = ("--data", folder / "btc.csv", "--lookback", 20, "--horizon", 3, "--num_paths", 5)
    words = words_of("evaluate", folder, *words, "--max_origins", 60, "--batch_size", 4)
    run_one(folder, [*words, "--output_dir", tmp_path / "one"])
    _, other = run_two(tmp_path, [*words, "--output_dir", tmp_path / "two"])
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == names
    for name in ("evaluation.json", "evaluation.md"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert len(json.loads((tmp_path / "two" / "evaluation.json").read_text())["forecasters"]) > 5
    assert other == ""


def test_calibrate(folder, tmp_path):
    shutil.copytree(folder / "predictor", tmp_path / "one")
    shutil.copytree(folder / "predictor", tmp_path / "two")
    simulate_candles(6000, seed=5).to_csv(tmp_path / "long.csv", index=False)
    words = ("--data", tmp_path / "long.csv", "--tokenizer", folder / "tokenizer", "--max_origins", 4, "--num_paths", 3)
    run_one(folder, ["calibrate", tmp_path / "one", *words])
    run_two(tmp_path, ["calibrate", tmp_path / "two", *words])
    stored = [(tmp_path / name / "forecaster.json").read_bytes() for name in ("one", "two")]
    assert stored[0] == stored[1]
    assert not list((tmp_path / "two").glob(".*"))
