"""A search over a formula: what it proposes, prunes, repeats, refuses, and how it goes on after it was broken off."""

import json
import shutil
import statistics
import subprocess
import sys
from functools import cache, partial
from pathlib import Path

import alembic.util
import pytest
import sqlalchemy
import yaml
from optuna.importance import FanovaImportanceEvaluator

from ft_core.io.console import lines_to
from ft_core.runs import clearing
from ft_core.sweep import importance, repeats, samplers, search as search_module, trial
from ft_core.sweep.engines import local
from ft_core.sweep.search import run_sweep
from ft_core.training.interruption import StoppedBySignal
from tests.sweep_stage import Died, toy_stage

RATE = "learning_rate: {low: 1e-5, high: 1e-1, log: true}\n"
USUAL = ["--trials", 6, "--prune_startup", 2]


def search(folder, *words, space=RATE, output="sweep"):
    """Searches, and returns the record and the lines said."""
    (folder / "space.yaml").write_text(space)
    base = ["--space", folder / "space.yaml", "--output_dir", folder / output]
    said = []
    with lines_to(said.append):
        run_sweep(toy_stage, [str(word) for word in (*base, *words)], "toy sweep")
    return json.loads((folder / output / "sweep.json").read_text()), said


@pytest.fixture
def sweep(tmp_path):
    """[`search`] in a folder of the test."""
    return partial(search, tmp_path)


@pytest.fixture(scope="module", autouse=True)
def _small():
    """TPE begins after four random trials; forests are small; scripts that make a study's tables are compiled once;
    no study waits for the disk, and no garbage of a model is collected."""

    def without_waiting(connection, record):
        connection.execute("PRAGMA synchronous = OFF")

    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "connect", without_waiting)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samplers, "RANDOM_TRIALS", 4)
        patch.setattr(importance, "FanovaImportanceEvaluator", partial(FanovaImportanceEvaluator, n_trees=8))
        patch.setattr(alembic.util, "load_python_file", cache(alembic.util.load_python_file))
        patch.setattr(trial, "free_memory", lambda: None)
        yield
    sqlalchemy.event.remove(sqlalchemy.engine.Engine, "connect", without_waiting)


@pytest.fixture(autouse=True)
def _no_chart(request, monkeypatch):
    """The chart of the importances is drawn by the test of the grid alone."""
    if request.function is not test_a_grid_covers_all_points_once:
        monkeypatch.setattr(search_module, "plot_importance", lambda *arguments: None)


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """The record of a search of six trials, two of them by TPE, that nothing disturbed."""
    return search(tmp_path_factory.mktemp("usual"), *USUAL)[0]


@pytest.fixture(scope="module")
def _two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    search(folder, "--trials", 2)
    return folder / "sweep"


@pytest.fixture
def two(_two, tmp_path):
    """A search of two trials that has ended, in the folder of the test."""
    return shutil.copytree(_two, tmp_path / "sweep")


def outcomes(record):
    return [(one["trial"], one["state"], one["objective"], one["values"]) for one in record["trials"]]


def steps_of(tmp_path, number):
    return (tmp_path / "sweep" / "trials" / f"{number:04d}" / "steps.txt").read_text().split()


def test_a_grid_covers_all_points_once(sweep, tmp_path):
    space = "learning_rate: [1e-4, 1e-3]\nlayers: {low: 2, high: 4, step: 2}\n"
    record, said = sweep("--method", "grid", "--pruner", "none", space=space)
    found = [tuple(one["values"].values()) for one in record["trials"]]
    assert found == [(1e-4, 2), (1e-4, 4), (1e-3, 2), (1e-3, 4)]
    assert record["best"]["values"]["learning_rate"] == 1e-3
    assert "trials      4 finished" in said
    assert set(record["importance"]["values"]) == {"learning_rate", "layers"}
    assert max(record["importance"]["values"], key=record["importance"]["values"].get) == "learning_rate"


def test_no_trial_of_a_grid_is_above_its_range(sweep, tmp_path):
    space = "weight_decay: {low: 0.0, high: 0.3, step: 0.1}\n"
    record, _ = sweep("--method", "grid", "--pruner", "none", "--greater_is_better", "true", space=space)
    assert [one["values"]["weight_decay"] for one in record["trials"]] == [0.0, 0.1, 0.2, 0.3]
    assert yaml.safe_load((tmp_path / "sweep" / "best.yaml").read_text())["weight_decay"] == 0.3


def test_the_same_seed_proposes_the_same(sweep, usual):
    assert outcomes(sweep(*USUAL)[0]) == outcomes(usual)
    other, _ = sweep("--trials", 2, "--sampler_seed", 7, output="other")
    assert outcomes(other)[0] != outcomes(usual)[0]
    assert len({one["values"]["learning_rate"] for one in usual["trials"]}) == 6
    assert usual["best"]["objective"] == min(one["objective"] for one in usual["trials"] if one["objective"])


def test_tpe_learns(sweep):
    """Proposals by chance are a decade off in the median, which is an objective of 1."""
    record, _ = sweep("--trials", 18, "--pruner", "none")
    found = [one["objective"] for one in record["trials"]]
    assert statistics.median(found[12:]) < 0.5


@pytest.mark.parametrize("how", ["die", "stop"])
def test_a_search_that_was_broken_off_ends_like_a_whole_one(sweep, tmp_path, usual, how):
    """Broken off twice, after different evaluations: the running trials go on, the finished are not repeated."""
    words = [*USUAL, "--die_at", tmp_path / "die"]
    (tmp_path / "die").write_text(f"{how} 0002 3\n{how} 0005 1")
    for resume in ([], ["--resume"]):
        with pytest.raises(Died if how == "die" else StoppedBySignal):
            sweep(*words, *resume)
    record, said = sweep(*words, "--resume")
    assert outcomes(record) == outcomes(usual)
    assert any(line.startswith("resumed     5 of 6 trials are finished") for line in said)
    assert steps_of(tmp_path, 2) == ["1", "2", "3", "3", "4"]  # from its checkpoint
    assert steps_of(tmp_path, 1) == ["1", "2", "3", "4"]
    again, said = sweep(*words, "--resume")
    assert outcomes(again) == outcomes(usual)
    assert not any(line.startswith("trial ") for line in said)


@pytest.mark.parametrize("how", ["die", "stop"])
def test_a_search_goes_on_on_another_machine(sweep, tmp_path, usual, monkeypatch, how):
    """The interrupted trial is taken up where nobody can tell whether the process that had it still runs."""
    words = [*USUAL, "--die_at", tmp_path / "die"]
    (tmp_path / "die").write_text(f"{how} 0002 3")
    with pytest.raises(Died if how == "die" else StoppedBySignal):
        sweep(*words)
    (tmp_path / "sweep" / ".lock").unlink(missing_ok=True)
    monkeypatch.setattr("socket.gethostname", lambda: "another-machine")
    record, _ = sweep(*words, "--resume")
    assert outcomes(record) == outcomes(usual)
    assert steps_of(tmp_path, 2) == ["1", "2", "3", "3", "4"]


def test_no_best_trial_is_named_while_one_is_not_over(sweep, monkeypatch):
    monkeypatch.setattr(local, "run_trials", lambda study, plan: study.ask())
    with pytest.raises(ValueError, match="trial 0 is not finished, and no process works on it; continue with --resume"):
        sweep("--trials", 1)


def test_a_search_goes_on_with_more_trials(sweep, usual):
    sweep("--trials", 3, *USUAL[2:])
    assert outcomes(sweep(*USUAL, "--resume")[0]) == outcomes(usual)


def test_a_trial_that_takes_its_process_down_twice_is_failed(sweep, tmp_path):
    words = ["--trials", 3, "--die_at", tmp_path / "die"]
    (tmp_path / "die").write_text("die 0001 2\n" * 2)
    for resume in ([], ["--resume"]):
        with pytest.raises(Died):
            sweep(*words, *resume)
    record, _ = sweep(*words, "--resume")
    # the first time it had come further than at its start: that one does not count
    assert [one["state"] for one in record["trials"]] == ["finished"] * 3
    (tmp_path / "die").write_text("die 0001 1\n" * 3)
    for resume in ([], ["--resume"]):
        with pytest.raises(Died):
            sweep(*words, *resume, output="other")
    record, _ = sweep(*words, "--resume", output="other")
    assert [one["state"] for one in record["trials"]] == ["finished", "failed", "finished"]
    assert "its process ended 2 times without progress" in record["trials"][1]["reason"]


@pytest.mark.parametrize("pruner", ["median", "halving"])
def test_bad_trials_are_pruned(sweep, tmp_path, pruner):
    record, said = sweep(*USUAL, "--pruner", pruner, "--keep_models", 2)
    pruned = [one for one in record["trials"] if one["state"] == "pruned"]
    finished = [one for one in record["trials"] if one["state"] == "finished"]
    assert pruned
    assert finished
    assert all(1 < one["evaluations"] < 4 for one in pruned)
    worst = max(one["best_evaluation"] for one in pruned)
    assert record["best"]["objective"] < worst
    folder = tmp_path / "sweep"
    assert not list(folder.glob("trials/*/checkpoint-*"))
    assert len(list(folder.glob("trials/*/model"))) == 2
    assert any("pruned after" in line for line in said)


def test_failed_trials_are_on_record_and_the_search_goes_on(sweep):
    space = "kind: [a, broken, nan, memory]\n"
    record, said = sweep("--method", "grid", space=space)
    assert [one["state"] for one in record["trials"]] == ["finished", "failed", "failed", "failed"]
    reasons = [one["reason"] for one in record["trials"]]
    assert reasons[1] == "kind=broken cannot be trained; choose a or b"
    assert reasons[2].startswith("no evaluation of the run gave a finite eval_loss")
    assert reasons[3] == "RuntimeError: CUDA out of memory"
    assert "trials      1 finished, 3 failed" in said


def test_many_failures_in_a_row_stop_the_search(sweep):
    words = ["--trials", 5, "--most_failures", 2, "--kind", "broken"]
    with pytest.raises(ValueError, match=r"2 trials in a row have failed .*kind=broken cannot be trained.*--resume"):
        sweep(*words)
    with pytest.raises(ValueError, match=r"2 trials in a row have failed"):  # who goes on has seen those before
        sweep(*words, "--resume")
    with pytest.raises(ValueError, match="none of 5 trials succeeded, so there is no best trial"):
        sweep(*words, "--resume", "--most_failures", 99)


def status_of(tmp_path):
    return json.loads((tmp_path / "sweep" / "sweep.json").read_text())["status"]


def test_the_record_says_how_a_search_ended(sweep, tmp_path):
    with pytest.raises(ValueError, match="none of 2 trials succeeded, so there is no best trial"):
        sweep("--trials", 2, "--kind", "broken")
    assert status_of(tmp_path) == "failed"
    with pytest.raises(ValueError, match="2 trials in a row have failed"):
        sweep("--trials", 3, "--kind", "broken", "--most_failures", 2, "--overwrite")
    assert status_of(tmp_path) == "failed"
    words = ["--trials", 2, "--die_at", tmp_path / "die"]
    (tmp_path / "die").write_text("stop 0000 3")
    with pytest.raises(StoppedBySignal):
        sweep(*words, "--overwrite")
    assert status_of(tmp_path) == "interrupted: SIGTERM"
    assert sweep(*words, "--resume")[0]["status"] == "finished"


def test_another_search_in_the_folder_is_refused(sweep, two, tmp_path):
    before = (tmp_path / "sweep" / "sweep.json").read_bytes()
    for words, space, message in (
        ([], "learning_rate: {low: 1e-5, high: 1e-2, log: true}\n", r"space.learning_rate: .*0\.1.* -> .*0\.01"),
        ([], RATE + "layers: [1, 2]\n", r"space.layers: not set -> \[1, 2\]"),
        (["--weight_decay", 0.1], RATE, r"settings.weight_decay: not set -> 0\.1"),
        (["--preset", "strong"], RATE, r"settings.weight_decay: not set -> 0\.5"),
        (["--sampler_seed", 1], RATE, "sampler_seed: 42 -> 1"),
        (["--pruner", "none"], RATE, "pruner.name: median -> none"),
        (["--greater_is_better", "true"], RATE, "objective.direction: minimize -> maximize"),
    ):
        refusal = f"cannot continue with another space or other settings .*{message}"
        with pytest.raises(ValueError, match=refusal) as error:
            sweep("--trials", 2, "--resume", *words, space=space)
        assert "\n" not in str(error.value)
        assert (tmp_path / "sweep" / "sweep.json").read_bytes() == before


def test_other_weights_in_the_same_folder_are_refused(sweep, tmp_path):
    """A tokenizer that was trained again, and one of the models that are searched over."""
    places = [tmp_path / "tokenizer" / "best_model", tmp_path / "one", tmp_path / "other"]
    for place in places:
        place.mkdir(parents=True)
        (place / "model.safetensors").write_bytes(b"weights")
    words = ["--trials", 2, "--tokenizer", tmp_path / "tokenizer"]
    space = f"model: [{places[1]}, {places[2]}]\n"
    sweep(*words, space=space)
    sweep(*words, "--resume", space=space)
    for place in (places[0], places[2]):
        (place / "model.safetensors").write_bytes(b"others")
        with pytest.raises(ValueError, match=r"cannot continue with another space or other settings \(weights\..* -> "):
            sweep(*words, "--resume", space=space)
        (place / "model.safetensors").write_bytes(b"weights")


def test_folders(sweep, two, tmp_path):
    with pytest.raises(ValueError, match="is not empty; pass --resume to continue the sweep or --overwrite"):
        sweep("--trials", 2)
    with pytest.raises(ValueError, match="--resume and --overwrite exclude each other"):
        sweep("--resume", "--overwrite")
    record, _ = sweep("--trials", 3, "--overwrite", "--sampler_seed", 3)
    assert len(record["trials"]) == 3
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"is not a sweep folder \(no sweep.json\)"):
        sweep("--overwrite", output="other")
    assert (tmp_path / "other" / "thesis.txt").read_text() == "mine"
    (tmp_path / "sweep" / "sweep.json").write_text("{")
    with pytest.raises(ValueError, match=r"sweep.json is not valid JSON"):
        sweep("--trials", 3, "--resume")


def test_a_sweep_killed_while_it_overwrites_does_not_go_on_with_the_old_one(sweep, tmp_path, monkeypatch):
    sweep("--trials", 3, "--sampler_seed", 3)

    def die(path):
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(clearing, "remove_tree", die)
        with pytest.raises(Died):
            sweep("--trials", 2, "--overwrite")
    record, lines = sweep("--trials", 2, "--resume")
    assert [trial["trial"] for trial in record["trials"]] == [0, 1]
    assert not any(line.startswith("resumed") for line in lines)
    assert steps_of(tmp_path, 0) == ["1", "2", "3", "4"]
    assert not (tmp_path / "sweep" / "trials" / "0002").exists()


def test_a_sweep_does_not_lie_inside_a_run(sweep, tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ValueError, match="is inside final of the run"):
        sweep("--trials", 2, output="final/sweep")
    assert not (tmp_path / "final").exists()


@pytest.mark.parametrize("content", [b"garbage" * 100, b"SQLite format 3\0" + b"x" * 4096])
def test_a_damaged_study_is_refused(sweep, two, tmp_path, content):
    path = tmp_path / "sweep" / "study.db"
    before = (tmp_path / "sweep" / "sweep.json").read_bytes()
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"study.db cannot be read \(.*\); restore it, or start over") as error:
        sweep("--trials", 3, "--resume")
    assert "\n" not in str(error.value)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"study.db has 0 finished trials but the record lists 2; restore the file"):
        sweep("--trials", 3, "--resume")
    path.unlink()
    with pytest.raises(ValueError, match=r"study.db is missing, but it holds the trials; restore it, or start over"):
        sweep("--trials", 3, "--resume")
    assert not path.exists()
    assert (tmp_path / "sweep" / "sweep.json").read_bytes() == before
    assert len(sweep("--trials", 3, "--overwrite")[0]["trials"]) == 3


def test_the_files_are_written_after_each_trial(sweep, tmp_path, monkeypatch):
    seen = []

    def look(study, plan, number):
        record = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
        best = (tmp_path / "sweep" / "best.yaml").read_text().split("\n")[0]
        rows = (tmp_path / "sweep" / "trials.csv").read_text().splitlines()
        seen.append(
            (record["status"], len(record["trials"]), len(rows) - 1, f"trial {record['best']['trial']}," in best)
        )
        assert record["identity"]["stage"] == "toy train"
        return "progress"

    monkeypatch.setattr(local, "progress_line", look)
    sweep("--trials", 3)
    assert seen == [("running", number, number, True) for number in (1, 2, 3)]


def test_best_settings_against_default_ones_over_seeds(sweep, tmp_path):
    record, said = sweep("--trials", 4, "--repeat_best", 3, "--weight_decay", 0.25)
    entries = record["repeats"]
    assert [(one["kind"], one["seed"]) for one in entries] == [
        (kind, seed) for seed in (43, 44, 45) for kind in ("best", "default")
    ]
    best = record["best"]["objective"]
    assert record["gain"]["best"]["mean"] == pytest.approx(best + 0.002)
    assert record["gain"]["default"]["mean"] == pytest.approx(1 + 0.25 + 0.002)  # the rate of 1e-2 is a decade away
    assert record["gain"]["gain"]["mean"] == pytest.approx(1.25 - best)
    assert any(line.startswith("gain") and "better than the default settings" in line for line in said)
    assert not list((tmp_path / "sweep").glob("repeats/*/checkpoint-*"))
    assert not list((tmp_path / "sweep").glob("repeats/*/model"))
    written = yaml.safe_load((tmp_path / "sweep" / "best.yaml").read_text())
    assert written == {"weight_decay": 0.25, "learning_rate": record["best"]["values"]["learning_rate"]}


def test_no_file_holds_the_token(sweep, tmp_path):
    token = "hf_" + "Secret" * 5
    record, _ = sweep("--trials", 2, "--repeat_best", 2, "--hub_token", token)
    assert "hub_token" not in record["identity"]["settings"]
    files = [path for path in (tmp_path / "sweep").rglob("*") if path.is_file()]
    assert {"best.yaml", "sweep.json", "study.db", "trials.csv"} <= {path.name for path in files}
    assert not [path for path in files if token.encode() in path.read_bytes()]
    other, _ = sweep("--trials", 2, "--repeat_best", 2, "--hub_token", token[::-1], "--resume")  # no other search
    assert outcomes(other) == outcomes(record)


def test_the_gain_of_a_trial_that_is_no_longer_the_best(sweep, tmp_path):
    words = ["--pruner", "none", "--trials"]
    first, _ = sweep(*words, 2, "--repeat_best", 2)
    (stale,) = {path.name[:9] for path in (tmp_path / "sweep" / "repeats").glob("best-*")}
    second, _ = sweep(*words, 16, "--resume")
    assert second["best"]["trial"] != first["best"]["trial"]
    assert "gain" not in second
    assert {entry["kind"] for entry in second["repeats"]} == {"default"}
    assert not list((tmp_path / "sweep" / "repeats").glob(f"{stale}*"))
    third, _ = sweep(*words, 16, "--resume", "--repeat_best", 2)
    assert third["gain"]["best"]["mean"] == pytest.approx(third["best"]["objective"] + 0.0015)
    assert len(third["repeats"]) == 4


def test_repeats_that_failed_are_tried_again(sweep, monkeypatch):
    failing = [OSError("Stale file handle")]
    real = repeats.objective_of

    def objective_of(*words):
        if failing:
            raise failing.pop()
        return real(*words)

    monkeypatch.setattr(repeats, "objective_of", objective_of)
    words = ["--trials", 2, "--repeat_best", 2]
    first, said = sweep(*words)
    assert [entry["reason"] for entry in first["repeats"]] == ["OSError: Stale file handle", None, None, None]
    assert any("fewer than two seeds finished" in line for line in said)
    second, _ = sweep(*words, "--resume")
    assert [entry["reason"] for entry in second["repeats"]] == [None] * 4
    assert second["gain"]["gain"]["pairs"] == 2


@pytest.mark.thorough
@pytest.mark.distributed
def test_a_killed_process_and_two_workers(tmp_path):
    """A worker is killed in a trial and another takes it over; then the whole search is killed and goes on."""
    (tmp_path / "space.yaml").write_text(RATE)
    (tmp_path / "die").write_text("kill 0001 2\n")
    code = (
        f"import sys; sys.path.append({str(Path(__file__).parents[3])!r})\n"  # for `tests`
        "from ft_core.sweep.search import run_sweep; from tests.sweep_stage import toy_stage\n"
        "if __name__ == '__main__': run_sweep(toy_stage, sys.argv[1:], 'toy sweep')"
    )
    (tmp_path / "main.py").write_text(code)
    words = ["--space", "space.yaml", "--output_dir", "sweep", "--die_at", "die", "--pruner", "none", "--trials", "4"]

    def start(*more):
        return subprocess.run(
            [sys.executable, "main.py", *words, *more], cwd=tmp_path, capture_output=True, text=True, timeout=300
        )

    done = start("--workers", "2")
    assert done.returncode == 0, done.stderr
    assert "killed by SIGKILL; another worker resumes its trial from the last checkpoint" in done.stdout
    trials = json.loads((tmp_path / "sweep" / "sweep.json").read_text())["trials"]
    assert [(one["trial"], one["state"]) for one in trials] == [(n, "finished") for n in range(4)]
    assert steps_of(tmp_path, 1) == ["1", "2", "2", "3", "4"]
    (tmp_path / "die").write_text("kill 0004 3\n")
    words[-1] = "5"
    assert [start("--resume").returncode for _ in range(2)] == [-9, 0]
    assert len(json.loads((tmp_path / "sweep" / "sweep.json").read_text())["trials"]) == 5
    assert steps_of(tmp_path, 4) == ["1", "2", "3", "3", "4"]
