"""Two launchers of `two_nodes.yaml`, as on two machines but on this one, against one launch of two processes."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from ft_core.checkpoints.listing import list_checkpoints
from kronos_ft.data.sources import simulate_candles

pytestmark = pytest.mark.distributed
WORDS = [
    *("-m", "kronos_ft", "tokenizer", "--model", "tiny", "--from_scratch", "--lookback_window", "20"),
    *("--predict_window", "4", "--max_steps", "60", "--eval_strategy", "steps", "--eval_steps", "10"),
    *("--save_strategy", "steps", "--save_steps", "10", "--per_device_train_batch_size", "8", "--report_to", "none"),
    *("--expected_world_size", "2", "--ddp_timeout", "60"),
]
PATIENCE = 240  # seconds; a hang is a failure


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def launch(text, config, flags, words):
    """Starts `accelerate launch` in a process group of its own."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", f"examples/accelerate/{config}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "KRONOS_FT_TRACEBACK": ""}
    with open(text, "w") as file:
        return subprocess.Popen(
            [*command, *map(str, flags), *map(str, words)],
            stdout=file,
            stderr=file,
            env=environment,
            start_new_session=True,
        )


class Nodes:
    """Both launchers; each starts one process."""

    def __init__(self, folder, words):
        port = free_port()
        self.texts = [folder / f"node-{rank}.text" for rank in range(2)]
        self.nodes = [
            launch(
                self.texts[rank],
                "two_nodes.yaml",
                ["--num_processes", 2, "--machine_rank", rank, "--main_process_ip", "127.0.0.1",
                 "--main_process_port", port, "--mixed_precision", "no"],
                words,
            )
            for rank in range(2)
        ]  # fmt: skip

    def text(self):
        return "\n".join(path.read_text()[-3000:] for path in self.texts)

    def end(self):
        """Waits for both; the exit codes."""
        try:
            return [node.wait(PATIENCE) for node in self.nodes]
        finally:
            for rank in range(2):
                self.kill(rank)

    def kill(self, rank):
        """Ends a launcher and its process as the loss of a machine does, at once."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for one in psutil.Process(self.nodes[rank].pid).children(recursive=True):
                one.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.nodes[rank].pid, signal.SIGKILL)
        self.nodes[rank].wait()


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The data, and the weights of one launch of two processes."""
    folder = tmp_path_factory.mktemp("nodes")
    simulate_candles(600, seed=5).to_csv(folder / "btc.csv", index=False)
    words = [*WORDS, "--data", folder / "btc.csv", "--output_dir", folder / "one"]
    one = launch(folder / "one.text", "cpu_2.yaml", [], words)
    assert one.wait(PATIENCE) == 0, (folder / "one.text").read_text()[-3000:]
    return folder / "btc.csv", weights_of(folder / "one")


def weights_of(run):
    return (run / "best_model" / "model.safetensors").read_bytes()


def test_two_nodes_give_the_weights_of_two_processes(expected, tmp_path):
    data, weights = expected
    nodes = Nodes(tmp_path, [*WORDS, "--data", data, "--output_dir", tmp_path / "run"])
    assert nodes.end() == [0, 0], nodes.text()
    assert weights_of(tmp_path / "run") == weights


@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_node_ends_the_other_and_a_resumed_run_is_equal(expected, tmp_path, lost):
    data, weights = expected
    run = tmp_path / "run"
    words = [*WORDS, "--data", data, "--output_dir", run]
    nodes = Nodes(tmp_path, words)
    try:
        until = time.monotonic() + PATIENCE
        while not list_checkpoints(run):
            assert time.monotonic() < until, nodes.text()
            assert all(node.poll() is None for node in nodes.nodes), nodes.text()
            time.sleep(0.02)
    finally:
        nodes.kill(lost)
    assert nodes.end()[1 - lost] != 0, nodes.text()
    assert not (run / "best_model").exists()
    nodes = Nodes(tmp_path, [*words, "--resume", "true"])
    assert nodes.end() == [0, 0], nodes.text()
    assert weights_of(run) == weights
