"""Two CPU processes (gloo) against one: the same terms, gradients and weights; every validation window once."""

import json
from pathlib import Path

import pytest

from ft_core.runs.processes import check_world_size
from tests.distributed import pin_two_ranks, two_ranks
from tests.forked import Forked, run_ranks

pytestmark = pytest.mark.distributed
MUON = {"optim": "muon", "muon_learning_rate": 3e-3, "ema_decay": 0.8}
STEPS = 24  # past the end of the first epoch of 19 steps, whose last windows do not fill a step


def launch(processes, output, *words):
    """Trains in so many processes; returns what each of them wrote."""
    run_ranks(output.parent, processes, two_ranks.main, str(output), *words)
    return [json.loads(Path(f"{output}-rank{rank}.json").read_text()) for rank in range(processes)]


def steps_of(result, name):
    return [entry[name] for entry in result["history"] if name in entry]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """One process x 8 windows, two processes x 4, with the weight of the entropies 0 (a statistic of a micro-batch)."""
    folder = tmp_path_factory.mktemp("ranks")
    return launch(1, folder / "one", 8, 0.0, STEPS), launch(2, folder / "two", 4, 0.0, STEPS)


@pytest.mark.fault(12)
def test_terms_are_equal(results):
    (one,), two = results
    assert [result["world_size"] for result in two] == [2, 2]
    for name in ("loss", "recon_pre", "recon_all", "commitment", "entropy_sample", "grad_norm", "weight_norm"):
        assert len(steps_of(one, name)) == STEPS
        for result in two:
            assert steps_of(result, name) == pytest.approx(steps_of(one, name), rel=1e-5), name


@pytest.mark.fault(12)
def test_gradients_are_equal(results):
    (one,), two = results
    for result in two:
        for name, values in one["gradients"].items():
            scale = max(abs(value) for value in values)
            assert result["gradients"][name] == pytest.approx(values, rel=1e-5, abs=1e-5 * scale), name


@pytest.mark.fault(12)
def test_weights_are_equal_and_the_ranks_do_not_drift(results):
    (one,), (first, second) = results
    assert first["weights"] == second["weights"]
    for mine, other in zip(one["weights"], first["weights"], strict=True):
        assert other == pytest.approx(mine, rel=1e-4, abs=1e-6)


def test_each_validation_window_counts_once(results):
    """23 windows in batches of 3 on two ranks leave a padded last batch."""
    (one,), two = results
    assert one["validation_windows"] % 6
    for name in ("eval_loss", "eval_recon_all", "eval_entropy_codebook", "eval_code_perplexity_s1"):
        for result in two:
            assert steps_of(result, name) == pytest.approx(steps_of(one, name), rel=1e-5), name


def test_two_ranks_resume_within_an_epoch(tmp_path):
    """Accelerate does not reach a custom sampler of several ranks after a resume; our trainer does.

    With Muon and averaged weights, whose states a resume restores too.
    """
    whole = launch(2, tmp_path / "run", 4, 0.05, 24, False, MUON)
    (tmp_path / "run" / "checkpoint-24").rename(tmp_path / "aside")
    checkpoints = sorted(int(path.name.split("-")[1]) for path in (tmp_path / "run").glob("checkpoint-*"))
    assert 19 < checkpoints[-1] < 24, "the resume must begin inside an epoch"
    resumed = launch(2, tmp_path / "run", 4, 0.05, 24, True, MUON)
    assert [result["weights"] for result in resumed] == [result["weights"] for result in whole]


@pytest.mark.thorough
def test_muon_and_averaged_weights_on_two_ranks(tmp_path):
    (one,) = launch(1, tmp_path / "one", 8, 0.0, 6, False, MUON)
    first, second = launch(2, tmp_path / "two", 4, 0.0, 6, False, MUON)
    assert first["weights"] == second["weights"]
    # Muon orthogonalises in bfloat16, which enlarges differences in the last bits of the gradients
    for name in ("loss", "recon_all", "eval_recon_all"):
        assert steps_of(first, name) == pytest.approx(steps_of(one, name), rel=1e-3), name


def test_processes_that_would_train_apart_are_refused(tmp_path):
    """Two processes started, none of them in a group: what `--multi_gpu` on a CPU did."""
    alone = Forked(tmp_path / "text", check_world_size, None, environment={"WORLD_SIZE": "2"})
    assert alone.end() == 1
    assert "the launcher started 2 processes but 1 train together" in alone.text()


def test_both_go_on_with_one_commit_of_a_branch_that_moves(tmp_path):
    run_ranks(tmp_path, 2, pin_two_ranks.main, str(tmp_path / "pin"))
    found = {(tmp_path / f"pin-rank{rank}.txt").read_text() for rank in range(2)}
    assert found == {f"me/model {'a' * 40}"}
