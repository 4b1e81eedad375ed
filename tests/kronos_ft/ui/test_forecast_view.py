"""What the page says of a forecast: nothing from the origin on is seen, figures are those of the paths."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest

from kronos_ft.cli.main import main
from kronos_ft.data.candles import load_candles
from kronos_ft.forecasting.forecast import Forecast
from kronos_ft.models.found_model import FoundModel
from kronos_ft.ui.forecast_kinds import BLOCKS, CALIBRATED, OWN, RAW, ForecastKinds
from kronos_ft.ui.forecast_view import (
    LEVELS,
    ForecastChoices,
    make_forecast,
    price,
    quantile_frame,
    quantile_table,
    remarks,
    share,
    summary,
    write_tables,
)
from kronos_ft.ui.words import words_of

WORDS = words_of("en")
CHOICES = {"horizon": 8, "num_paths": 11, "lookback": 40, "T": 1.0, "top_p": 0.9, "seed": 3}
AS_TRAINED = {**CHOICES, "lookback": 20, "horizon": 4}


@pytest.fixture(scope="module")
def forecast(predictor, run):
    return make_forecast(predictor, run.series, ForecastChoices.checked("2020-01-20", **CHOICES))


def test_nothing_from_the_origin_on_is_seen(forecast, predictor, run):
    frame = run.series.to_frame()
    later = frame.timestamps >= "2020-01-20"
    frame.loc[later, ["open", "high", "low", "close", "volume", "amount"]] *= 3
    (changed,) = load_candles({run.series.symbol: frame})
    again = make_forecast(predictor, changed, ForecastChoices.checked("2020-01-20", **CHOICES))
    np.testing.assert_array_equal(again.forecast.paths, forecast.forecast.paths)
    np.testing.assert_allclose(again.truth()[:, 3], 3 * forecast.truth()[:, 3])
    assert str(forecast.times[0]).startswith("2020-01-20T00:00")


def test_progress_is_told_bar_by_bar(predictor, run):
    told = []
    make_forecast(predictor, run.series, ForecastChoices.checked(None, **CHOICES), lambda *one: told.append(one))
    assert told[-1] == (8, 8)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_quantiles_and_truth(forecast, predictor, run):
    frame = quantile_frame(forecast)
    closes = forecast.forecast.paths[:, :, 3]
    for level in LEVELS:
        np.testing.assert_allclose(
            frame[f"close_q{100 * level:02.0f}"], np.quantile(closes, level, axis=0, method="weibull")
        )
    known = run.series.to_frame().set_index("timestamps").close
    np.testing.assert_array_equal(frame.happened, known[frame.timestamps])
    near_end = make_forecast(predictor, run.series, ForecastChoices.checked("2020-01-25 20:00", **CHOICES))
    assert quantile_frame(near_end).happened.notna().tolist() == [True] * 4 + [False] * 4
    at_end = make_forecast(predictor, run.series, ForecastChoices.checked(None, **CHOICES))
    assert quantile_frame(at_end).happened.isna().all()
    assert WORDS["happened"] not in quantile_table(at_end, WORDS) + summary(at_end, WORDS)


def test_the_table_and_the_tiles_hide_the_truth_on_request(forecast):
    for shown in (quantile_table, summary):
        assert WORDS["happened"] in shown(forecast, WORDS)
        assert WORDS["happened"] not in shown(forecast, WORDS, show_truth=False)
    assert quantile_table(forecast, WORDS).count("<tr") == 9


@pytest.mark.parametrize(("share", "where"), [(0.5, "inside_50"), (0.2, "inside_90"), (0.01, "outside_90")])
def test_where_the_truth_fell(forecast, share, where):
    happened = forecast.truth()[-1, 3]
    paths = np.repeat(forecast.forecast.paths[:1], 101, axis=0)
    paths[:, -1, 3] = happened * np.linspace(1 - 0.02 * share, 1 + 0.02 * (1 - share), 101)
    one = dataclasses.replace(forecast, forecast=dataclasses.replace(forecast.forecast, paths=paths))
    assert WORDS[where] in summary(one, WORDS)


def test_bars_that_the_model_has_seen(predictor, run, shown):
    def said(origin):
        one = make_forecast(predictor, run.series, ForecastChoices.checked(origin, **AS_TRAINED))
        one = dataclasses.replace(one, forecast=Forecast(one.forecast.paths, 0.0, 0.0))
        return remarks({OWN: (one, shown)}, WORDS)

    ends = shown.data_settings()["split_ends"]["market"]
    assert "was trained on bars up to" in said("2020-01-05")
    assert "was selected by validation on bars up to" in said(str(np.datetime64(ends["validation"])))
    assert said("2020-01-25") == ""
    assert said(None) == ""


def test_bars_under_another_name(predictor, run, shown):
    """The record names its symbols; the same bars under another name may have been seen too."""
    series = dataclasses.replace(run.series, symbol="<my upload>")

    def said(origin):
        one = make_forecast(predictor, series, ForecastChoices.checked(origin, **AS_TRAINED))
        one = dataclasses.replace(one, forecast=Forecast(one.forecast.paths, 0.0, 0.0))
        return remarks({OWN: (one, shown)}, WORDS)

    assert "run record does not name &lt;my upload&gt;, but its data reach to" in said("2020-01-05")
    assert "if this is one of its markets under another name" in said("2020-01-05")
    assert said(None) == ""


def test_many_impossible_candles_are_told(forecast):
    one = dataclasses.replace(forecast, forecast=Forecast(forecast.forecast.paths, 0.31, 0.0))
    nowhere = FoundModel("nowhere", "nowhere", "")
    assert "31% of the forecast bars violated low &lt;= open" in remarks({OWN: (one, nowhere)}, WORDS)


def test_another_context_than_in_training_is_told(forecast, shown):
    assert "The context has 40 bars, but the model was trained with 20" in remarks({OWN: (forecast, shown)}, WORDS)


def test_a_longer_horizon_than_in_training_is_told(forecast, shown):
    assert "has 8 bars, but the model was trained to forecast 4:" in remarks({OWN: (forecast, shown)}, WORDS)


def test_files_to_download(forecast, tmp_path):
    quantiles, paths = write_tables({OWN: forecast}, tmp_path)
    assert re.fullmatch(r"market-2020-01-20T0000-quantiles\.csv", quantiles.name)
    np.testing.assert_allclose(pd.read_csv(quantiles).close_q50, quantile_frame(forecast).close_q50)
    assert len(pd.read_csv(paths)) == 11 * 8


def test_names_of_files_hold_no_path(forecast, tmp_path):
    series = dataclasses.replace(forecast.series, symbol="../=A&B/USDT")
    places = write_tables({OWN: dataclasses.replace(forecast, series=series)}, tmp_path)
    assert {place.parent for place in places} == {tmp_path}
    assert pd.read_csv(places[0]).symbol[0] == "../=A&B/USDT"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("horizon", None, "horizon is empty or not a number; enter a number"),
        ("horizon", 2.5, "horizon=2.5 is not a whole number"),
        ("num_paths", 0, "num_paths=0 is too small; use 1 or more"),
        ("lookback", 1, "lookback=1 is too small; use 2 or more"),
        ("seed", -1, "seed=-1 is too small; use 0 or more"),
        ("T", float("nan"), "T is empty or not a number"),
    ],
)
def test_fields_out_of_range(field, value, message):
    with pytest.raises(ValueError, match=message):
        ForecastChoices.checked(None, **{**CHOICES, field: value})


def test_a_context_longer_than_the_data(predictor, run):
    with pytest.raises(ValueError, match="market has 600 bars before the forecast, fewer than lookback=700"):
        make_forecast(predictor, run.series, ForecastChoices.checked(None, **{**CHOICES, "lookback": 700}))


def test_paths_are_those_of_the_command(forecast, run, shown, tmp_path):
    words = {"horizon": 8, "num_paths": 11, "lookback": 40, "seed": 3, "origin": "2020-01-20", "device": "cpu"}
    words |= {"top_p": 0.9}
    words |= {"data": run.data, "model": shown.model, "tokenizer": shown.tokenizer, "output": tmp_path / "paths.csv"}
    assert main(["forecast", *(f"--{name}={value}" for name, value in words.items())]) == 0
    (tmp_path / "page").mkdir()
    _, paths = write_tables({OWN: forecast}, tmp_path / "page")
    assert paths.read_bytes() == (tmp_path / "paths.csv").read_bytes()


@pytest.fixture(scope="module")
def by_head(head, run):
    (ask,) = ForecastKinds(head).requests(CALIBRATED, BLOCKS, 1.0, 1.0)
    return make_forecast(ask.predictor, run.series, ForecastChoices(4, 11, 20, 3, origin="2020-01-20"))


def test_the_probability_of_a_rise(forecast, by_head):
    """The share of the paths, or the probability by the head."""
    last = forecast.series.values[forecast.origin - 1, 3]
    shares = (forecast.forecast.paths[:, :, 3] > last).mean(axis=0)
    np.testing.assert_allclose(quantile_frame(forecast).probability_up, shares)
    tiles = summary(forecast, WORDS)
    assert "Probability of a rise after 8 bars" in tiles
    assert f">{share(shares[-1])}<" in tiles
    assert "share of 11 paths above the last close" in tiles
    expected = by_head.forecast.direct.probability_above(last)
    np.testing.assert_allclose(quantile_frame(by_head).probability_up, expected)
    assert f">{share(expected[-1])}<" in summary(by_head, WORDS)
    assert WORDS["rise_by_head"] in summary(by_head, WORDS)
    assert quantile_table(by_head, WORDS).count(f">{share(expected[1])}<") >= 1


@pytest.mark.parametrize(("value", "text"), [(0.5, "50 %"), (0.004, "0.4 %"), (0.997, "99.7 %"), (0.99, "99 %")])
def test_shares_near_the_ends_keep_a_decimal(value, text):
    assert share(value) == text


def test_quantiles_of_a_head(by_head):
    """The file has the head's own levels, the table those of every forecast; neither is of the paths."""
    frame, direct = quantile_frame(by_head), by_head.forecast.direct
    columns = [name for name in frame if name.startswith("close_q")]
    assert columns == [f"close_q{round(100 * level):02d}" for level in direct.levels]
    np.testing.assert_allclose(frame[columns], direct.close)
    table = quantile_table(by_head, WORDS)
    assert WORDS["table_title_head"] in table
    for level in LEVELS:
        assert f"<td>{price(direct.at('close', [level])[-1, 0])}</td>" in table


def test_levels_between_per_cents_have_columns_of_their_own(forecast):
    frame = quantile_frame(forecast, [0.005, 0.01, 0.29])
    assert [name for name in frame if name.startswith("close_q")] == ["close_q0.5", "close_q01", "close_q29"]


def test_two_forecasts_have_names_everywhere(by_head, head, run, tmp_path):
    (ask,) = ForecastKinds(head).requests(RAW, BLOCKS, 1.0, 1.0)
    raw = make_forecast(ask.predictor, run.series, ForecastChoices(4, 7, 20, 3, origin="2020-01-20"))
    for shown in (summary, quantile_table):
        assert '<h3 class="kf-head">Raw' in shown(raw, WORDS, name=RAW)
        assert '<h3 class="kf-head">Calibrated' in shown(by_head, WORDS, name=CALIBRATED)
    assert "<h3" not in summary(by_head, WORDS)
    quantiles, paths = map(pd.read_csv, write_tables({CALIBRATED: by_head, RAW: raw}, tmp_path))
    assert quantiles.columns[0] == paths.columns[0] == "forecast"
    assert paths.forecast.value_counts().to_dict() == {CALIBRATED: 11 * 4, RAW: 7 * 4}
    assert not quantiles.drop(columns="happened").isna().any(axis=None)
    np.testing.assert_allclose(
        quantiles.close_q05[quantiles.forecast == RAW], raw.forecast.quantiles([0.05]).to_numpy()[:, 0]
    )


def test_warnings_of_two_forecasts(by_head, forecast, shown):
    """A warning of both is told once; one of the raw forecast alone names it."""
    nowhere = FoundModel("nowhere", "nowhere", "")
    broken = dataclasses.replace(forecast.forecast, projected_share=0.31)
    raw = dataclasses.replace(forecast, forecast=broken)
    lines = remarks({CALIBRATED: (by_head, nowhere), RAW: (raw, nowhere)}, WORDS)
    assert "raw: 31% of the forecast bars violated" in lines
    assert ">31% of the forecast bars violated" in remarks({RAW: (raw, nowhere)}, WORDS)
    twice = remarks({CALIBRATED: (raw, shown), RAW: (raw, shown)}, WORDS)
    assert twice == remarks({CALIBRATED: (raw, shown)}, WORDS)


def test_a_horizon_beyond_the_head(head, run):
    with pytest.raises(ValueError, match="horizon=5 is outside 1 to 4, which the quantile head was trained for"):
        make_forecast(head, run.series, ForecastChoices(5, 3, 20, 3))
