"""Checkpoints with a missing, changed, or cut file, or none at all: named, skipped, and the one before goes on."""

import json
import random
import shutil
from pathlib import Path

import pytest

from ft_core.checkpoints.listing import find_newest_complete, list_checkpoints
from ft_core.checkpoints.manifest import MANIFEST, defect_of
from tests.fault_runs import outcome, start
from tests.fault_sample import sample

KINDS = ("tokenizer", "predictor", "mt5")


def remove(path, draw):
    path.unlink()
    return "is missing"


def flip_a_bit(path, draw):
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)
    return "is damaged"


def cut(path, draw):
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(len(content))])
    return "is damaged" if path.name == MANIFEST else "bytes instead of"


DAMAGES = [
    pytest.param(remove, marks=pytest.mark.fault(2)),
    pytest.param(flip_a_bit, marks=pytest.mark.fault(3)),
    pytest.param(cut, marks=pytest.mark.fault(4)),
]

IN_THE_SAMPLE = [
    DAMAGES[1],
    *(pytest.param(*one.values, marks=(*one.marks, pytest.mark.thorough)) for one in (DAMAGES[0], DAMAGES[2])),
]


def interrupted(run, whole_run, tmp_path):
    """A run whose end is missing, as a copy."""
    shutil.copytree(whole_run.output, run.output)
    shutil.rmtree(run.model.parent)
    (run.output / "training_metrics.json").unlink()
    return run


def without_leftovers(found):
    return {name: value for name, value in found.items() if name != "left"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_every_file_matters(kind, damage, whole, tmp_path):
    source = whole(kind)[0].output
    before, newest = list(list_checkpoints(source).values())[-2:]
    assert defect_of(newest) is None
    names = sorted(path.relative_to(newest) for path in newest.rglob("*") if path.is_file())
    assert {MANIFEST, "model.safetensors", "optimizer.pt", "rng_state.pth"} <= {name.name for name in names}
    for number, name in enumerate(names):
        run = tmp_path / str(number)
        shutil.copytree(before, run / before.name)
        shutil.copytree(newest, run / newest.name)
        expected = damage(run / newest.name / name, random.Random(f"{kind} {name}"))
        found, defects = find_newest_complete(run)
        assert found == run / before.name
        (defect,) = defects.values()
        assert defect.startswith(name.name), defect
        assert expected in defect


@pytest.mark.parametrize("kind", sample(KINDS, "tokenizer", "mt5"))
@pytest.mark.parametrize("damage", IN_THE_SAMPLE)
def test_a_broken_one_is_skipped_and_the_end_is_the_same(kind, damage, whole, make_run, tmp_path):
    source, expected, _ = whole(kind)
    run = interrupted(make_run(kind), source, tmp_path)
    newest = list(list_checkpoints(run.output).values())[-1]
    draw = random.Random(f"{kind} {damage.__name__}")
    name = draw.choice(sorted(path.name for path in newest.iterdir()))
    damage(newest / name, draw)
    ended = start(run, "--resume")
    assert ended.code == 0, ended.text[-3000:]
    assert f"{newest} is skipped: {name}" in ended.text
    assert f"it was renamed to broken-{newest.name}; delete it when you no longer need it" in ended.text
    assert without_leftovers(outcome(run)) == without_leftovers(expected)


@pytest.mark.fault(5)
@pytest.mark.parametrize("kind", sample(KINDS, "predictor"))
def test_an_empty_newest_folder(kind, whole, make_run, tmp_path):
    source, expected, _ = whole(kind)
    run = interrupted(make_run(kind), source, tmp_path)
    (run.output / "checkpoint-99").mkdir()
    ended = start(run, "--resume")
    assert ended.code == 0, ended.text[-3000:]
    assert "checkpoint-99 is skipped: manifest.json is missing: the checkpoint is incomplete" in ended.text
    assert without_leftovers(outcome(run)) == without_leftovers(expected)


@pytest.mark.fault(2, 3)
@pytest.mark.parametrize("kind", sample(KINDS, "mt5"))
def test_none_is_whole(kind, whole, make_run, tmp_path):
    run = interrupted(make_run(kind), whole(kind)[0], tmp_path)
    for path in list_checkpoints(run.output).values():
        (path / "optimizer.pt").unlink()
    ended = start(run, "--resume")
    assert ended.code == 2
    assert "is complete (checkpoint-24: optimizer.pt is missing" in ended.text.splitlines()[-1]
    assert "restore one, or start over with --overwrite" in ended.text
    assert "Traceback" not in ended.text


@pytest.mark.fault(3)
def test_a_damaged_best_checkpoint_is_never_the_result(make_run):
    """It is found when it is loaded at the end; without it the best that is left is."""
    # the largest error counts as best, so that the best checkpoint is not the last, which a resume would skip at once
    run = make_run("tokenizer").with_settings("--greater_is_better", "true")
    assert start(run).code == 0
    newest = list(list_checkpoints(run.output).values())[-1]
    best = Path(json.loads((newest / "trainer_state.json").read_text("utf-8"))["best_model_checkpoint"])
    assert best.name != newest.name
    shutil.rmtree(run.model.parent)
    (run.output / "training_metrics.json").unlink()
    flip_a_bit(best / "model.safetensors", random.Random(0))
    ended = start(run, "--resume")
    assert ended.code == 2
    assert f"{best}, the best checkpoint, cannot be used: model.safetensors is damaged" in ended.text
    shutil.rmtree(best)
    ended = start(run, "--resume")
    assert ended.code == 0, ended.text[-3000:]
    assert f"{best}, the best checkpoint, is gone: checkpoint-" in ended.text
