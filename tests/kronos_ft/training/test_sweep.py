"""`kronos-ft sweep`: whole searches over tiny runs, their pruning, failures and files."""

import json

import pytest

from ft_core.checkpoints import list_checkpoints
from kronos_ft.cli import main
from kronos_ft.data.sources import simulate_candles

SMALL = [
    "--model", "tiny", "--from_scratch", "--lookback_window", "20", "--predict_window", "4", "--max_steps", "4",
    "--eval_strategy", "steps", "--eval_steps", "2", "--save_strategy", "steps", "--save_steps", "2",
    "--logging_steps", "1", "--per_device_train_batch_size", "8",
]  # fmt: skip
SPACE = "learning_rate: {low: 1e-4, high: 1e-2, log: true}\nweight_decay: [0.0, 0.1]\naugment_noise: [true, false]\n"


@pytest.fixture
def sweep(tmp_path):
    """A function that searches over tokenizer runs; returns the exit code and the folder."""
    simulate_candles(600).to_csv(tmp_path / "btc.csv", index=False)

    def run(*words, space=SPACE, output="sweep"):
        (tmp_path / "space.yaml").write_text(space)
        base = ["sweep", "tokenizer", "--data", tmp_path / "btc.csv", "--space", tmp_path / "space.yaml", *SMALL]
        command = [*base, "--output_dir", tmp_path / output, *words]
        return main([str(word) for word in command]), tmp_path / output

    return run


def record_of(folder):
    return json.loads((folder / "sweep.json").read_text())


def values_of(folder):
    return [trial["values"] for trial in record_of(folder)["trials"]]


def test_a_search_and_what_it_leaves(sweep, capsys, tmp_path):
    code, folder = sweep("--trials", 5, "--keep_models", 2, "--pruner", "none")
    out = capsys.readouterr().out
    assert code == 0, out
    record = record_of(folder)
    assert record["status"] == "finished"
    assert [trial["state"] for trial in record["trials"]] == ["finished"] * 5
    best = min(record["trials"], key=lambda trial: trial["objective"])
    assert record["best"]["trial"] == best["trial"]
    run = json.loads((folder / best["folder"] / "run.json").read_text())
    assert run["best_metric"] == best["objective"]
    assert run["arguments"]["learning_rate"] == best["values"]["learning_rate"]
    assert run["augmentation"]["augment_noise"] == best["values"]["augment_noise"]
    kept = {trial["trial"] for trial in record["trials"] if (folder / trial["folder"] / "best_model").is_dir()}
    ranked = sorted(record["trials"], key=lambda trial: trial["objective"])
    assert kept == {trial["trial"] for trial in ranked[:2]}
    assert not [path for trial in record["trials"] for path in list_checkpoints(folder / trial["folder"])]
    assert sum(record["importance"]["values"].values()) == pytest.approx(1)
    assert (folder / "importance.png").stat().st_size > 1000
    assert len((folder / "trials.csv").read_text().splitlines()) == 6
    # the test split: the best trial alone, at the end
    assert record["test"]["trial"] == best["trial"]
    assert record["test"]["figures"]["recon_all"] > 0
    for trial in record["trials"]:
        assert "test" not in json.loads((folder / trial["folder"] / "training_metrics.json").read_text())
        assert json.loads((folder / trial["folder"] / "run.json").read_text())["windows"]["test"] == 0
    assert "the best of 5 looks better than it is" in out
    # the preset file trains the same run again
    words = ["tokenizer", "--config", str(folder / "best.yaml"), "--output_dir", str(tmp_path / "again")]
    assert main(words) == 0
    again = json.loads((tmp_path / "again" / "training_metrics.json").read_text())
    assert again["best"]["value"] == best["objective"]
    assert again["test"]["recon_all"] == pytest.approx(record["test"]["figures"]["recon_all"], rel=1e-6)
