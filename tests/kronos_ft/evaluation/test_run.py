"""`kronos-ft evaluate`: whole runs with tiny models, and every kind of bad input in one line."""

import json
import re
import shutil

import matplotlib.image
import pytest
import torch

from kronos_ft.baselines.references import default_baselines
from kronos_ft.cli.main import main
from kronos_ft.data.sources import simulate_candles
from kronos_ft.evaluation.arguments import EvaluateArguments
from kronos_ft.evaluation.models import horizon_remark, is_tuned_from, model_sources, with_trained_sizes
from kronos_ft.evaluation.run import check_space
from kronos_ft.models.configuration_kronos import KronosConfig, KronosTokenizerConfig
from kronos_ft.models.modeling_kronos import Kronos, KronosTokenizer

SMALL = ["--lookback", "30", "--horizon", "4", "--step", "3", "--num_paths", "20"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of a tokenizer, two predictors, and a run folder with a best model."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    KronosTokenizer(KronosTokenizerConfig.from_size("tiny")).save_pretrained(folder / "tokenizer")
    for name in ("base", "run/best_model"):
        Kronos(KronosConfig.from_size("tiny")).save_pretrained(folder / name)
    (folder / "run" / "run.json").write_text(
        json.dumps({"data": {"split_ratios": [0.9, 0.05, 0.05], "split_dates": None}})
    )
    config = KronosConfig(**{**KronosConfig.from_size("tiny").to_dict(), "s1_bits": 6})
    Kronos(config).save_pretrained(folder / "six")
    return folder


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "btc.csv"
    simulate_candles(900, seed=3).to_csv(path, index=False)
    return path


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def evaluate(*words):
    return main(["evaluate", *(str(word) for word in words)])


def refused(capsys, words, message):
    """One line on standard error, exit code 2."""
    capsys.readouterr()
    assert evaluate(*words) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("kronos-ft: ")
    assert message in lines[0]


def test_one_model(csv, out, models, capsys):
    words = [
        "--data",
        csv,
        "--model",
        models / "base",
        "--tokenizer",
        models / "tokenizer",
        "--output_dir",
        out,
        *SMALL,
    ]
    assert evaluate(*words) == 0
    text = capsys.readouterr().out
    read = json.loads((out / "evaluation.json").read_text())
    assert read["verdict"] in text
    assert read["headline"].startswith("better than the best simple forecast: close ")
    assert (out / "evaluation.md").read_text().splitlines()[0] == f"**{read['headline']}.**"
    lines = text.splitlines()
    assert lines.index(read["headline"]) < lines.index(read["verdict"])
    assert {one["judged"] for one in read["corrected"]["tests"]} == set(read["verdicts"])
    assert "horizon   " not in text
    assert read["verdicts"]["close"] == read["verdict"]
    assert "33 origins, every 3 bars" in text
    assert re.search(r"^time +about \d+ s for 66 forecasts$", text, re.MULTILINE)
    assert text.index("time  ") < text.index(read["verdict"])
    assert list(read["forecasters"])[1:] == [one.name for one in default_baselines(30)]
    assert {path.name for path in out.iterdir()} == {
        "evaluation.json", "evaluation.md", "forecast.png", "reliability.png", "skill.png",
    }  # fmt: skip
    for path in out.glob("*.png"):
        assert matplotlib.image.imread(path).std() > 0.01
    assert read["forecasters"]["base"]["num_paths"] == 20
    assert 0 <= read["forecasters"]["base"]["projected_share"] <= 1
    assert read["settings"]["top_p"] == 1.0
    refused(capsys, words, "contains an evaluation; pass --overwrite")
    assert evaluate(*words, "--overwrite") == 0
    again = json.loads((out / "evaluation.json").read_text())
    assert again == read


def test_the_step_is_chosen_from_the_data_and_all_scores_are_shown_on_request(csv, out, models, capsys):
    words = ["--data", csv, "--model", models / "base", "--tokenizer", models / "tokenizer", "--output_dir", out]
    words += ["--lookback", "30", "--horizon", "8", "--num_paths", "4", "--verbose"]
    assert evaluate(*words) == 0
    text = capsys.readouterr().out
    read = json.loads((out / "evaluation.json").read_text())
    assert read["settings"]["step"] == 2  # a quarter of the horizon: the test split has fewer than 200 origins
    assert f"{read['origins']['test']} origins, every 2 bars" in text
    assert "RankIC" in text


def test_a_model_of_published_weights_is_judged_by_clean_origins(csv, out, models, capsys, tmp_path):
    """The candles are from 2020, so none of them is clean; the run started from published weights."""
    shutil.copytree(models / "run", tmp_path / "tuned")
    record = {"model": {"model": "mini", "repository": "NeoQuasar/Kronos-mini", "from_scratch": False}}
    (tmp_path / "tuned" / "run.json").write_text(json.dumps(record))
    words = ["--data", csv, "--tokenizer", models / "tokenizer", "--output_dir", out, *SMALL]
    assert evaluate(*words, "--compare", models / "base", tmp_path / "tuned") == 0
    read = json.loads((out / "evaluation.json").read_text())
    assert read["memorised"]["models"] == ["tuned"]
    assert read["memorised"]["origins"] == {"memorised": 33, "clean": 0}
    assert read["verdict"] == (
        "close, 4 bars: too few origins from 2024-06-01 on for a verdict (0, at least 30 needed; 33 earlier origins "
        "are possibly memorised)"
    )
    assert "33 test origins before 2024-06-01 are possibly memorised" in capsys.readouterr().out


def test_two_models_on_the_same_origins(csv, out, models, capsys):
    words = ["--data", csv, "--tokenizer", models / "tokenizer", "--output_dir", out, *SMALL, "--max_origins", "32"]
    assert evaluate(*words, "--compare", models / "base", f"tuned={models / 'run'}", "--batch_size", "3") == 0
    text = capsys.readouterr().out
    assert "close, 4 bars: tuned is " in text
    assert "subsampled evenly to max_origins" in text
    read = json.loads((out / "evaluation.json").read_text())
    assert next(iter(read["skill"]["tuned"])) == "base"
    assert read["origins"] == {"test": 32, "validation": 32}
    assert any("tuned was trained with split_ratios=[0.9, 0.05, 0.05]" in note for note in read["notes"])


def test_a_model_that_has_seen_test_bars_is_told_after_the_verdict(csv, out, models, capsys, tmp_path):
    """The settings of the splits are the same: only the times show that the file was longer in training."""
    shutil.copytree(models / "run", tmp_path / "longer")
    data = {
        "split_ratios": [0.7, 0.15, 0.15],
        "split_dates": None,
        "split_ends": {"btc": {"train": "2020-03-01T00:00:00", "validation": "2020-04-01T00:00:00"}},
    }
    (tmp_path / "longer" / "run.json").write_text(json.dumps({"data": data}))
    words = ["--data", csv, "--tokenizer", models / "tokenizer", "--output_dir", out, *SMALL, "--max_origins", "32"]
    assert evaluate(*words, "--model", tmp_path / "longer") == 0
    warning = "longer was trained on bars up to 2020-03-01 00:00 UTC: it has seen test bars (btc, tested from 2020-02-"
    read = json.loads((out / "evaluation.json").read_text())
    assert read["notes"][0].startswith(warning)
    assert read["doubts"] == [{"model": "longer", "kind": "seen_test_bars"}]
    lines = (out / "evaluation.md").read_text().splitlines()
    said = list(read["verdicts"].values())
    at = lines.index(f"**{said[0]}.**")
    assert lines[at : at + 2 * len(said) : 2] == [f"**{one}.**" for one in said]
    assert lines[at - 2].startswith(f"**WARNING: {warning}")
    lines = capsys.readouterr().out.splitlines()
    at = lines.index(said[0])
    assert lines[at : at + len(said)] == said
    assert lines[at - 2].startswith(f"WARNING: {warning}")
    assert lines.index(read["headline"]) < at - 2


def sources_of(*compare, tokenizer="tok"):
    return model_sources(EvaluateArguments(data="sample", compare=list(compare), tokenizer=tokenizer))


def test_names_of_models(models):
    base = str(models / "base")
    found = sources_of(base, f"b={models / 'run'},other", "owner/Kronos-small", "owner/run,x", tokenizer="tok")
    assert [(one.name, one.tokenizer) for one in found] == [
        ("base", "tok"),
        ("b", "other"),
        ("Kronos-small", "tok"),
        ("run", "x"),
    ]
    with pytest.raises(ValueError, match="two models have the name 'base'; write NAME=DIR"):
        sources_of(base, base)
    with pytest.raises(ValueError, match="is one model; pass two or more"):
        sources_of(base)
    with pytest.raises(ValueError, match="has no record of its tokenizer; pass --tokenizer DIR"):
        sources_of(f"a={base}", f"b={base}", tokenizer=None)


def test_a_run_is_enough_and_sets_the_sizes(finetuned):
    """Each model sees the context that it was trained with; origins use the longest, the horizon is the trained one."""
    sources = sources_of("small", f"tuned={finetuned.folder}", tokenizer=None)
    assert [(one.name, one.tokenizer) for one in sources] == [
        ("small", "base"),
        ("tuned", str(finetuned.folder / "tokenizer")),
    ]
    args = EvaluateArguments(data="sample", compare=["small", str(finetuned.folder)])
    plan = with_trained_sizes(args, sources).settings().plan
    assert (plan.lookback, plan.horizon) == (400, 4)
    assert [one.found.lookback() for one in sources] == [400, 20]
    args = EvaluateArguments(data="sample", compare=["small", str(finetuned.folder)], lookback=50, horizon=7)
    plan = with_trained_sizes(args, sources).settings().plan
    assert (plan.lookback, plan.horizon) == (50, 7)


def test_the_judged_horizon_of_models_with_different_ones(finetuned):
    compare = ["small", f"tuned={finetuned.folder}"]
    sources = sources_of(*compare, tokenizer=None)
    args = with_trained_sizes(EvaluateArguments(data="sample", compare=compare), sources)
    assert horizon_remark(args, sources, None) == (
        "4 bars are judged, the shortest that a model was trained for; the models forecast small 24, tuned 4 bars by "
        "default; --horizon judges another number"
    )
    args = EvaluateArguments(data="sample", compare=compare, horizon=1)
    assert horizon_remark(args, sources, 1).startswith("1 bar is judged, as asked; the models forecast small 24, ")
    assert horizon_remark(args, sources[1:] * 2, 1) is None


def test_a_run_names_the_model_that_it_was_tuned_from(models, finetuned, tmp_path):
    shutil.copytree(models / "run", tmp_path / "tuned")
    record = tmp_path / "tuned" / "run.json"
    base, run, tuned = sources_of(models / "base", models / "run", tmp_path / "tuned")
    assert not is_tuned_from(tuned, base)
    record.write_text(json.dumps({"model": {"model": str(models / "base"), "from_scratch": False}}))
    assert is_tuned_from(tuned, base)
    assert not is_tuned_from(tuned, run)
    assert not is_tuned_from(base, tuned)
    record.write_text(json.dumps({"model": {"model": "small", "repository": "NeoQuasar/Kronos-small"}}))
    assert is_tuned_from(tuned, sources_of("small", "mini", tokenizer=None)[0])
    assert not is_tuned_from(tuned, sources_of("small", "mini", tokenizer=None)[1])
    whole, stage = sources_of(f"whole={finetuned.folder}", f"stage={finetuned.folder / 'predictor'}", tokenizer=None)
    assert not is_tuned_from(whole, stage)  # stages of one run
    record.write_text(json.dumps({"model": {"model": str(finetuned.folder), "from_scratch": False}}))
    assert is_tuned_from(tuned, whole)
    assert is_tuned_from(tuned, stage)


def test_the_headline_of_a_run_and_its_start(csv, out, models, capsys, tmp_path):
    """The horizon that is judged is told before the work."""
    shutil.copytree(models / "run", tmp_path / "tuned")
    record = {"model": {"model": str(models / "base")}, "data": {"predict_window": 8}}
    (tmp_path / "tuned" / "run.json").write_text(json.dumps(record))
    words = ["--data", csv, "--tokenizer", models / "tokenizer", "--output_dir", out, *SMALL, "--max_origins", "32"]
    assert evaluate(*words, "--compare", models / "base", tmp_path / "tuned") == 0
    text, read = capsys.readouterr().out, json.loads((out / "evaluation.json").read_text())
    assert read["models"][1]["tuned_from"] == "base"
    assert "tuned_from" not in read["models"][0]
    assert read["headline"].startswith("fine-tuning helped: close ")
    assert read["headline"] in text.splitlines()
    line = "horizon     4 bars are judged, as asked; the models forecast base 24, tuned 8 bars by default; "
    assert text.index(line) < text.index("32 origins") < text.index(read["headline"])


def test_an_evaluation_of_a_run_needs_no_other_option(finetuned, out, capsys):
    words = ["--data", finetuned.data, "--model", finetuned.folder, "--output_dir", out, "--max_origins", 6]
    assert evaluate(*words, "--num_paths", 5) == 0
    read = json.loads((out / "evaluation.json").read_text())
    assert (read["settings"]["lookback"], read["settings"]["horizon"]) == (20, 4)
    assert (read["settings"]["T"], read["settings"]["top_p"]) == (1.0, 1.0)
    assert read["models"][0] | {"name": "run", "lookback": 20} == read["models"][0]
    capsys.readouterr()
    assert evaluate(*words, "--num_paths", 5, "--lookback", 30, "--horizon", 6, "--overwrite") == 0
    printed = capsys.readouterr().out
    assert "WARNING     lookback=30 differs from the 20 bars of context" in printed
    assert "WARNING     horizon=6 exceeds the 4 bars ahead that" in printed
    assert "calibrated on the validation split (6 origins, too few to rely on)" in printed


def test_too_many_paths_for_the_memory():
    with pytest.raises(
        ValueError, match=r"num_paths=1000 at 100 origins .* need about 0.1 GiB, .*; use at most 325 paths"
    ):
        check_space(1000, 24, 100, free=100_000_000)
    check_space(325, 24, 100, free=100_000_000)


def test_bad_settings(csv, out, models, capsys):
    start = [
        "--data",
        csv,
        "--model",
        models / "base",
        "--tokenizer",
        models / "tokenizer",
        "--output_dir",
        out,
        *SMALL,
    ]
    for words, message in (
        (["--horizon", 0], "horizon=0 is below 1; use 1 or more"),
        (["--horizon", -2], "horizon=-2 is below 1"),
        (["--lookback", 1], "lookback=1 is below 2; use 2"),
        (["--lookback", 5000], "lookback=5000 and horizon=4 need 5004 bars, but btc has 900"),
        (["--lookback", 200], "the test split of btc has 135 bars: too few for one origin"),
        (["--step", 0], "step=0 is below 1"),
        (["--num_paths", 0], "num_paths=0 is below 1"),
        (["--num_paths", 10**9], "paths, or lower max_origins"),
        (["--max_origins", 0], "max_origins=0 is below 1"),
        (["--batch_size", 0], "batch_size=0 is below 1"),
        (["--seed", -1], "seed=-1 is negative"),
        (["--T", -1], "T=-1.0 must be 0 (greedy) or more"),
        (["--top_p", 2], "top_p=2.0 is outside (0, 1]"),
        (["--fee_bps", -1], "fee_bps=-1.0 must be basis points"),
        (["--split_ratios", 0.9, 0.2, 0.1], "must be three shares with sum 1"),
        (["--split_dates", "2020-01-10", "2020-01-12", "--split_ratios", 0.5, 0.3, 0.2], "exclude each other"),
        (["--policy", "guess"], "policy='guess' is not known"),
        (["--preset", "optimized"], "--preset is not a setting of this command"),
        (["--hrizon", 3], "--hrizon is not a setting; did you mean horizon?"),
        (["--compare", models / "base", models / "run"], "--model and --compare exclude each other"),
        (["--model", models / "none"], "none does not exist; pass a run folder"),
        (["--model", models / "tokenizer"], "contains a tokenizer, not a predictor"),
        (["--model", models / "six"], "the model has s1_bits=6, but the tokenizer has s1_bits=5"),
        (["--output_dir", csv], "btc.csv is a file; choose a folder"),
        (["--data", "none.csv"], "none.csv does not exist"),
    ):
        refused(capsys, [*start, *words], message)
        assert not out.exists(), words
    refused(capsys, ["--model", "x"], "data is not set; pass --data FILE")
    refused(capsys, ["--data", csv], "model is not set; pass --model RUN, or --compare")
    refused(capsys, ["--data", csv, "--model", models / "base"], "has no record of its tokenizer; pass --tokenizer DIR")
    named = [f"drift={models / 'base'}", models / "run"]
    refused(
        capsys, ["--data", csv, "--tokenizer", "t", "--compare", *named], "a model has the name of a baseline, 'drift'"
    )


def test_bad_candles(csv, out, models, capsys, tmp_path):
    start = ["--model", models / "base", "--tokenizer", models / "tokenizer", "--output_dir", out, *SMALL]
    table = simulate_candles(900, seed=3)
    holes = table.copy()
    holes.loc[850, "close"] = float("nan")
    flat = table.copy()
    flat[["open", "high", "low", "close"]] = 7.0
    quiet = table.copy()
    quiet.loc[600:, ["open", "high", "low", "close"]] = 7.0
    other = simulate_candles(900, seed=4, step="30min")
    for name, message, found in (
        ("nan", "value missing or not a number in 1 row", holes),
        ("flat", "the close is constant at 7", flat),
        ("quiet", "the price is constant in the context of all", quiet),
    ):
        found.to_csv(tmp_path / f"{name}.csv", index=False)
        refused(capsys, ["--data", tmp_path / f"{name}.csv", *start], message)
    folder = tmp_path / "mixed"
    folder.mkdir()
    table.to_csv(folder / "a.csv", index=False)
    other.to_csv(folder / "b.csv", index=False)
    refused(capsys, ["--data", folder, *start], "time steps are mixed (b 1800 s, a 3600 s)")
    assert not out.exists()


def test_help_lists_every_setting(capsys):
    with pytest.raises(SystemExit) as done:
        evaluate("--help")
    assert done.value.code == 0
    text = capsys.readouterr().out
    for name in ("--compare", "--lookback", "--max_origins", "--embargo", "--fee_bps", "--config"):
        assert name in text
