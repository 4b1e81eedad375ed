"""Family 20: fewer bars or records than are needed end in one line with the numbers, before anything is written."""

import pytest

from kronos_ft.cli.main import main as kronos
from kronos_ft.data.sources import simulate_candles
from mt5_ft.cli.main import main as mt5
from tests.untrusted import files_of, refusal

pytestmark = pytest.mark.fault(20)

WINDOW = ["--lookback_window", 20, "--predict_window", 4]


def bars(tmp_path, count):
    path = tmp_path / "sim.csv"
    simulate_candles(count, seed=1).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (1, "only 1 usable bars; at least 2 are needed"),
        (2, "the train split has 1 bars, too few for a window of 25 (lookback 20 + horizon 4 + 1)"),
        (30, "the train split has 21 bars, too few for a window of 25"),
        (40, "the validation split has 0 bars after an embargo of 25, too few for a window of 25"),
        (300, "the validation split has 20 bars after an embargo of 25, too few for a window of 25"),
    ],
)
@pytest.mark.parametrize("stage", ["tokenizer", "predictor", "finetune"])
def test_training(made, tmp_path, capsys, stage, count, message):
    path = bars(tmp_path, count)
    before = files_of(tmp_path)
    words = [stage, "--data", path, "--model", "tiny", "--from_scratch", "--output_dir", tmp_path / "run", *WINDOW]
    words += {"tokenizer": [], "predictor": ["--tokenizer", made / "tokenizer"], "finetune": ["--tokenizer", "tiny"]}[
        stage
    ]
    assert message in refusal(capsys, kronos, words)
    assert files_of(tmp_path) == before
    assert not (tmp_path / "run").exists()


def test_one_bar_more_is_enough(tmp_path):
    words = ["tokenizer", "--model", "tiny", "--from_scratch", *WINDOW, "--dry_run", "--data", bars(tmp_path, 334)]
    assert kronos([str(word) for word in words]) == 0


@pytest.mark.parametrize(
    ("count", "words", "message"),
    [
        (1, [], "only 1 usable bars"),
        (59, [], "has 59 bars before the forecast, fewer than lookback=60"),
        (100, ["--lookback", 101], "has 100 bars before the forecast, fewer than lookback=101"),
        (100, ["--origin", "2020-01-02"], "has 24 bars before the forecast, fewer than lookback=60"),
        (100, ["--lookback", 1], "lookback=1 is too small; use 2 or more"),
        (100, ["--horizon", 0], "horizon=0 is too small; use 1 or more"),
    ],
)
def test_forecasts(made, tmp_path, capsys, count, words, message):
    path = bars(tmp_path, count)
    before = files_of(tmp_path)
    words = ["forecast", "--data", path, "--model", made / "predictor", "--tokenizer", made / "tokenizer",
             "--lookback", 60, "--output", tmp_path / "paths.csv", *words]  # fmt: skip
    assert message in refusal(capsys, kronos, words)
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("count", [2, 60, 150, 220])
def test_evaluations(made, tmp_path, capsys, count):
    path = bars(tmp_path, count)
    before = files_of(tmp_path)
    words = ["evaluate", "--data", path, "--model", made / "predictor", "--tokenizer", made / "tokenizer",
             "--lookback", 60, "--horizon", 8, "--output_dir", tmp_path / "out"]  # fmt: skip
    line = refusal(capsys, kronos, words)
    assert any(character.isdigit() for character in line.split("sim")[-1])
    assert "bars" in line
    assert files_of(tmp_path) == before


@pytest.mark.parametrize(
    ("rows", "words", "message"),
    [
        (1, [], "has 1 records, too few to hold out 1 for validation; add records"),
        (10, ["--validation_share", 0.99], "has 10 records, too few to hold out 10"),
    ],
)
def test_records(made, tmp_path, capsys, rows, words, message):
    path = tmp_path / "cases.jsonl"
    path.write_text("".join((made / "records.jsonl").read_text("utf-8").splitlines(keepends=True)[:rows]), "utf-8")
    before = files_of(tmp_path)
    run = tmp_path / "run"
    assert message in refusal(
        capsys, mt5, ["train", "--model", made / "mt5", "--data", path, "--output_dir", run, *words]
    )
    line = refusal(capsys, mt5, ["subset", path, "--drop", 0.01])
    assert f"drop=0.01 of {rows} rows keeps {rows}" in line
    assert files_of(tmp_path) == before
