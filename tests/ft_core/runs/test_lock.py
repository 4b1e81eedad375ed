"""The lock of a run folder: held by the operating system until the process ends, whatever its name and clock say."""

import json
import os
import shutil
import socket
import subprocess
import sys

import psutil
import pytest
from filelock import FileLock

import ft_core.runs.lock
import ft_core.runs.owner
from ft_core.runs.folder import HELD_FILE, LOCK_FILE
from ft_core.runs.lock import is_held, run_lock
from ft_core.runs.owner import is_gone, read_owner, this_process

pytestmark = pytest.mark.fault(24)

HOLD = """
import sys
from pathlib import Path
from ft_core.runs.lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def hold(tmp_path):
    """A function that starts a process which holds the lock of `run`; `before` are words of its command line."""
    started = []

    def start(*before):
        command = [*before, sys.executable, "-c", HOLD, str(tmp_path / "run")]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        with process:
            pass


def write_lock(folder, **owner):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LOCK_FILE).write_text(json.dumps({"locked": "2026-01-01T00:00:00+00:00", **owner}))


def refuse(folder, message=r"is in use by process \d+ on "):
    with pytest.raises(ValueError, match=message), run_lock(folder):
        pass
    assert is_held(folder)


def test_another_name_space_with_the_same_host_name(hold, tmp_path):
    """Process 1 there is not process 1 here: its number and start time say nothing, the lock says all."""
    separate = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    if shutil.which("unshare") is None or subprocess.run([*separate, "true"], check=False).returncode:
        pytest.skip("this machine does not let a process make a PID namespace")
    process = hold(*separate)
    owner = read_owner(tmp_path / "run" / LOCK_FILE)
    assert owner["pid_namespace"] != this_process()["pid_namespace"]
    assert owner["host"] == socket.gethostname()
    refuse(tmp_path / "run", "is in use by process 1 on")
    process.stdin.close()
    assert process.wait(30) == 0
    assert not is_held(tmp_path / "run")
    with run_lock(tmp_path / "run"):
        pass


def test_clocks_names_and_numbers_do_not_matter(hold, tmp_path, monkeypatch):
    hold()
    refuse(tmp_path / "run")
    for name, value in (("process_started", 1.0), ("pid", 2**22 + 1), ("boot", "b"), ("host", "h"), ("start_ticks", 1)):
        changed = {**json.loads((tmp_path / "run" / LOCK_FILE).read_text()), name: value}
        (tmp_path / "run" / LOCK_FILE).write_text(json.dumps(changed))
        refuse(tmp_path / "run")


def test_a_stepped_clock_changes_no_identity(monkeypatch):
    mine = this_process()
    started = psutil.Process().create_time()
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: started + 3600)
    assert not is_gone(mine)
    assert is_gone(mine | {"start_ticks": mine["start_ticks"] + 1})
    assert not is_gone(mine | {"boot": "another"})  # cannot be asked
    assert not is_gone(mine | {"pid_namespace": 1})


def test_a_killed_owner_frees_it_at_once(hold, tmp_path, caplog):
    process = hold()
    process.kill()
    process.wait()
    assert (tmp_path / "run" / LOCK_FILE).is_file()
    assert not is_held(tmp_path / "run")
    text = (tmp_path / "run" / LOCK_FILE).read_text()
    # a container that starts again has another host name; the disk is the same
    (tmp_path / "run" / LOCK_FILE).write_text(json.dumps(json.loads(text) | {"host": "old", "boot": "before"}))
    with run_lock(tmp_path / "run"):
        pass
    (tmp_path / "run" / LOCK_FILE).write_text(text)
    with run_lock(tmp_path / "run"):
        assert f"process {process.pid} on {socket.gethostname()} has ended: its lock on " in caplog.text
        assert is_held(tmp_path / "run")
    assert not any((tmp_path / "run").iterdir())


def test_overwriting_a_lock_that_is_held(hold, tmp_path, caplog):
    process = hold()
    with run_lock(tmp_path / "run", overwrite_lock=True):
        assert f"overwriting the lock of process {process.pid} on " in caplog.text
        process.stdin.close()
        assert process.wait(30) == 0  # and it does not take the new lock away
        assert read_owner(tmp_path / "run" / LOCK_FILE)["pid"] == os.getpid()
        assert (tmp_path / "run" / HELD_FILE).is_file()
        refused = subprocess.run(
            [sys.executable, "-c", HOLD, str(tmp_path / "run")], capture_output=True, text=True, check=False
        )
        assert f"is in use by process {os.getpid()} on" in refused.stderr
    assert not any((tmp_path / "run").iterdir())


@pytest.mark.parametrize("alive", [True, False])
def test_locks_of_an_earlier_version_are_respected(tmp_path, alive):
    started = psutil.Process().create_time() if alive else 1.0
    write_lock(tmp_path, pid=os.getpid(), host=socket.gethostname(), process_started=started)
    if alive:
        refuse(tmp_path)
    else:
        with run_lock(tmp_path):
            pass


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    """The identity of the owner decides, which another machine or name space cannot look at."""

    def acquire(self, *args, **kwargs):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(FileLock, "acquire", acquire)
    with run_lock(tmp_path):
        owner = json.loads((tmp_path / LOCK_FILE).read_text())
        assert owner["os_lock"] is False
    write_lock(tmp_path, **owner)
    refuse(tmp_path)
    write_lock(tmp_path, **owner | {"boot": "elsewhere"})
    refuse(tmp_path)
    write_lock(tmp_path, **owner | {"start_ticks": 1})
    with run_lock(tmp_path):
        pass


def test_a_network_disk_whose_locks_may_be_local(tmp_path, monkeypatch):
    with run_lock(tmp_path):
        owner = json.loads((tmp_path / LOCK_FILE).read_text())
    monkeypatch.setattr(ft_core.runs.lock, "_reaches_other_machines", lambda run: False)
    write_lock(tmp_path, **owner | {"boot": "elsewhere", "host": "elsewhere", "pid": 7})
    refuse(tmp_path, r"is in use by process 7 on elsewhere since .*; whether it still runs cannot be checked from here")
    with run_lock(tmp_path, overwrite_lock=True):
        pass


@pytest.mark.parametrize(
    "values", [{"pid": -5}, {"pid": True}, {"process_started": None}, {"process_started": "x"}, {"host": [1]}, [], 7]
)
def test_a_damaged_lock_is_not_taken_for_none(tmp_path, values):
    text = json.dumps({"pid": 1, "host": "h", **values} if isinstance(values, dict) else values)
    (tmp_path / LOCK_FILE).write_text(text)
    refuse(tmp_path, r"in use by process \? on an unknown host since an unknown time; .*pass --overwrite_lock")
    assert (tmp_path / LOCK_FILE).read_text() == text


def test_a_forked_worker_does_not_keep_it(tmp_path):
    """Loader workers may outlive their killed parent by some seconds."""
    read, write = os.pipe()
    with run_lock(tmp_path / "run"):
        child = os.fork()
        if child == 0:
            os.read(read, 1)
            os._exit(0)
    with run_lock(tmp_path / "run"):
        pass
    os.write(write, b"x")
    os.waitpid(child, 0)
