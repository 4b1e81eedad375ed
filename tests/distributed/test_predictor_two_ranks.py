"""Predictor and quantile head on two CPU processes (gloo) against one: equal terms, gradients, weights; resuming.

Two symbols weighted evenly; the ranks share the cache of tokens.
"""

import json
from pathlib import Path

import pytest

from tests.distributed import predictor_two_ranks
from tests.forked import run_ranks

pytestmark = pytest.mark.distributed
STEPS = 21  # past the end of the first epoch of 17 steps
TERMS = ("loss", "ce_s1", "ce_s2", "perplexity_s1", "perplexity_s2", "accuracy_s1", "accuracy_s2")


def launch(processes, output, *words):
    """Trains in so many processes; returns what each of them wrote."""
    run_ranks(output.parent, processes, predictor_two_ranks.main, str(output), *words)
    return [json.loads(Path(f"{output}-rank{rank}.json").read_text()) for rank in range(processes)]


def steps_of(result, name):
    return [entry[name] for entry in result["history"] if name in entry]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """One process x 8 windows, two processes x 4."""
    folder = tmp_path_factory.mktemp("ranks")
    return launch(1, folder / "one", 8, STEPS, "true"), launch(2, folder / "two", 4, STEPS, "true")


@pytest.mark.fault(12)
def test_terms_gradients_and_weights_are_equal(results):
    (one,), two = results
    assert [result["world_size"] for result in two] == [2, 2]
    for result in two:
        assert result["tokens"] == one["tokens"]
        for name in (*TERMS, "grad_norm", "weight_norm"):
            assert len(steps_of(one, name)) == STEPS
            assert steps_of(result, name) == pytest.approx(steps_of(one, name), rel=1e-5), name
        for name, values in one["gradients"].items():
            scale = max(abs(value) for value in values)
            assert result["gradients"][name] == pytest.approx(values, rel=1e-5, abs=1e-5 * scale), name
    assert two[0]["weights"] == two[1]["weights"]
    for mine, other in zip(one["weights"], two[0]["weights"], strict=True):
        assert other == pytest.approx(mine, rel=1e-4, abs=1e-6)


def test_each_validation_window_counts_once(results):
    (one,), two = results
    assert one["validation_windows"] % 6
    for name in TERMS:
        for result in two:
            assert steps_of(result, f"eval_{name}") == pytest.approx(steps_of(one, f"eval_{name}"), rel=1e-5), name


def test_two_ranks_resume_within_an_epoch_with_sampled_coarse_tokens(tmp_path):
    whole = launch(2, tmp_path / "run", 4, STEPS, "sampled")
    (tmp_path / "run" / f"checkpoint-{STEPS}").rename(tmp_path / "aside")
    (tmp_path / "run" / "training_metrics.json").unlink()
    checkpoints = sorted(int(path.name.split("-")[1]) for path in (tmp_path / "run").glob("checkpoint-*"))
    assert 17 < checkpoints[-1] < STEPS, "the resume must begin inside an epoch"
    resumed = launch(2, tmp_path / "run", 4, STEPS, "sampled", True)
    assert [result["weights"] for result in resumed] == [result["weights"] for result in whole]


@pytest.mark.fault(12)
def test_a_quantile_head_and_its_body_are_equal(tmp_path):
    (one,), two = (launch(count, tmp_path / str(count), 8 // count, 6, "quantiles") for count in (1, 2))
    for result in two:
        for name in ("loss", "pinball_close", "pinball_volume", "coverage_90", "grad_norm"):
            assert steps_of(result, name) == pytest.approx(steps_of(one, name), rel=1e-5), name
        assert steps_of(result, "eval_loss") == pytest.approx(steps_of(one, "eval_loss"), rel=1e-5)
        for name, values in one["gradients"].items():
            scale = max(abs(value) for value in values)
            assert result["gradients"][name] == pytest.approx(values, rel=1e-4, abs=1e-5 * scale + 1e-9), name
    assert two[0]["weights"] == two[1]["weights"]
