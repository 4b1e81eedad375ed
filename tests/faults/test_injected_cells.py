"""Family 22: names and texts of others that a spreadsheet would run, or a page would show as HTML, stay text."""

import csv
import json

import numpy as np
import pandas as pd
import pytest

from ft_core.io.spreadsheet import markdown_text, neutral_cell, neutral_frame
from kronos_ft.cli.main import main as kronos
from kronos_ft.data.sources import simulate_candles
from kronos_ft.forecasting.plots import plot_forecast, plot_skill
from mt5_ft.cli.main import main as mt5

pytestmark = pytest.mark.fault(22)

FORMULAS = ["=1+1", "+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", '=HYPERLINK("http://x")']
PLAIN = ["BTC/USDT", "a=b", "a-b", "3", "", "'=1", "贵州茅台", "a,b", 'a"b']


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_get_an_apostrophe(text):
    assert neutral_cell(text) == f"'{text}"
    assert markdown_text(text).startswith("'")


@pytest.mark.parametrize("text", PLAIN)
def test_other_text_is_left_alone(text):
    assert neutral_cell(text) == text


def test_numbers_and_times_stay_what_they_are(tmp_path):
    frame = pd.DataFrame(
        {
            "symbol": ["=1+1", "-BTC"], "=name": ["a", "@b"], "change": [-1.5, 2.0], "count": [-3, 4],
            "time": pd.to_datetime(["2020-01-01", "1969-01-01"]), "kind": pd.Categorical(["=x", "y"]),
            "mixed": pd.Series([-1, "=x"], dtype=object), "missing": [None, "+1"], "yes": [True, False],
        }
    )  # fmt: skip
    before = frame.copy(deep=True)
    neutral_frame(frame).to_csv(tmp_path / "table.csv", index=False)
    pd.testing.assert_frame_equal(frame, before)
    with open(tmp_path / "table.csv", newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header[:3] == ["symbol", "'=name", "change"]
    assert rows[0] == ["'=1+1", "a", "-1.5", "-3", "2020-01-01", "'=x", "-1", "", "True"]
    assert rows[1][:4] == ["'-BTC", "'@b", "2.0", "4"]
    assert rows[1][7] == "'+1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
        ("a & b &lt;", "a &amp; b &amp;lt;"),
        ("![x](http://track)", r"!\[x\](http://track)"),
        ("a | b", r"a \| b"),
        ("`code` **bold**", r"\`code\` \*\*bold\*\*"),
        ("a\n# title", "a # title"),
        ("a\x1b[31m\x00b", r"a\[31mb"),
        ("+2.1 %, p < 0.05", "'+2.1 %, p < 0.05"),
        ("kronos_base", "kronos_base"),
    ],
)
def test_markdown(text, expected):
    assert markdown_text(text) == expected


SYMBOLS = ["=cmd|x", "@SUM(A1)", "<script>alert(1)</script>", "-5", "+1"]


def test_the_table_of_a_forecast(made, tmp_path):
    frames = [simulate_candles(90, seed=seed).assign(symbol=name) for seed, name in enumerate(SYMBOLS)]
    pd.concat(frames).to_parquet(tmp_path / "markets.parquet")
    words = ["forecast", "--data", tmp_path / "markets.parquet", "--model", made / "predictor", "--tokenizer",
             made / "tokenizer", "--lookback", 30, "--horizon", 3, "--num_paths", 2]  # fmt: skip
    assert kronos([str(word) for word in [*words, "--output", tmp_path / "paths.csv"]]) == 0
    with open(tmp_path / "paths.csv", newline="") as file:
        _, *rows = list(csv.reader(file))
    assert not any(cell.startswith(("=", "+", "@", "\t", "\r")) for row in rows for cell in row)
    assert {row[0] for row in rows} == {"'=cmd|x", "'@SUM(A1)", "<script>alert(1)</script>", "'-5", "'+1"}
    assert all(float(cell) or True for row in rows for cell in row[3:])
    assert kronos([str(word) for word in [*words, "--output", tmp_path / "paths.parquet"]]) == 0
    assert set(pd.read_parquet(tmp_path / "paths.parquet").symbol) == set(SYMBOLS)  # no spreadsheet opens that


def test_the_report_of_an_evaluation(made, tmp_path):
    frames = [simulate_candles(600, seed=seed).assign(symbol=name) for seed, name in enumerate(SYMBOLS[:3])]
    pd.concat(frames).to_csv(tmp_path / "markets.csv", index=False)
    words = [
        *(
            "evaluate",
            "--data",
            tmp_path / "markets.csv",
            "--tokenizer",
            made / "tokenizer",
            "--output_dir",
            tmp_path / "out",
        ),
        *("--compare", f"@1+1|<b>$x^{{$</b>={made / 'predictor'}", f"plain={made / 'predictor'}"),
        *["--lookback", "30", "--horizon", "3", "--step", "6", "--num_paths", "3"],
    ]
    assert kronos([str(word) for word in words]) == 0
    report = (tmp_path / "out" / "evaluation.md").read_text("utf-8")
    assert "<script" not in report
    assert "<b>" not in report
    cells = [cell.strip() for line in report.splitlines() if line.startswith("|") for cell in line.split(" | ")]
    assert not [cell for cell in cells if cell.lstrip("| ").startswith(("=", "@", "\t"))]
    assert "'@1+1\\|&lt;b&gt;$x^{$&lt;/b&gt;" in report
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in report
    figures = json.loads((tmp_path / "out" / "evaluation.json").read_text("utf-8"))
    assert set(figures["data"]) == set(SYMBOLS[:3])  # data, not cells


@pytest.mark.parametrize("title", ["$x^{$", "$", "a $\\frac$ b", "\\$$", "$$", "%s {0} \\"])
def test_titles_are_no_formulas(tmp_path, title):
    rng = np.random.default_rng(0)
    candles = 100 + rng.random((30, 4))
    plot_forecast(candles, 100 + rng.random((3, 5, 4)), tmp_path / "a.png", title=title)
    plot_skill({title: [0.1, 0.2, 0.1]}, tmp_path / "b.png", title, p_values={title: [0.1, 0.2, 0.01]})
    assert (tmp_path / "a.png").stat().st_size > 1000


@pytest.mark.fault(26)
def test_texts_of_records_are_kept_as_they_are(made, tmp_path):
    """JSONL is no spreadsheet: a text to learn must not change."""
    data = tmp_path / "cases.jsonl"
    rows = [
        {"id": text, "case_description": text, "consultation_process": "<b>", "experience_and_reflection": text}
        for text in ("=1+1", "+1", "-1", "@a", "<script>")
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = tmp_path / "out.jsonl"
    words = ["summarize", "--model", made / "mt5", "--input", data, "--output", output, "--max_length", 5]
    assert mt5([str(word) for word in words]) == 0
    assert [json.loads(line)["id"] for line in output.read_text("utf-8").splitlines()] == [row["id"] for row in rows]
