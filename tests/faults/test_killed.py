"""Killed at any moment and resumed, any number of times: the same end as without, bit for bit."""

import random
import shutil
import signal

import pytest

from ft_core.checkpoints.identity import recorded_id
from tests.fault_runs import Started, outcome, start
from tests.fault_sample import sample


@pytest.fixture(params=["tokenizer", "predictor", "mt5", pytest.param("quantiles", marks=pytest.mark.thorough)])
def kind(request):
    return request.param


@pytest.mark.thorough
def test_two_uninterrupted_runs_are_equal(kind, whole, make_run):
    run = make_run(kind)
    assert start(run).code == 0
    assert outcome(run) == whole(kind)[1]


@pytest.mark.fault(1)
def test_killed_runs_end_like_whole_ones(kind, whole, whole_ended, make_run, request):
    """Half of the kills come at a random time, half at a random file operation, which is where saves are torn."""
    kills = request.config.getoption("--kills")
    _, expected, operations = whole(kind)
    draw = random.Random(f"{kind} {kills}")
    run, killed, finished = make_run(kind), 0, 0
    seconds = whole_ended(kind)[1].seconds
    while killed < kills or not finished:
        words = ["--resume"] if run.output.exists() else []
        if killed >= kills:
            ended = start(run, *words)
        elif draw.random() < 0.5:
            ended = start(run, *words, signals={draw.randrange(1, operations): signal.SIGKILL})
        else:
            started = Started(run, *words)
            started.process.join(draw.uniform(0.05, seconds))
            started.signal(signal.SIGKILL)
            ended = started.ended()
        if ended.code == -signal.SIGKILL:
            killed += 1
            continue
        assert ended.code == 0, ended.text[-3000:]
        assert outcome(run) == expected, f"after {killed} kills"
        finished += 1
        shutil.rmtree(run.output)


@pytest.mark.fault(1)
@pytest.mark.parametrize("kind", sample(("tokenizer", "predictor", "mt5"), "tokenizer"))
def test_killed_while_it_overwrites_another_run(kind, whole, make_run, tmp_path, request):
    """`--resume` then ends with the new run, from its beginning, and never with the old one, which had another seed."""
    draw, kills = random.Random(f"overwrite {kind}"), max(1, request.config.getoption("--kills") // 10)
    run = make_run(kind)
    assert start(run.with_settings("--seed", 7)).code == 0
    shutil.copytree(run.output, tmp_path / "old")
    for _ in range(kills):
        shutil.rmtree(run.output)
        shutil.copytree(tmp_path / "old", run.output)
        at = draw.randrange(1, 22)
        ended = start(run, "--overwrite", signals={(".deleting-", at): signal.SIGKILL})
        assert ended.code == -signal.SIGKILL, ended.text[-3000:]
        assert recorded_id(run.output) != recorded_id(tmp_path / "old")
        resumed = start(run, "--resume")
        assert resumed.code == 0, resumed.text[-3000:]
        assert outcome(run) == whole(kind)[1], f"killed at operation {at}"
