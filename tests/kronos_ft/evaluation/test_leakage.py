"""What run records say of the test bars: by times where they hold them, else by the settings of the splits."""

import json

import numpy as np
import pytest

from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.evaluation.arguments import EvaluateArguments
from kronos_ft.evaluation.leakage import calibration_remarks, training_remarks
from kronos_ft.evaluation.models import model_sources
from kronos_ft.runs.stage import split_ends
from kronos_ft.training.arguments import DataArguments

DEFAULT = {"split_ratios": [0.7, 0.15, 0.15], "split_dates": None}
FIRST = {"A": "2020-02-03T00:00:00", "B": None}


@pytest.fixture
def remarks(tmp_path):
    """A function: remarks on a model and a tokenizer with these records, for an evaluation with default splits."""

    def make(model=None, tokenizer=None, first=FIRST, **settings):
        for name, data in (("model", model), ("tokenizer", tokenizer)):
            (tmp_path / name / "best_model").mkdir(parents=True, exist_ok=True)
            (tmp_path / name / "best_model" / "config.json").write_text("{}")
            if data is not None:
                (tmp_path / name / "run.json").write_text(json.dumps({"data": data}))
        args = EvaluateArguments(
            data="sample", model=str(tmp_path / "model"), tokenizer=str(tmp_path / "tokenizer"), **settings
        )
        return training_remarks(model_sources(args), args, first)

    return make


def record(train, validation, symbol="A", **settings):
    return {**DEFAULT, **settings, "split_ends": {symbol: {"train": train, "validation": validation}}}


def test_records_without_times_are_compared_by_their_settings(remarks):
    assert remarks() == ([], [])
    assert remarks(model=DEFAULT) == ([], [])
    seen, maybe = remarks(model={**DEFAULT, "split_ratios": [0.9, 0.05, 0.05]})
    assert seen == []
    assert maybe == [
        "model was trained with split_ratios=[0.9, 0.05, 0.05], which differs from this evaluation: it may have seen "
        "test bars"
    ]
    assert remarks(split_ratios=[0.9, 0.05, 0.05]) == ([], [])


def test_a_tokenizer_is_looked_at_as_well(remarks):
    _, maybe = remarks(tokenizer={**DEFAULT, "split_dates": ["2020-01-05", "2020-01-09"]})
    assert maybe[0].startswith("the tokenizer of model was trained with split_dates=['2020-01-05', '2020-01-09']")
    seen, _ = remarks(tokenizer=record("2020-02-04T00:00:00", "2020-02-05T00:00:00"))
    assert seen == [
        "the tokenizer of model was trained on bars up to 2020-02-04 00:00 UTC: it has seen test bars (A, tested from "
        "2020-02-03 00:00 UTC)"
    ]


@pytest.mark.parametrize(
    ("train", "validation", "words"),
    [
        ("2020-02-02T23:00:00", "2020-02-02T23:00:00", None),
        ("2020-02-03T00:00:00", None, "was trained on bars up to 2020-02-03 00:00 UTC: it has seen test bars"),
        ("2020-01-03T00:00:00", "2020-02-03T00:00:00", "was chosen by validation on bars up to 2020-02-03 00:00 UTC"),
    ],
)
def test_times_decide_whatever_the_settings(remarks, train, validation, words):
    for settings in ({}, {"split_ratios": [0.9, 0.05, 0.05]}):
        seen, maybe = remarks(model=record(train, validation, **settings))
        assert maybe == []
        assert [words in line for line in seen] == ([True] if words else [])


def test_another_name_of_the_symbol_is_doubted(remarks):
    seen, maybe = remarks(model=record("2020-02-03T00:00:00", None, symbol="A_2019"))
    assert seen == []
    assert "the run record of model does not name A, but its bars reach to 2020-02-03 00:00 UTC" in maybe[0]
    assert remarks(model=record("2020-02-01T00:00:00", None, symbol="A_2019")) == ([], [])


def test_the_record_holds_the_times_of_the_last_bars():
    series = load_candles({"A": simulate_candles(900, seed=1), "B": simulate_candles(300, seed=2)})
    found = split_ends(series, DataArguments(data="x", lookback_window=20, predict_window=4))
    for one in series:
        for name, share in (("train", 0.7), ("validation", 0.85)):
            last = one.timestamps[round(len(one) * share) - 1]
            assert np.datetime64(found[one.symbol][name]) == last
    assert json.loads(json.dumps(found)) == found
    short = DataArguments(data="x", lookback_window=200, predict_window=4)
    assert split_ends(series, short)["B"]["validation"] is None


TESTS = {"A": {"first": "2020-02-03T00:00:00", "last": "2020-02-20T00:00:00"}, "B": {"first": None, "last": None}}


@pytest.mark.parametrize(
    ("symbol", "first", "last", "warned", "doubted"),
    [
        ("A", "2020-01-03T00:00:00", "2020-02-02T23:00:00", False, False),
        ("A", "2020-01-03T00:00:00", "2020-02-03T00:00:00", True, False),
        ("A", "2020-02-20T00:00:00", "2020-03-03T00:00:00", True, False),
        ("A", "2020-02-20T01:00:00", "2020-03-03T00:00:00", True, False),  # later than the test is no better
        ("B", "2020-01-03T00:00:00", "2020-02-02T23:00:00", False, False),
        ("B", "2020-01-03T00:00:00", "2020-02-03T00:00:00", False, True),
    ],
)
def test_bars_of_a_calibration_that_are_test_bars(symbol, first, last, warned, doubted):
    seen, maybe = calibration_remarks("run", {"T": 0.9, "calibrated_on": {symbol: [first, last]}}, TESTS)
    assert (bool(seen), bool(maybe)) == (warned, doubted)
    until = f"{last[:16].replace('T', ' ')} UTC"
    if warned:
        assert seen == [
            f"T and top_p of run were calibrated on bars up to {until}, later than the first test bar (A, "
            "2020-02-03 00:00 UTC)"
        ]
    if doubted:
        assert maybe == [
            f"T and top_p of run were calibrated on other symbols up to {until}: if A is one of them under another "
            "name, they were chosen on test bars"
        ]


def test_a_calibration_of_an_earlier_version_is_doubted():
    assert calibration_remarks("run", {"T": 0.9, "predictor_sha256": "0" * 64}, TESTS) == (
        [],
        [
            "T and top_p of run were calibrated by an earlier version, which did not record on which bars: they may be "
            "test bars; run kronos-ft calibrate again"
        ],
    )
