"""SIGTERM and Ctrl-C at any moment: saved, exit code 143 or 130, and a resume that ends as if nothing had happened."""

import random
import signal

import pytest

from ft_core.checkpoints.listing import list_checkpoints
from ft_core.checkpoints.manifest import defect_of
from tests.fault_runs import outcome, start
from tests.fault_sample import sample

KINDS = ("tokenizer", "predictor", "mt5")
pytestmark = pytest.mark.fault(11)


def first_checkpoint(operations):
    """A file operation that falls into training, whatever the run."""
    return operations // 3


@pytest.mark.parametrize("kind", sample(KINDS, "tokenizer", "mt5"))
@pytest.mark.parametrize("number", sample([signal.SIGTERM, signal.SIGINT], signal.SIGTERM))
def test_the_step_is_finished_and_saved(kind, number, whole, make_run):
    _, expected, operations = whole(kind)
    run = make_run(kind)
    ended = start(run, signals={first_checkpoint(operations): number})
    assert ended.code == 128 + number, ended.text[-3000:]
    assert f"{number.name}: finishing this step, then saving; a second signal stops at once" in ended.text
    step = max(list_checkpoints(run.output))
    assert f"stopped by {number.name}: step {step} of 24 is saved in {run.output}; continue with --resume" in ended.text
    assert "Traceback" not in ended.text
    assert defect_of(run.output / f"checkpoint-{step}") is None
    assert start(run, "--resume").code == 0
    assert outcome(run) == expected


@pytest.mark.parametrize("kind", sample(KINDS, "predictor"))
@pytest.mark.parametrize(
    ("number", "code"),
    [pytest.param(signal.SIGTERM, -signal.SIGTERM, marks=pytest.mark.thorough), (signal.SIGINT, 130)],
)
def test_a_second_one_stops_at_once(kind, number, code, whole, make_run):
    _, expected, operations = whole(kind)
    run = make_run(kind)
    at = first_checkpoint(operations)
    ended = start(run, signals={at: number, at + 2: number})
    assert ended.code == code, ended.text[-3000:]
    assert "Traceback" not in ended.text
    assert all(defect_of(path) is None for path in list_checkpoints(run.output).values())
    assert start(run, "--resume").code == 0
    assert outcome(run) == expected


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_at_any_moment(kind, whole, make_run, request):
    """Again and again in one run, the loading before and the end after training included."""
    _, expected, operations = whole(kind)
    draw = random.Random(kind)
    run = make_run(kind)
    for _ in range(max(request.config.getoption("--kills") // 5, 2)):
        number = draw.choice([signal.SIGTERM, signal.SIGINT])
        words = ["--resume"] if run.output.exists() else []
        ended = start(run, *words, signals={draw.randrange(1, operations): number})
        assert ended.code in (0, -signal.SIGTERM, 128 + number), ended.text[-3000:]
        assert "Traceback" not in ended.text
    assert start(run, *(["--resume"] if run.output.exists() else [])).code == 0
    assert outcome(run) == expected
