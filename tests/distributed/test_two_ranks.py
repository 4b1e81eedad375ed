"""Two CPU processes (gloo) against one: the same terms, gradients and weights; every validation window once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.distributed
SCRIPT = Path(__file__).with_name("two_ranks.py")
STEPS = 24  # past the end of the first epoch of 19 steps, whose last windows do not fill a step
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def launch(processes, *words):
    """Runs the script in so many processes; returns what each of them wrote."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    done = subprocess.run(
        [*command, str(SCRIPT), *(str(word) for word in words)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(Path(f"{words[0]}-rank{rank}.json").read_text()) for rank in range(processes)]


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
    """Accelerate does not reach a custom sampler of several ranks after a resume; our trainer does."""
    whole = launch(2, tmp_path / "run", 4, 0.05, 24)
    (tmp_path / "run" / "checkpoint-24").rename(tmp_path / "aside")
    checkpoints = sorted(int(path.name.split("-")[1]) for path in (tmp_path / "run").glob("checkpoint-*"))
    assert 19 < checkpoints[-1] < 24, "the resume must begin inside an epoch"
    resumed = launch(2, tmp_path / "run", 4, 0.05, 24, "resume")
    assert [result["weights"] for result in resumed] == [result["weights"] for result in whole]


def test_processes_that_would_train_apart_are_refused():
    """Two processes started, none of them in a group: what `--multi_gpu` on a CPU did."""
    code = "from ft_core.runs.processes import check_world_size; check_world_size(None)"
    environment = {**os.environ, "WORLD_SIZE": "2"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "the launcher started 2 processes but 1 train together" in done.stderr


def test_both_go_on_with_one_commit_of_a_branch_that_moves(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    script = SCRIPT.with_name("pin_two_ranks.py")
    subprocess.run([*command, str(script), str(tmp_path / "pin")], env=ENVIRONMENT, timeout=300, check=True)
    found = {(tmp_path / f"pin-rank{rank}.txt").read_text() for rank in range(2)}
    assert found == {f"me/model {'a' * 40}"}
