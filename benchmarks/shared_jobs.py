"""One process against two that share a forecast or an evaluation, each on one core.

    python -m benchmarks.shared_jobs [--output benchmarks/results/shared_jobs.json]

Runs the commands on simulated candles with weights from a seed. Rows: processor seconds of one process by those of the
busier of two, and what sharing adds to the sum of both. Start-up (imports, which each process repeats) is counted
apart. The files of both must be equal byte for byte. Processor time is used because wall time of a busy machine says
little.
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

from benchmarks.comparison import RESULTS, Row, print_rows, write_rows
from kronos_ft.data.sources import simulate_candles

OUTPUT = RESULTS / "shared_jobs.json"
JOBS = {
    "forecast, mini, 200 series x 30 paths x 24 bars": ("mini", "2k", 200, ["forecast", "--num_paths", "30"]),
    "forecast, tiny, 5,000 series x 30 paths x 24 bars": ("tiny", "tiny", 5000, ["forecast", "--num_paths", "30"]),
    "evaluate, mini, 400 origins x 30 paths x 24 bars": ("mini", "2k", 1, ["evaluate", "--max_origins", "200"]),
}


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def rank(argv: list[str]) -> int:
    """One process: runs the command, and notes the processor seconds until its imports were done and of the rest."""
    note, *words = argv
    import kronos_ft.daily.run
    import kronos_ft.evaluation.run  # noqa: F401
    from kronos_ft.cli.main import main

    start = _processor_seconds()
    code = main(words)
    figures = {"start": start, "work": _processor_seconds() - start}
    Path(f"{note}.{os.environ.get('RANK', '0')}").write_text(json.dumps(figures), encoding="utf-8")
    return code


def _prepared(folder: Path) -> None:
    """Models and data; by this process, whose memory the measured ones do not share."""
    import torch

    from kronos_ft import Kronos, KronosConfig, KronosTokenizer, KronosTokenizerConfig

    torch.manual_seed(0)
    for size, tokenizer in (("mini", "2k"), ("tiny", "tiny")):
        Kronos(KronosConfig.from_size(size)).save_pretrained(folder / size)
        KronosTokenizer(KronosTokenizerConfig.from_size(tokenizer)).save_pretrained(folder / f"tokenizer-{size}")
    simulate_candles(4000, seed=1).to_parquet(folder / "one.parquet")
    frame = simulate_candles(5200, seed=2)
    for count in (200, 5000):
        parts = [frame[first : first + 120].assign(symbol=f"s{first:04d}") for first in range(count)]
        pd.concat(parts).to_parquet(folder / f"{count}.parquet")


def _run(folder: Path, processes: int, words: list[str]) -> list[dict[str, float]]:
    note = folder / f"note-{processes}"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"] if processes > 1 else []
    command = [sys.executable, *launcher, __file__, "--rank", str(note), *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return [json.loads(Path(f"{note}.{number}").read_text(encoding="utf-8")) for number in range(processes)]


def measure(folder: Path, name: str) -> list[Row]:
    """The rows of one job."""
    size, _, series, words = JOBS[name]
    data = folder / ("one.parquet" if series == 1 else f"{series}.parquet")
    sizes = ["--lookback", "90", "--horizon", "24", "--seed", "1"]
    words = [*words, "--model", str(folder / size), "--tokenizer", str(folder / f"tokenizer-{size}"), *sizes]
    found, outputs = {}, {}
    for processes in (1, 2):
        out = folder / f"out-{processes}"
        out.mkdir(exist_ok=True)
        where = ["--output_dir", str(out)] if series == 1 else ["--output", str(out / "paths.parquet")]
        found[processes] = _run(folder, processes, [*words, "--data", str(data), *where, "--overwrite"])
        outputs[processes] = (out / ("evaluation.json" if series == 1 else "paths.parquet")).read_bytes()
    one, two = found[1][0], found[2]
    is_same = outputs[1] == outputs[2]
    busier, total = max(entry["work"] for entry in two), sum(entry["work"] for entry in two)
    details = {"one": one, "two": two}
    return [
        Row(
            f"{name}: processor seconds, one by the busier of two",
            "one process",
            1.7,
            one["work"] / busier,
            is_same,
            "output equal byte for byte" if is_same else "OUTPUT DIFFERS",
            "s",
            one["work"],
            busier,
            details=details,
        ),
        Row(
            f"{name}: processor seconds of both by those of one",
            "one process",
            1.05,
            total / one["work"],
            is_same,
            "what sharing adds",
            "s",
            one["work"],
            total,
            at_most=True,
            details=details,
        ),
    ]


def main() -> int:
    if sys.argv[1:2] == ["--rank"]:
        return rank(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--only", choices=[one.split(",")[0] for one in JOBS])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        _prepared(Path(name))
        chosen = [job for job in JOBS if options.only in (None, job.split(",")[0])]
        rows = [row for job in chosen for row in measure(Path(name), job)]
    print_rows(rows)
    write_rows(options.output, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
