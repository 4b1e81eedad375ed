"""A rank that is killed, signalled, or has a NaN: no hang, whole checkpoints, the same decision on every rank."""

import json
import re
import signal
import subprocess
import sys

import psutil
import pytest

from ft_core.checkpoints.listing import list_checkpoints
from ft_core.checkpoints.manifest import defect_of, file_hash
from kronos_ft.data.sources import simulate_candles
from tests.distributed import nan_on_one_rank, one_rank
from tests.fault_sample import sample
from tests.forked import Forked, program, run_ranks, torchrun

pytestmark = pytest.mark.distributed
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "KRONOS_FT_TRACEBACK": ""}
PATIENCE = 120  # seconds; a hang is a failure
WORDS = [
    *("tokenizer", "--model", "tiny", "--from_scratch", "--lookback_window", "20", "--predict_window", "4"),
    *("--max_steps", "120", "--eval_strategy", "steps", "--eval_steps", "20", "--save_strategy", "steps"),
    *("--save_steps", "20", "--logging_steps", "7", "--per_device_train_batch_size", "8", "--keep_best", "20"),
]


def run_torchrun(*words):
    """Two ranks by torchrun itself, in new interpreters."""
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        one_rank.__file__,
    ]
    return subprocess.run([*command, *words], check=False).returncode


def launch(folder, run, new_interpreters):
    """Starts two ranks of `kronos-ft tokenizer` under the agent of torchrun, which ends the second after the first."""
    words = [str(run.parent), *WORDS, "--data", str(folder / "btc.csv"), "--output_dir", str(run)]
    how = (run_torchrun,) if new_interpreters else (torchrun, 2, one_rank.main)
    return Forked(run.parent / "launch.text", *how, *words, environment=ENVIRONMENT)


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


def ranks_after_a_checkpoint(process, run):
    """The training processes by rank, once the first checkpoint is there."""
    process.wait_until(lambda: list_checkpoints(run), PATIENCE)
    return [psutil.Process(int((run.parent / f"pid-{rank}").read_text())) for rank in (0, 1)]


def end_is_equal(run, whole):
    assert file_hash(run / "best_model" / "model.safetensors") == file_hash(whole / "best_model" / "model.safetensors")
    newest, expected = (list(list_checkpoints(one).values())[-1] for one in (run, whole))
    for name in ("model.safetensors", "optimizer.pt", "scheduler.pt"):
        assert file_hash(newest / name) == file_hash(expected / name)


@pytest.mark.fault(13)
@pytest.mark.parametrize("case", sample([(0, True), (1, True), (1, False)], (1, False)))
def test_a_killed_rank_ends_the_others(folder, whole, case, tmp_path):
    rank, new_interpreters = case
    run = tmp_path / "run"
    process = launch(folder, run, new_interpreters)
    ranks = ranks_after_a_checkpoint(process, run)
    ranks[rank].send_signal(signal.SIGKILL)
    assert process.end(PATIENCE) != 0, process.text()[-3000:]  # raises where the launch hangs
    assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in ranks)
    assert all(defect_of(path) is None for path in list_checkpoints(run).values())
    run_whole(folder, run, "--resume")
    end_is_equal(run, whole)


@pytest.mark.fault(11)
@pytest.mark.parametrize("case", sample([(0, True), (1, True), (None, True), (0, False)], (0, False)))
def test_a_signal_to_one_rank_or_all_stops_all_after_the_same_step(folder, whole, case, tmp_path):
    rank, new_interpreters = case
    run = tmp_path / "run"
    process = launch(folder, run, new_interpreters)
    ranks = ranks_after_a_checkpoint(process, run)
    reached = max(list_checkpoints(run))
    for number, one in enumerate(ranks):
        if rank in (number, None):
            one.send_signal(signal.SIGTERM)
    code, text = process.end(PATIENCE), process.text()
    assert code != 0, f"signalled after step {reached}: {text[-9000:]}"
    stopped = re.search(r"stopped by SIGTERM: step (\d+) of 120 is saved in", text)
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
