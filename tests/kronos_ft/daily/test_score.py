"""Scores of a log: calibrated quantiles of a known walk cover their share, narrow ones are found out, nothing leaks."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from kronos_ft.cli.main import main
from kronos_ft.cli.score import score_lines
from kronos_ft.daily.joined import join_log
from kronos_ft.daily.quantile_log import append_rows
from kronos_ft.daily.score import apart, crps_of_quantiles, newest_apart, quantile_losses, score_log
from kronos_ft.data.candles import load_candles
from kronos_ft.forecasting.forecast import LEVELS

APART = range(100, 1400, 3)  # forecasts of three bars that do not overlap


def scores(log, series, **options):
    return score_log(join_log(log, series), **options)["models"]["m" * 64]


def test_calibrated_quantiles_cover_their_share(make_log, walked):
    found = scores(make_log(APART), walked)
    figures = found["symbols"]["W"]
    assert (figures["forecasts"], figures["bars"], figures["independent"]) == (len(APART), 3 * len(APART), len(APART))
    for level, coverage in figures["coverage"].items():
        assert coverage["low"] < level < coverage["high"]
        assert coverage["low"] < coverage["share"] < coverage["high"]
    assert abs(figures["skill"]) < 0.02  # the reference is nearly the same distribution
    assert figures["brier"] == pytest.approx(0.25)
    assert found["drift"] == []
    assert found["all"] is None


def test_losses_by_hand(make_log, walked, walk):
    """Each loss against loops over its formula."""
    log = make_log([400, 500])
    figures = scores(log, walked)["symbols"]["W"]
    close = walk[0].close.to_numpy()
    total = {"crps": [], "reference": [], "pinball": [], "moves": []}
    for origin in (400, 500):
        returns = np.diff(np.log(close[: origin + 1]))[-400:]
        volatility = np.sqrt(np.mean(returns**2))
        for step in (1, 2, 3):
            y = np.log(close[origin + step] / close[origin])
            losses = {}
            for name, scale in (("crps", 0.01), ("reference", volatility)):
                pinball = []
                for level in LEVELS:
                    q = scale * np.sqrt(step) * norm.ppf(level)
                    pinball.append(level * (y - q) if y >= q else (1 - level) * (q - y))
                area, points, values = 0.0, [0.0, *LEVELS, 1.0], [0.0, *pinball, 0.0]
                for left in range(len(points) - 1):
                    area += (points[left + 1] - points[left]) * (values[left] + values[left + 1]) / 2
                losses[name] = 2 * area
                total[name].append(losses[name])
                if name == "crps":
                    total["pinball"].append(np.mean(pinball))
            total["moves"].append(abs(y))
    assert figures["crps_bp"] == pytest.approx(1e4 * np.mean(total["crps"]))
    assert figures["reference_crps_bp"] == pytest.approx(1e4 * np.mean(total["reference"]))
    assert figures["skill"] == pytest.approx(1 - np.mean(total["crps"]) / np.mean(total["reference"]))
    assert figures["wql"] == pytest.approx(2 * np.mean(total["pinball"]) / np.mean(total["moves"]))


def test_the_crps_of_seven_quantiles_is_near_that_of_the_distribution():
    y = np.random.default_rng(0).normal(size=20_000)
    quantiles = np.tile(norm.ppf(LEVELS), (len(y), 1))
    found = crps_of_quantiles(quantile_losses(y, quantiles)).mean()
    exact = np.mean(y * (2 * norm.cdf(y) - 1) + 2 * norm.pdf(y) - 1 / np.sqrt(np.pi))
    assert found == pytest.approx(exact, rel=0.05)


def test_narrow_intervals_are_drift(make_log, walked):
    """Calibrated at first, five times too narrow for the last fifty."""
    old, new = APART[:-50], APART[-50:]
    log = pd.concat([make_log(old), make_log(new, width=0.2)])
    found = scores(log, walked)["drift"]
    assert {one["level"] for one in found} == {0.5, 0.8, 0.9}
    for one in found:
        assert one["symbol"] == "W"
        assert one["forecasts"] == 50
        assert one["covered"] < one["low"] < one["level"] * 50 < one["high"]
    assert scores(pd.concat([make_log(old, width=1 / 3), make_log(new)]), walked)["drift"] == []
    assert scores(make_log(new[-19:], width=1 / 3), walked)["drift"] == []  # too few for a test
    with pytest.raises(ValueError, match="window=10 forecasts are too few for a test of drift; use 20 or more"):
        scores(log, walked, window=10)


def test_forecasts_that_overlap_count_once(make_log, walked):
    every = scores(make_log(range(100, 400)), walked)["symbols"]["W"]
    assert (every["forecasts"], every["independent"]) == (300, 100)
    thin = scores(make_log(range(100, 400, 3)), walked)["symbols"]["W"]
    widths = [one["coverage"][0.8]["high"] - one["coverage"][0.8]["low"] for one in (every, thin)]
    assert widths[0] == pytest.approx(widths[1], rel=0.1)
    both = pd.concat([make_log(APART), make_log(APART, symbol="V")])
    series = [*walked, load_candles({"V": walked[0].to_frame()})[0]]
    assert scores(both, series)["all"]["independent"] == len(APART)  # symbols move together


def test_spans_that_do_not_overlap():
    spans = pd.DataFrame({"origin": [0, 1, 3, 2, 6, 5], "end": [3, 4, 6, 5, 9, 8]})
    assert apart(spans).tolist() == [0, 2, 4]
    assert newest_apart(spans, 9).tolist() == [4, 2, 0]
    assert newest_apart(spans, 2).tolist() == [4, 2]


def test_what_has_not_come_is_pending(make_log, walked, walk):
    joined = join_log(make_log([1490, 1497, 1499]), walked)
    assert joined.state.tolist() == ["scored"] * 3 + ["scored", "scored", "pending"] + ["pending"] * 3
    gap = load_candles({"W": walk[0].drop(index=[1491])})
    assert join_log(make_log([1490]), gap).state.tolist() == ["missing", "scored", "scored"]
    assert join_log(make_log([1490], symbol="X"), walked).state.tolist() == ["no data"] * 3
    nothing = scores(make_log([1499]), walked)["symbols"]["W"]
    assert (nothing["forecasts"], nothing["brier"], nothing["coverage"][0.9]["share"]) == (0, None, None)


def test_a_last_bar_that_has_not_ended_is_no_truth(make_log, walked, monkeypatch):
    now = walked[0].timestamps[-1] + np.timedelta64(30, "m")
    monkeypatch.setattr("kronos_ft.daily.finished_bars.utc_now", lambda: now)
    assert join_log(make_log([1496]), walked).state.tolist() == ["scored", "scored", "pending"]


@pytest.mark.fault(17)
def test_the_reference_knows_no_later_bar(make_log, walk):
    frame = walk[0].copy()
    frame.loc[501:, ["open", "high", "low", "close"]] *= 1.5
    log = make_log([500])
    known, changed = (join_log(log, load_candles({"W": one})) for one in (walk[0], frame))
    np.testing.assert_array_equal(known.volatility, changed.volatility)
    np.testing.assert_allclose(changed.actual, 1.5 * known.actual)
    assert np.isnan(join_log(make_log([10]), load_candles({"W": frame})).volatility).all()  # fewer than 20 returns


def test_revised_and_adjusted_prices(make_log, walk):
    revised, split = walk[0].copy(), walk[0].copy()
    revised.loc[500, ["close", "high"]] *= 1.001
    split[["open", "high", "low", "close"]] /= 2
    log = make_log([500])
    assert scores(log, load_candles({"W": revised}, policy="repair"))["revised"] == 1
    joined = join_log(log, load_candles({"W": split}))
    assert joined.state.tolist() == ["other prices"] * 3
    assert joined.actual.isna().all()


def test_forecasts_made_in_hindsight_are_counted(make_log, walked):
    log = make_log([100, 103])
    assert scores(log, walked)["late"] == 0
    assert scores(log.assign(created=log.created + pd.Timedelta(hours=1)), walked)["late"] == 2


@pytest.fixture
def files(walk, make_log, tmp_path):
    walk[0].to_csv(tmp_path / "W.csv", index=False)
    append_rows(tmp_path / "log.csv", [make_log([origin]) for origin in (*APART[-60:], 1499)])
    return tmp_path


def test_the_command(files, run):
    code, lines, _ = run("score", files / "log.csv", "--data", files / "W.csv", "--output_dir", files / "out")
    assert code == 0
    assert lines[0] == "bars              180 scored, 3 pending"
    assert lines[1] == f"model             {'m' * 16}"
    assert lines[3].startswith("W                           60     60")
    assert any(line.startswith("reference         normal cone: root mean square of the last 400") for line in lines)
    read = json.loads((files / "out" / "score.json").read_text())
    assert read["models"]["m" * 64]["symbols"]["W"]["forecasts"] == 60
    assert len(pd.read_csv(files / "out" / "scored.csv")) == 183


def test_nothing_to_score_yet_is_said_in_one_line(make_log, walk):
    earlier = load_candles({"W": walk[0].iloc[:1400]})
    lines = score_lines(score_log(join_log(make_log([1399]), earlier)))
    assert lines[0].endswith("0 scored, 3 pending")
    assert lines[1].startswith("nothing to score yet")
    assert len(lines) == 2


def test_drift_is_exit_code_1(files, make_log, run):
    append_rows(files / "narrow.csv", [make_log([origin], width=0.2) for origin in APART[-60:]])
    code, lines, _ = run("score", files / "narrow.csv", "--data", files / "W.csv")
    assert code == 1
    (line, *_) = [line for line in lines if line.startswith("WARNING     drift: the 50% interval of W covered ")]
    assert "of its last 50 forecasts, outside" in line


def test_bad_input_is_one_line(files, walk, capsys):
    walk[0].to_csv(files / "other.csv", index=False)
    (files / "empty.csv").write_text((files / "log.csv").read_text().splitlines()[0] + "\n")
    for words, message in (
        (["none.csv", "--data", files / "W.csv"], "quantile log none.csv does not exist"),
        ([files / "log.csv", "--data", "none.csv"], "none.csv does not exist"),
        ([files / "log.csv"], "the following arguments are required: --data"),
        ([files / "W.csv", "--data", files / "W.csv"], "W.csv has no column symbol, origin"),
        ([files / "empty.csv", "--data", files / "W.csv"], "empty.csv contains no forecast"),
        ([files / "log.csv", "--data", files / "other.csv"], "has forecasts of W, but"),
        ([files / "log.csv", "--data", files / "W.csv", "--window", 3], "window=3 forecasts are too few"),
        ([files / "log.csv", "--data", files / "W.csv", "--output_dir", files / "W.csv"], "W.csv is a file"),
        ([files / "log.csv", "--date", files / "W.csv"], "--date is not an option; did you mean --data?"),
    ):
        capsys.readouterr()
        assert main(["score", *map(str, words)]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert message in line
