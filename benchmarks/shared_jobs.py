"""One process against two that share a forecast or an evaluation, each on one core; and one node of Ray against two.

    python -m benchmarks.shared_jobs [--only forecast evaluate ray] [--output benchmarks/results/shared_jobs.json]

Runs the commands on simulated candles with weights from a seed. Rows: processor seconds of one process by those of the
busier of two, and what sharing adds to the sum of both. Start-up (imports, which each process repeats) is counted
apart. The files of both must be equal byte for byte. Processor time is used because wall time of a busy machine says
little. A process is slower while the other core works, so the one process is measured while a second one does the same
job in another folder (mean of both). Ray's clusters have nodes of one core on this machine: its rows count the
processes that make the parts, not the driver, which reads the candles and writes the files; its one node runs alone.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import psutil

from benchmarks.comparison import RESULTS, Row, print_rows, write_rows
from kronos_ft.data.sources import simulate_candles

OUTPUT = RESULTS / "shared_jobs.json"
PATHS = ["--num_paths", "30"]
JOBS = {
    "forecast, mini, 200 series x 30 paths x 24 bars": ("mini", 200, ["forecast", *PATHS]),
    "forecast, tiny, 5,000 series x 30 paths x 24 bars": ("tiny", 5000, ["forecast", *PATHS]),
    "forecast, mini, 5,000 series x 10 paths x 24 bars": ("mini", 5000, ["forecast", "--num_paths", "10"]),
    "evaluate, mini, 400 origins x 30 paths x 24 bars": ("mini", 1, ["evaluate", "--max_origins", "200"]),
    "ray, forecast, mini, 200 series x 30 paths x 24 bars": ("mini", 200, ["forecast", "--engine", "ray", *PATHS]),
}
GOAL, RAY_GOAL, MOST_ADDED = 1.7, 1.6, 1.05
WARM = 70  # series of the forecast in which Ray's processes import: at least one part for each node


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def rank(note: str, words: list[str]) -> int:
    """One process: runs the command, and notes the processor seconds until its imports were done and of the rest, and
    its peak memory."""
    import kronos_ft.daily.run
    import kronos_ft.evaluation.run  # noqa: F401
    from kronos_ft.cli.main import main

    start = _processor_seconds()
    code = main(words)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 2**30
    figures = {"start": start, "work": _processor_seconds() - start, "peak_gib": round(peak, 2)}
    Path(f"{note}.{os.environ.get('RANK', '0')}").write_text(json.dumps(figures), encoding="utf-8")
    return code


def _seconds_by_node() -> dict[int, float]:
    """Processor seconds of the processes that make parts, by the node that started them."""
    found: dict[int, float] = {}
    for process in psutil.process_iter(["ppid", "cmdline", "cpu_times"]):
        if "".join(process.info["cmdline"] or "").startswith("ray::"):
            used = process.info["cpu_times"]
            found[process.info["ppid"]] = found.get(process.info["ppid"], 0.0) + used.user + used.system
    return found


def driver(note: str, nodes: int, words: list[str]) -> int:
    """Ray's driver: a small forecast, in which the nodes import, and the forecast that counts."""
    import ray
    from ray.cluster_utils import Cluster

    from kronos_ft.cli.main import main

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(nodes - 1):
        cluster.add_node(num_cpus=1)
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    many = words[words.index("--data") + 1]
    code = main([word.replace(many, many.replace("200", str(WARM))) for word in words])
    start = _seconds_by_node()
    code = code or main(words)
    work = [
        {"start": start.get(node, 0.0), "work": now - start.get(node, 0.0)} for node, now in _seconds_by_node().items()
    ]
    for number, figures in enumerate(work):
        Path(f"{note}.{number}").write_text(json.dumps(figures), encoding="utf-8")
    ray.shutdown()
    cluster.shutdown()
    return code


def _prepared(folder: Path) -> None:
    """Models and data; by this process, whose memory the measured ones do not share."""
    import torch

    from kronos_ft import Kronos, KronosConfig, KronosTokenizer, KronosTokenizerConfig

    torch.manual_seed(0)
    for size, tokenizer in (("mini", "2k"), ("tiny", "tiny")):
        Kronos(KronosConfig.from_size(size)).save_pretrained(folder / size)
        KronosTokenizer(KronosTokenizerConfig.from_size(tokenizer)).save_pretrained(folder / f"tokenizer-{size}")
    simulate_candles(4000, seed=1).to_parquet(folder / "1.parquet")
    frame = simulate_candles(5200, seed=2)
    for count in (WARM, 200, 5000):
        parts = [frame[first : first + 120].assign(symbol=f"s{first:04d}") for first in range(count)]
        pd.concat(parts).to_parquet(folder / f"{count}.parquet")


def _start(note: Path, processes: int, argv: list[str]) -> subprocess.Popen:
    """Starts the command with so many processes, or nodes of Ray."""
    if "ray" in argv:
        launcher, part = [], ["--nodes", str(processes)]
    elif processes == 1:
        launcher, part = [], ["--rank"]
    else:
        launcher, part = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"], ["--rank"]
    command = [sys.executable, *launcher, __file__, *part, "--note", str(note), *argv]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _run(outs: list[Path], processes: int, argv: list[str]) -> tuple[list[dict[str, float]], bytes]:
    """Runs the command once for each folder, at the same time.

    Returns:
        processor seconds of each process, the mean over the folders; and the file that the command wrote.
    """
    writes_file, running, outputs = argv[0] == "forecast", [], []
    for out in outs:
        out.mkdir(exist_ok=True)
        where = ["--output", str(out / "paths.parquet")] if writes_file else ["--output_dir", str(out)]
        running.append(_start(out / "note", processes, [*argv, *where, "--overwrite"]))
        outputs.append(out / ("paths.parquet" if writes_file else "evaluation.json"))
    codes = [process.wait() for process in running]
    if any(codes):
        raise RuntimeError(f"{' '.join(argv)} failed")
    used = [
        [json.loads((out / f"note.{number}").read_text(encoding="utf-8")) for out in outs]
        for number in range(processes)
    ]
    mean = [{key: sum(entry[key] for entry in entries) / len(outs) for key in entries[0]} for entries in used]
    return mean, outputs[0].read_bytes()


def measure(folder: Path, name: str) -> list[Row]:
    """The rows of one job."""
    size, series, argv = JOBS[name]
    on_ray = "ray" in argv
    argv = [*argv, "--model", str(folder / size), "--tokenizer", str(folder / f"tokenizer-{size}")]
    argv += ["--lookback", "90", "--horizon", "24", "--seed", "1", "--data", str(folder / f"{series}.parquet")]
    out = folder / name.split(",")[0]
    found, outputs = {}, {}
    for processes in (1, 2):
        beside = ["", "-beside"] if processes == 1 and not on_ray else [""]
        outs = [Path(f"{out}-{processes}{suffix}") for suffix in beside]
        found[processes], outputs[processes] = _run(outs, processes, argv)
    one, busier = found[1][0]["work"], max(entry["work"] for entry in found[2])
    total = sum(entry["work"] for entry in found[2])
    is_same, reference = outputs[1] == outputs[2], "one node" if on_ray else "one process, beside another"
    note = "output equal byte for byte" if is_same else "OUTPUT DIFFERS"
    details = {"one": found[1][0], "two": found[2]}
    goal = RAY_GOAL if on_ray else GOAL
    ratio, added = (f"{name}: processor seconds, one by the busier of two", f"{name}: processor seconds, both by one")
    return [
        Row(ratio, reference, goal, one / busier, is_same, note, "s", one, busier, details=details),
        Row(added, reference, MOST_ADDED, total / one, is_same, "what sharing adds", "s", one, total, True, details),
    ]


def main() -> int:
    """Measures the jobs, or is one of their processes."""
    kinds = list(dict.fromkeys(name.split(",")[0] for name in JOBS))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--only", choices=kinds, nargs="+", default=kinds)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        _prepared(Path(name))
        chosen = [job for job in JOBS if job.split(",")[0] in options.only]
        rows = [row for job in chosen for row in measure(Path(name), job)]
    print_rows(rows)
    write_rows(options.output, rows)
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--rank"]:  # --rank --note NOTE WORDS
        sys.exit(rank(sys.argv[3], sys.argv[4:]))
    if sys.argv[1:2] == ["--nodes"]:  # --nodes N --note NOTE WORDS
        sys.exit(driver(sys.argv[4], int(sys.argv[2]), sys.argv[5:]))
    sys.exit(main())
