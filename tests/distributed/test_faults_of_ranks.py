"""A rank that is killed, signalled, or has a NaN: no hang, whole checkpoints, the same decision on every rank."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

from ft_core.checkpoints.listing import list_checkpoints
from ft_core.checkpoints.manifest import defect_of, file_hash
from kronos_ft.data.sources import simulate_candles
from tests.distributed import nan_on_one_rank
from tests.fault_sample import sample
from tests.forked import Forked, program, run_ranks

pytestmark = pytest.mark.distributed
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "KRONOS_FT_TRACEBACK": ""}
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
PATIENCE = 120  # seconds; a hang is a failure
WORDS = [
    *("tokenizer", "--model", "tiny", "--from_scratch", "--lookback_window", "20", "--predict_window", "4"),
    *("--max_steps", "240", "--eval_strategy", "steps", "--eval_steps", "20", "--save_strategy", "steps"),
    *("--save_steps", "20", "--logging_steps", "7", "--per_device_train_batch_size", "8", "--keep_best", "20"),
]


def launch(folder, run):
    """Starts two ranks of `kronos-ft tokenizer` by torchrun, which ends the others when one has ended."""
    command = [*LAUNCH, "-m", "kronos_ft", *WORDS, "--data", str(folder / "btc.csv"), "--output_dir", str(run)]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run_whole(folder, run, *words):
    """Runs two ranks of it to their end."""
    words = [*WORDS, "--data", folder / "btc.csv", "--output_dir", run, *words]
    run_ranks(run.parent, 2, program, "kronos_ft", words, environment={"KRONOS_FT_TRACEBACK": ""})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    simulate_candles(600, seed=5).to_csv(folder / "btc.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def whole(folder):
    """The uninterrupted run of two ranks."""
    run_whole(folder, folder / "whole")
    return folder / "whole"


def ranks_of(process):
    """The training processes of a launch by rank; what they start themselves carries their rank too."""
    found = {}
    for child in psutil.Process(process.pid).children():
        try:
            rank = child.environ().get("RANK")
        except psutil.Error:
            continue
        if rank is not None:
            found[int(rank)] = child
    return found


def wait_for_checkpoint(process, run):
    until = time.monotonic() + PATIENCE
    while not list_checkpoints(run):
        assert process.poll() is None, process.communicate()[0][-3000:]
        assert time.monotonic() < until
        time.sleep(0.02)


def end_is_equal(run, whole):
    assert file_hash(run / "best_model" / "model.safetensors") == file_hash(whole / "best_model" / "model.safetensors")
    newest, expected = (list(list_checkpoints(one).values())[-1] for one in (run, whole))
    for name in ("model.safetensors", "optimizer.pt", "scheduler.pt"):
        assert file_hash(newest / name) == file_hash(expected / name)


@pytest.mark.fault(13)
@pytest.mark.parametrize("rank", sample([0, 1], 1))
def test_a_killed_rank_ends_the_others(folder, whole, rank, tmp_path):
    run = tmp_path / "run"
    process = launch(folder, run)
    wait_for_checkpoint(process, run)
    ranks = ranks_of(process)
    assert set(ranks) == {0, 1}
    ranks[rank].send_signal(signal.SIGKILL)
    text, _ = process.communicate(timeout=PATIENCE)  # raises where the launch hangs
    assert process.returncode != 0, text[-3000:]
    assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in ranks.values())
    assert all(defect_of(path) is None for path in list_checkpoints(run).values())
    run_whole(folder, run, "--resume")
    end_is_equal(run, whole)


@pytest.mark.fault(11)
@pytest.mark.parametrize("rank", sample([0, 1, None], 0))
def test_a_signal_to_one_rank_or_all_stops_all_after_the_same_step(folder, whole, rank, tmp_path):
    run = tmp_path / "run"
    process = launch(folder, run)
    wait_for_checkpoint(process, run)
    ranks = ranks_of(process)
    assert set(ranks) == {0, 1}
    reached = max(list_checkpoints(run))
    for number, one in ranks.items():
        if rank in (number, None):
            one.send_signal(signal.SIGTERM)
    text, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0, f"signalled after step {reached}: {text[-9000:]}"
    stopped = re.search(r"stopped by SIGTERM: step (\d+) of 240 is saved in", text)
    assert stopped, text[-3000:]
    assert defect_of(run / f"checkpoint-{stopped[1]}") is None
    assert max(list_checkpoints(run)) == int(stopped[1])
    run_whole(folder, run, "--resume")
    end_is_equal(run, whole)


@pytest.mark.fault(6)
def test_another_number_of_processes_is_refused(folder, whole, tmp_path):
    words = [*WORDS, "--data", folder / "btc.csv", "--output_dir", whole, "--resume"]
    (whole / "training_metrics.json").rename(whole / "metrics.aside")
    try:
        alone = Forked(tmp_path / "text", program, "kronos_ft", words)
        assert alone.end() == 2
    finally:
        (whole / "metrics.aside").rename(whole / "training_metrics.json")
    assert "(world_size: 2 -> 1)" in alone.text().splitlines()[-1]


def train_with_nan(folder, *steps):
    run_ranks(folder, 2, nan_on_one_rank.main, str(folder), *steps)
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.fault(8)
def test_a_nan_on_one_rank_is_skipped_on_both(tmp_path):
    (one, two) = train_with_nan(tmp_path, 2, 4)
    assert one == two
    assert one["finite"]
    assert (one["steps"], one["error"]) == (6, None)
    entries = json.loads((tmp_path / "run" / "bad_steps.json").read_text())
    assert [entry["step"] for entry in entries] == [2, 4]
    assert all(len(entry["samples"]) == 8 for entry in entries)  # those of both ranks


@pytest.mark.fault(8)
@pytest.mark.thorough
def test_too_many_stop_both(tmp_path):
    (one, two) = train_with_nan(tmp_path, 3, 4, 5)
    assert one == two
    assert "was not finite in steps 3 to 5 (max_bad_steps=3)" in one["error"]
    assert one["finite"]
