"""`kronos-ft sweep`: whole searches over tiny runs, their pruning, failures and files."""

import copy
import functools
import json

import alembic.util
import pytest
from optuna.samplers import GridSampler

from ft_core.checkpoints.listing import list_checkpoints
from ft_core.sweep.plan import parse_sweep
from ft_core.sweep.results import differences
from kronos_ft.cli.main import main
from kronos_ft.data.sources import simulate_candles
from kronos_ft.runs.sweep import predictor_stage, tokenizer_stage
from tests.untrusted import refusal

SMALL = [
    "--model", "tiny", "--from_scratch", "--lookback_window", "20", "--predict_window", "4", "--max_steps", "4",
    "--eval_strategy", "steps", "--eval_steps", "2", "--save_strategy", "steps", "--save_steps", "2",
    "--logging_steps", "1", "--per_device_train_batch_size", "8",
]  # fmt: skip
SPACE = "learning_rate: {low: 1e-4, high: 1e-2, log: true}\nweight_decay: [0.0, 0.1]\naugment_noise: [true, false]\n"


@pytest.fixture(scope="module", autouse=True)
def _scripts_compiled_once():
    """Alembic compiles the scripts that make a study's tables each time a study is opened."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alembic.util, "load_python_file", functools.cache(alembic.util.load_python_file))
        yield


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


def test_a_search_and_what_it_leaves(sweep, capsys, tmp_path):
    code, folder = sweep("--trials", 3, "--keep_models", 2, "--pruner", "none")
    out = capsys.readouterr().out
    assert code == 0, out
    record = record_of(folder)
    assert record["status"] == "finished"
    assert [trial["state"] for trial in record["trials"]] == ["finished"] * 3
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
    assert len((folder / "trials.csv").read_text().splitlines()) == 4
    # the test split: the best trial alone, at the end
    assert record["test"]["trial"] == best["trial"]
    assert record["test"]["figures"]["recon_all"] > 0
    for trial in record["trials"]:
        assert "test" not in json.loads((folder / trial["folder"] / "training_metrics.json").read_text())
        assert json.loads((folder / trial["folder"] / "run.json").read_text())["windows"]["test"] == 0
    assert "selecting the best of 3 trials makes this value too optimistic" in out
    # the preset file trains the same run again
    words = ["tokenizer", "--config", str(folder / "best.yaml"), "--output_dir", str(tmp_path / "again")]
    assert main(words) == 0
    again = json.loads((tmp_path / "again" / "training_metrics.json").read_text())
    assert again["best"]["value"] == best["objective"]
    assert again["test"]["recon_all"] == pytest.approx(record["test"]["figures"]["recon_all"], rel=1e-6)


def test_a_predictor_with_pruning_and_a_trial_that_diverges(sweep, tiny_model, tmp_path, capsys):
    """A rate at which the loss is not finite fails that trial alone, and one that learns nothing is pruned."""
    tiny_model.save_pretrained(tmp_path / "tokenizer")
    words = ["sweep", "predictor", "--data", tmp_path / "btc.csv", "--space", tmp_path / "space.yaml", *SMALL]
    words += ["--tokenizer", tmp_path / "tokenizer", "--output_dir", tmp_path / "sweep", "--method", "grid"]
    words += ["--prune_startup", "1", "--max_steps", "6", "--max_grad_norm", "0", "--max_bad_steps", "2"]
    simulate_candles(600).to_csv(tmp_path / "btc.csv", index=False)
    (tmp_path / "space.yaml").write_text("learning_rate: [3e-3, 1e20, 1e-9]\n")
    assert main([str(word) for word in words]) == 0
    record = record_of(tmp_path / "sweep")
    assert [one["state"] for one in record["trials"]] == ["finished", "failed", "pruned"]
    assert "not finite" in record["trials"][1]["reason"]
    assert record["trials"][2]["evaluations"] == 2
    folder = tmp_path / "sweep" / "trials" / "0002"
    assert json.loads((folder / "run.json").read_text())["status"] == "pruned"
    assert not list_checkpoints(folder)
    assert record["test"]["trial"] == 0
    assert record["test"]["figures"]["accuracy_s1"] >= 0


def test_what_is_refused(sweep, tmp_path, capsys, monkeypatch):
    sweep("--trials", 1, "--max_steps", 2)
    base = ["sweep", "tokenizer", "--data", tmp_path / "btc.csv", "--space", tmp_path / "space.yaml", *SMALL]
    for text, message in (
        ("lerning_rate: [1e-3]", "space.yaml:1: 'lerning_rate' is not a setting to search over; did you mean learning"),
        ("lookback_window: [10, 20]", "lookback_window cannot be searched over: all trials must use the same"),
        ("pct_start: [0.1, 7]", "space.yaml:1: pct_start=7.0 is refused: pct_start=7.0"),
    ):
        (tmp_path / "space.yaml").write_text(text)
        assert message in refusal(capsys, main, [*base, "--output_dir", tmp_path / "new"])
        assert not (tmp_path / "new").exists()
    (tmp_path / "space.yaml").write_text("weight_decay: [0.0, 0.1]")
    missing = [*base, "--output_dir", tmp_path / "new", "--data", tmp_path / "none.csv"]
    assert "none.csv does not exist" in refusal(capsys, main, missing)
    assert not (tmp_path / "new").exists()
    assert "did you mean tokenizer?" in refusal(capsys, main, ["sweep", "tokeniser"])
    (tmp_path / "space.yaml").write_text(SPACE)
    simulate_candles(600, seed=5).to_csv(tmp_path / "btc.csv", index=False)
    line = refusal(
        capsys, main, [*base, "--max_steps", 2, "--trials", 1, "--output_dir", tmp_path / "sweep", "--resume"]
    )
    assert "data.digest: " in line
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "needs the package optuna; pip install 'kronos-ft[sweep]'" in refusal(capsys, main, ["sweep", "predictor"])


@pytest.fixture
def plan(tmp_path):
    """A function that plans a search over a space without reading any data."""

    def make(stage, space, *words):
        (tmp_path / "space.yaml").write_text(space)
        return parse_sweep(stage, ["--data", "sample", "--space", str(tmp_path / "space.yaml"), *words], "sweep")

    return make


@pytest.mark.parametrize(
    ("stage", "objective", "direction"),
    [
        (predictor_stage(), "accuracy_s1", "maximize"),
        (predictor_stage(), "eval_accuracy_s2", "maximize"),
        (predictor_stage(), "ce_s1", "minimize"),
        (tokenizer_stage(), "code_usage_s1", "maximize"),
        (tokenizer_stage(), "eval_code_perplexity_s2", "maximize"),
        (tokenizer_stage(), "recon_pre", "minimize"),
    ],
)
def test_the_direction_of_an_objective(plan, stage, objective, direction):
    made = plan(stage, SPACE, "--objective", objective)
    assert made.direction == direction
    assert made.settings("x", {})[-1].greater_is_better is (direction == "maximize")


def test_models_with_tokenizers_of_their_own_are_not_compared(plan):
    refused = r"space.yaml:1: model cannot be searched over: mini is measured by tokens of 2k but small by tokens of "
    with pytest.raises(ValueError, match=refused + r"base; pass --tokenizer for all trials"):
        plan(predictor_stage(), "model: [mini, small]\n")
    assert plan(predictor_stage(), "model: [small, base]\n").trials == 20
    assert plan(predictor_stage(), "model: [mini, small]\n", "--tokenizer", "2k").trials == 20
    only = "model: [mini]\n"
    assert plan(predictor_stage(), only).trials == 20
    with pytest.raises(ValueError, match="the default is measured by tokens of base but mini by tokens of 2k"):
        plan(predictor_stage(), only, "--repeat_best", "2")


@pytest.mark.parametrize("stage", [tokenizer_stage(), predictor_stage()])
def test_presets_of_kronos_are_compared(plan, stage):
    """They differ in nothing that decides what a trial is judged by, except for `cpu`, which is a size of its own."""
    presets = [name for name in stage.presets if name != "cpu"]
    space = plan(stage, f"preset: [{', '.join(presets)}]\n", "--repeat_best", "2").space
    assert space[0].choices == tuple(presets)
    with pytest.raises(ValueError, match=r"preset cannot be searched over: eval_strategy is .* with cpu"):
        plan(stage, "preset: [baseline, cpu]\n")


def test_a_search_from_before_the_rate_of_a_preset_changed_is_not_resumed(plan):
    """Its record holds one rate for all widths."""
    now = plan(tokenizer_stage(), "weight_decay: [0.0, 0.1]\n", "--preset", "best").identity("digest")
    before = now | {"settings": now["settings"] | {"learning_rate": 0.01}}
    assert differences(before, now) == ["settings.learning_rate: 0.01 -> 0.01 at width 32"]


def test_the_stock_search_of_a_trainer(make_trainer, tiny_model):
    """transformers' own `hyperparameter_search`, for those who call it from Python."""
    trainer = make_trainer(overwrite=True, max_steps=4, eval_steps=2, save_steps=2)
    trainer.model_init = lambda trial=None: copy.deepcopy(tiny_model)
    best = trainer.hyperparameter_search(
        hp_space=lambda trial: {"learning_rate": trial.suggest_categorical("learning_rate", [1e-3, 1e-9])},
        compute_objective=lambda metrics: metrics["eval_recon_all"],
        n_trials=2,
        direction="minimize",
        backend="optuna",
        sampler=GridSampler({"learning_rate": [1e-9, 1e-3]}),
    )
    assert best.hyperparameters == {"learning_rate": 1e-3}
