"""A save that fails leaves the checkpoint before it whole, and ends in one line or goes on, as was asked for."""

import errno
import shutil
import signal
import subprocess

import pytest
import torch

import ft_core.checkpoints.saving
from ft_core.checkpoints.listing import list_checkpoints
from ft_core.checkpoints.manifest import defect_of
from ft_core.checkpoints.saving import CheckpointNotSaved
from tests.fault_runs import Started, outcome, start
from tests.fault_sample import sample

pytestmark = pytest.mark.fault(10)
KINDS = ("tokenizer", "predictor", "mt5")


@pytest.fixture
def disk(tmp_path):
    """A function that mounts a tmpfs of so many bytes, where this process may."""
    folder = tmp_path / "disk"

    def mount(size):
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("only root can mount a small disk")
        return folder

    yield mount
    subprocess.run(["umount", str(folder)], capture_output=True, check=False)


@pytest.mark.parametrize("kind", sample(KINDS, "predictor"))
def test_a_disk_that_fills_up(kind, whole, make_run, disk):
    """While the run stands still, something else takes all but half a checkpoint of the disk."""
    source, expected, operations = whole(kind)
    newest = list(list_checkpoints(source.output).values())[-1]
    size = sum(path.stat().st_size for path in newest.rglob("*"))
    folder = disk(20 * size)
    everything = ("--save_total_limit", 9) if kind == "mt5" else ("--keep_best", 9)  # so that nothing is freed
    run = make_run(kind, folder / "run").with_settings(*everything)
    started = Started(run, signals={operations // 2: signal.SIGSTOP})
    started.wait_until_stopped()
    (folder / "filler").write_bytes(bytes(shutil.disk_usage(folder).free - size // 2))
    started.signal(signal.SIGCONT)
    ended = started.ended()
    assert ended.code == 2, ended.text[-3000:]
    last = ended.text.splitlines()[-1]
    assert "(the disk is full)" in last or f"the disk of {run.output} is full (" in last  # a checkpoint or another file
    assert "is complete: free some space and continue with --resume" in last
    assert "Traceback" not in ended.text
    found = list_checkpoints(run.output)
    assert found
    assert all(defect_of(path) is None for path in found.values())
    assert not [path.name for path in run.output.iterdir() if path.name.startswith(".")]
    (folder / "filler").unlink()
    assert start(run, "--resume").code == 0
    found = outcome(run)
    for name in ("weights", "resumable", "log"):
        assert found[name] == expected[name]


def failing_saves(monkeypatch, error, which):
    """Makes the saves of these numbers fail, as a bad disk would."""
    real, count = ft_core.checkpoints.saving.write_manifest, [0]

    def write(folder, facts):
        count[0] += 1
        if count[0] in which:
            raise error
        real(folder, facts)

    monkeypatch.setattr(ft_core.checkpoints.saving, "write_manifest", write)


FAULTS = [
    (OSError(errno.EIO, "Input/output error"), "Input/output error"),
    (PermissionError(errno.EACCES, "Permission denied"), "Permission denied"),
    (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
    (RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"), "the disk is full"),
]


@pytest.mark.parametrize(("error", "words"), FAULTS)
def test_it_stops_and_the_one_before_is_whole(make_trainer, monkeypatch, error, words, tmp_path):
    failing_saves(monkeypatch, error, {2})
    trainer = make_trainer()
    with pytest.raises(CheckpointNotSaved, match=rf"checkpoint-6 could not be .*\({words}\); checkpoint-3 is complete"):
        trainer.train()
    checkpoints = list_checkpoints(tmp_path / "run")
    assert set(checkpoints) == {3}
    assert defect_of(checkpoints[3]) is None
    assert not list((tmp_path / "run").glob(".saving*"))
    assert trainer.state.best_model_checkpoint in (None, str(checkpoints[3]))
    monkeypatch.undo()
    whole = make_trainer(output=tmp_path / "whole")
    whole.train()
    resumed = make_trainer(resume=True)
    resumed.train()
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_it_goes_on_when_asked_to(make_trainer, monkeypatch, tmp_path, caplog):
    """With a warning each time; the best is chosen among those that there are."""
    failing_saves(monkeypatch, FAULTS[0][0], {1, 3})
    trainer = make_trainer(on_save_error="continue", max_steps=9)
    trainer.train()
    warnings = [record.message for record in caplog.records if "training continues without it" in record.message]
    assert [words.split(" could")[0] for words in warnings] == ["checkpoint-3", "checkpoint-9"]
    assert "there is no earlier checkpoint" in warnings[0]
    assert "checkpoint-6 is complete" in warnings[1]
    assert set(list_checkpoints(tmp_path / "run")) == {6}
    assert trainer.state.best_model_checkpoint == str(tmp_path / "run" / "checkpoint-6")
    assert trainer.state.best_global_step == 6


def test_an_unknown_answer_is_refused(make_trainer):
    with pytest.raises(ValueError, match="on_save_error='ignore' is not known; use one of stop, continue"):
        make_trainer(on_save_error="ignore")


def test_a_folder_that_is_taken_away_is_one_line(make_trainer, tmp_path, monkeypatch):
    trainer = make_trainer()
    real = type(trainer).save_model

    def save(self, *args, **kwargs):
        shutil.rmtree(args[0])
        (tmp_path / "file").write_text("x")
        return real(self, str(tmp_path / "file" / "below"), **kwargs)

    monkeypatch.setattr(type(trainer), "save_model", save)
    with pytest.raises(CheckpointNotSaved, match="checkpoint-3 could not be written"):
        trainer.train()
