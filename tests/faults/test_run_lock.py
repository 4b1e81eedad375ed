"""One run to a folder: a second process is refused by name, and a lock whose owner is gone is explained."""

import json
import os
import signal
import socket

import psutil
import pytest

from ft_core.runs.folder import LOCK_FILE
from ft_core.runs.lock import run_lock
from tests.fault_runs import Started, outcome, start
from tests.fault_sample import sample

pytestmark = pytest.mark.fault(24)
KINDS = ("tokenizer", "predictor", "mt5")


@pytest.mark.parametrize("kind", sample(KINDS, "tokenizer"))
@pytest.mark.parametrize("second", sample([(), ("--resume",), ("--overwrite",)], ("--resume",)))
def test_a_second_process_is_refused(kind, second, whole, make_run):
    run = make_run(kind)
    first = Started(run, signals={whole(kind)[2] // 3: signal.SIGSTOP})  # so that it is still there
    first.wait_until_stopped()
    refused = start(run, *second)
    first.signal(signal.SIGCONT)
    assert refused.code == 2, refused.text[-2000:]
    last = refused.text.splitlines()[-1]
    assert f"{run.output} is in use by process {first.process.pid} on {socket.gethostname()} since 2" in last
    assert "--overwrite_lock" in last
    assert first.end() == 0, first.text()[-2000:]
    assert outcome(run) == whole(kind)[1]


def write_lock(folder, **owner):
    folder.mkdir(parents=True)
    values = {"pid": os.getpid(), "host": socket.gethostname(), "process_started": psutil.Process().create_time()}
    (folder / LOCK_FILE).write_text(json.dumps({**values, "locked": "2026-01-01T00:00:00+00:00", **owner}))


def test_a_lock_of_a_killed_run_is_cleared(whole, make_run):
    run = make_run("tokenizer")
    assert start(run, signals={whole("tokenizer")[2] // 2: signal.SIGKILL}).code == -signal.SIGKILL
    assert (run.output / LOCK_FILE).is_file()
    ended = start(run, "--resume")
    assert ended.code == 0
    assert "has ended: its lock on " in ended.text
    assert outcome(run) == whole("tokenizer")[1]


def test_a_process_number_that_was_given_again_is_no_owner(tmp_path, caplog):
    write_lock(tmp_path / "run", process_started=1.0)
    with run_lock(tmp_path / "run"):
        assert "has ended: its lock on " in caplog.text


def test_a_lock_of_another_machine_needs_a_word(tmp_path, caplog):
    folder = tmp_path / "run"
    write_lock(folder, host="elsewhere", pid=7)
    words = r"in use by process 7 on elsewhere since 2026.*cannot be checked from here.*--overwrite_lock"
    with pytest.raises(ValueError, match=words), run_lock(folder):
        pass
    assert json.loads((folder / LOCK_FILE).read_text())["pid"] == 7
    with run_lock(folder, overwrite_lock=True):
        assert "the lock of process 7 on elsewhere" in caplog.text
        assert json.loads((folder / LOCK_FILE).read_text())["pid"] == os.getpid()
    assert not folder.joinpath(LOCK_FILE).exists()


def test_a_damaged_lock_is_not_taken_for_none(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / LOCK_FILE).write_text("{")
    with pytest.raises(ValueError, match=r"in use by process \? on an unknown host"), run_lock(folder):
        pass


def test_it_goes_with_its_folder_when_nothing_was_written(tmp_path):
    folder = tmp_path / "runs" / "today"
    with run_lock(folder):
        assert (folder / LOCK_FILE).is_file()
        with run_lock(folder):  # once more in the same process
            pass
        assert (folder / LOCK_FILE).is_file()
    assert not folder.parent.exists()
