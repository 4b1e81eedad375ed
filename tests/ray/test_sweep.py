"""A search in actors on two nodes: its record, a lost node, a killed driver, and what is refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import yaml

from ft_core.io.console import lines_to
from ft_core.sweep.engines import interface
from ft_core.sweep.search import run_sweep
from ft_core.training.interruption import StoppedBySignal
from tests.ray.held_stage import HOLD, PLACES, crashing_stage, held_stage
from tests.sweep_stage import toy_stage

pytestmark = pytest.mark.ray
GRID = "learning_rate: [1e-4, 1e-3, 1e-2]\nlayers: [2, 4]\n"
EXACT = ["--method", "grid", "--pruner", "none"]
ONE = ["--engine", "ray"]
TWO = [*ONE, "--workers", 2]
WAIT = 300  # seconds until a wait is given up


def argv(folder, output, *words):
    (folder / "space.yaml").write_text(GRID)
    base = ["--space", folder / "space.yaml", "--output_dir", folder / output, *EXACT]
    return [str(word) for word in (*base, *words)]


def record_of(folder, output="sweep"):
    return json.loads((folder / output / "sweep.json").read_text())


def search(folder, *words, stage=held_stage, output="sweep"):
    """Searches; returns the record and the lines."""
    lines = []
    with lines_to(lines.append):
        run_sweep(stage, argv(folder, output, *words), "toy sweep")
    return record_of(folder, output), lines


def facts(record):
    """A record without times and folders."""
    trials = [{name: value for name, value in one.items() if name != "seconds"} for one in record["trials"]]
    best = {name: value for name, value in record["best"].items() if name != "seconds"}
    return {**record, "trials": trials, "best": best, "written": None}


@pytest.fixture(scope="module")
def locally(tmp_path_factory):
    """A folder with the search as the local engine runs it."""
    folder = tmp_path_factory.mktemp("locally")
    search(folder, stage=toy_stage)
    return folder


def places(folder):
    """The trials that have come to the second evaluation, each with its node and process."""
    path = folder / PLACES
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(condition):
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def steps_of(folder, number):
    return (folder / "sweep" / "trials" / f"{int(number):04d}" / "steps.txt").read_text().split()


def assert_as_locally(folder, locally):
    assert facts(record_of(folder)) == facts(record_of(locally))
    settings = [yaml.safe_load((place / "sweep" / "best.yaml").read_text()) for place in (folder, locally)]
    assert settings[0] == settings[1]
    files = [{path.name for path in (place / "sweep").iterdir()} for place in (folder, locally)]
    assert files[0] == files[1]


@contextmanager
def once_at(folder, count, act):
    """Within it, trials wait after their second evaluation; `act` is called when so many have come there."""
    (folder / HOLD).touch()

    def watch():
        try:
            wait_for(lambda: len(places(folder)) >= count)
            act()
        except BaseException:
            (folder / HOLD).unlink(missing_ok=True)
            raise

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield
    thread.join(WAIT)


def test_two_nodes_leave_what_local_workers_leave(cluster, tmp_path, locally):
    """The first trial of each node waits for the other one's."""
    with once_at(tmp_path, 2, (tmp_path / HOLD).unlink):
        _, lines = search(tmp_path, *TWO)
    assert "cluster     2 nodes; each worker has 1 CPU" in lines
    assert {node for _, node, _ in places(tmp_path)} == {node.node_id for node in cluster.list_all_nodes()}
    assert_as_locally(tmp_path, locally)


def test_the_trial_of_a_lost_node_is_run_by_the_other(cluster, tmp_path, locally):
    lost = []

    def lose_a_node():
        ((number, _, process),) = [one for one in places(tmp_path) if one[1] == cluster.second.node_id]
        cluster.remove_node(cluster.second)
        wait_for(lambda: not psutil.pid_exists(int(process)))
        lost.append(number)
        (tmp_path / HOLD).unlink()

    with once_at(tmp_path, 2, lose_a_node):
        _, lines = search(tmp_path, *TWO)
    assert len(lost) == 1
    assert "worker      lost; another worker resumes its trial from the last checkpoint" in lines
    assert [number for number, _, _ in places(tmp_path)].count(lost[0]) == 2
    assert_as_locally(tmp_path, locally)


def test_a_killed_driver_and_both_engines(cluster, tmp_path, locally):
    """The search is begun with Ray, killed, resumed with Ray, stopped, and finished locally."""
    command = [sys.executable, "-m", "tests.ray.held_stage", *argv(tmp_path, "sweep", *TWO)]
    driver = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    with once_at(tmp_path, 2, driver.kill):
        driver.wait(WAIT)
    killed = [number for number, _, _ in places(tmp_path)]
    for _, _, process in places(tmp_path):
        wait_for(lambda process=process: not psutil.pid_exists(int(process)))
    assert record_of(tmp_path)["status"] == "running"
    assert not record_of(tmp_path)["trials"]
    with once_at(tmp_path, 4, lambda: os.kill(os.getpid(), signal.SIGTERM)), pytest.raises(StoppedBySignal):
        search(tmp_path, *TWO, "--resume")
    assert record_of(tmp_path)["status"] == "interrupted: SIGTERM"
    (tmp_path / HOLD).unlink()
    search(tmp_path, "--resume", stage=toy_stage)
    assert len(killed) == 2
    for number in killed:
        assert steps_of(tmp_path, number) == ["1", "2", "2", "2", "3", "4"]  # twice from the checkpoint before
    assert_as_locally(tmp_path, locally)


def test_what_ends_a_search(cluster, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="workers=3 but the cluster has room for 2 with a CPU each; use --workers 2"):
        search(tmp_path, *ONE, "--workers", 3)
    assert not (tmp_path / "sweep").exists()
    with pytest.raises(ValueError, match=r"2 trials in a row have failed .*CUDA out of memory; .* use --resume"):
        search(tmp_path, *ONE, "--kind", "memory", "--most_failures", 2)
    assert record_of(tmp_path)["status"] == "failed"
    shutil.rmtree(tmp_path / "sweep")
    monkeypatch.setattr(interface, "MOST_STARTS", 1)
    with pytest.raises(
        ValueError, match="1 workers in a row were lost before they started a trial; see the logs of Ray"
    ):
        search(tmp_path, *ONE, stage=crashing_stage)
