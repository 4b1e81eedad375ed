"""`kronos-ft forecast --engine ray` on two nodes writes what one process writes, also when a node is lost."""

import os
import threading
import time

import pandas as pd
import pytest
import torch

from kronos_ft import Kronos, KronosConfig, KronosTokenizer, KronosTokenizerConfig
from kronos_ft.cli.main import main
from kronos_ft.data.sources import simulate_candles

pytestmark = pytest.mark.ray
SYMBOLS, PATHS = 200, 40  # four parts of 50 symbols


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ray")
    (folder / "many").mkdir()
    one = simulate_candles(800, seed=5)
    for number in range(SYMBOLS):
        one[3 * number : 3 * number + 60].to_csv(folder / "many" / f"s{number:03d}.csv", index=False)
    torch.manual_seed(3)
    KronosTokenizer(KronosTokenizerConfig.from_size("tiny")).save_pretrained(folder / "tokenizer")
    Kronos(KronosConfig.from_size("tiny")).save_pretrained(folder / "predictor")
    return folder


def forecast(folder, out, *more):
    words = ["forecast", "--model", folder / "predictor", "--tokenizer", folder / "tokenizer"]
    words += ["--data", folder / "many", "--lookback", 20, "--horizon", 3, "--num_paths", PATHS, *more]
    words += ["--output", out / "paths.parquet", "--quantiles", out / "quantiles.csv"]
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def alone(folder):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert forecast(folder, folder) == 0
    torch.set_num_threads(threads)
    return folder


def assert_same(one, two):
    assert (one / "paths.parquet").read_bytes() == (two / "paths.parquet").read_bytes()
    logs = [pd.read_csv(out / "quantiles.csv").drop(columns="created") for out in (one, two)]
    pd.testing.assert_frame_equal(*logs, check_exact=True)
    assert [path.name for path in two.glob("*.p*")] == ["paths.parquet"]  # no parts are left


def test_two_nodes_write_what_one_process_writes(cluster, folder, alone, tmp_path):
    assert forecast(folder, tmp_path, "--engine", "ray") == 0
    assert_same(alone, tmp_path)


def test_a_lost_node_is_replaced_by_the_other(cluster, folder, alone, tmp_path):
    parts = tmp_path / "paths.parquet.parts"
    seen = []

    def lose_a_node():
        end = time.monotonic() + 300
        while not list(parts.glob("forecast-*")) and time.monotonic() < end:
            time.sleep(0.01)
        cluster.remove_node(cluster.second)
        seen.append(len(list(parts.glob("forecast-*"))))

    loser = threading.Thread(target=lose_a_node, daemon=True)
    loser.start()
    assert forecast(folder, tmp_path, "--engine", "ray") == 0
    loser.join(60)
    assert seen
    assert seen[0] < 4  # it was lost before the end
    assert_same(alone, tmp_path)


def test_an_error_of_a_symbol_is_one_line(cluster, folder, tmp_path, capsys):
    assert forecast(folder, tmp_path, "--engine", "ray", "--T", "-1") == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_no_cluster_at_an_address_is_one_line(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert forecast(folder, tmp_path, "--engine", "ray") == 2
    assert "engine=ray: the cluster cannot be reached" in capsys.readouterr().err
    assert not os.listdir(tmp_path)
