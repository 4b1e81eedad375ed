"""The table that windows are cut from: shared by splits, mapped from a file when large, and never out of date."""

import dataclasses

import numpy as np
import pytest
import torch
from transformers.utils import logging

from kronos_ft.data import candle_table
from kronos_ft.data.candles import fingerprint, load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.windows import order as epoch_order
from kronos_ft.windows.dataset import WindowDataset, WindowShape
from kronos_ft.windows.order import EpochSampler

SHAPE = WindowShape(lookback=20, horizon=4)
TABLES = {name: simulate_candles(bars, seed=bars) for name, bars in (("A", 300), ("B", 500), ("C", 420))}


def everything(windows):
    return windows.__getitems__(range(len(windows)))


def assert_same_windows(one, other):
    assert one.fingerprint() == other.fingerprint()
    for name, values in everything(one).items():
        assert torch.equal(values, everything(other)[name]), name


def test_splits_share_one_copy_of_the_candles():
    series = load_candles(TABLES)
    splits = [WindowDataset(series, split, SHAPE) for split in ("train", "validation", "test")]
    for windows in splits:
        assert np.shares_memory(windows._values, series[2].values)
        assert windows._values is splits[0]._values
        assert windows._stamps is splits[0]._stamps


@pytest.mark.parametrize("limit", [0, 30_000], ids=["from the first symbol", "from the second symbol"])
def test_a_mapped_table_gives_the_same_windows_and_leaves_no_file(limit, monkeypatch, tmp_path):
    monkeypatch.setenv("KRONOS_FT_CACHE", str(tmp_path))
    in_memory = load_candles(TABLES)
    monkeypatch.setattr(candle_table, "IN_MEMORY", limit)
    mapped = load_candles(TABLES)
    assert isinstance(mapped[0].table.values.base, np.memmap)
    assert fingerprint(mapped) == fingerprint(in_memory)
    assert_same_windows(*(WindowDataset(series, "train", SHAPE) for series in (mapped, in_memory)))
    assert not list((tmp_path / "candles").iterdir())


def test_without_a_place_for_files_candles_stay_in_memory(monkeypatch, tmp_path, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KRONOS_FT_CACHE", str(tmp_path / "file"))
    expected = load_candles(TABLES)
    monkeypatch.setattr(candle_table, "IN_MEMORY", 0)
    logging.enable_propagation()
    with caplog.at_level("WARNING"):
        found = load_candles(TABLES)
    logging.disable_propagation()
    assert "candles stay in memory; set KRONOS_FT_CACHE" in caplog.text
    assert fingerprint(found) == fingerprint(expected)


def test_some_of_the_symbols_get_a_table_of_their_own():
    series = load_candles(TABLES)
    assert np.shares_memory(WindowDataset(series[:2], "train", SHAPE)._values, series[0].values)
    for chosen, names in ((series[:2], "AB"), (series[1:], "BC"), (series[::-1], "CBA")):
        alone = load_candles({name: TABLES[name] for name in names})
        assert_same_windows(*(WindowDataset(one, "validation", SHAPE) for one in (chosen, alone)))


def test_changed_candles_are_not_taken_from_the_table():
    series = load_candles(TABLES["B"])
    half = dataclasses.replace(series[0], values=series[0].values * [0.5, 0.5, 0.5, 0.5, 1, 1])
    shorter = dataclasses.replace(series[0], timestamps=series[0].timestamps[50:], values=series[0].values[50:])
    for one in (half, shorter):
        windows = WindowDataset([one], "train", SHAPE)
        assert np.array_equal(windows._values, one.values)
        assert len(windows._stamps) == len(one)


def test_names_and_stamps_of_later_symbols():
    series = load_candles(TABLES)
    windows = WindowDataset(series, "validation", SHAPE)
    first = windows.windows_per_symbol[0]
    start = windows.bounds["B"][0]
    assert windows.name_of(first) == f"B from {series[1].timestamps[start].astype('datetime64[s]')}"
    assert torch.equal(windows.stamps_of([first])[0], windows[first]["stamps"])
    with pytest.raises(IndexError, match=f"window {len(windows)} of"):
        windows.name_of(len(windows))


@pytest.mark.parametrize("weighting", ["length", "even"])
def test_an_order_handed_out_in_pieces_is_the_same(weighting, monkeypatch):
    orders = []
    for piece in (7, 1000):
        monkeypatch.setattr(epoch_order, "PIECE", piece)
        sampler = EpochSampler(100, 3, effective_batch=8, windows_per_symbol=[40, 60], weighting=weighting)
        sampler.set_epoch(2)
        orders.append(list(sampler))
    assert orders[0] == orders[1]
    assert len(orders[0]) == 96
