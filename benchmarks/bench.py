"""Every benchmark in one table: work, reference, ours, ratio, goal, verdict.

    python -m benchmarks.bench [--only NAME ...] [--skip NAME ...]        what `make bench` runs
    python -m benchmarks.bench --gpu                                      what `make bench-gpu` runs
    python -m benchmarks.bench --recorded [--page docs/performance.md]    the table of benchmarks/results

Each benchmark runs in its own process and writes benchmarks/results/NAME.json. Rows of benchmarks that are not run now
come from their last results file; a line below the table lists them, with the machine if it differs. Exits 1 if results
that must agree differ or a benchmark fails, never because of a slow result.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.comparison import RESULTS, Row, as_markdown, machine, print_rows
from ft_core.io.files import write_text
from ft_core.io.progress_lines import span

BEGIN, END = "<!-- benchmarks -->", "<!-- end of benchmarks -->"


@dataclass(frozen=True)
class Benchmark:
    """One module of this folder.

    Attributes:
        name: the module, and its file of results.
        is_long: not part of `make bench`.
        gpu: needs a GPU.
    """

    name: str
    is_long: bool = False
    gpu: bool = False


BENCHMARKS = (
    Benchmark("training_step"),
    Benchmark("tokenizer_run", is_long=True),
    Benchmark("windows"),
    Benchmark("forecast"),
    Benchmark("walk_forward"),
    Benchmark("mt5_step"),
    Benchmark("mt5_batches"),
    Benchmark("mt5_epoch", is_long=True),
    Benchmark("mt5_presets", is_long=True),
    Benchmark("ranks"),
    Benchmark("large_data", is_long=True),
    Benchmark("convergence", is_long=True),
    Benchmark("command_line"),
    Benchmark("gpu_training", gpu=True),
    Benchmark("gpu_forecast", gpu=True),
    Benchmark("gpu_mt5", gpu=True),
)


def recorded(name: str, failed: bool = False) -> list[Row]:
    """Rows of a benchmark's results file, if any; marked if the benchmark `failed` now."""
    path = RESULTS / f"{name}.json"
    if failed:
        return [Row(f"{name}: FAILED, run python -m benchmarks.{name} to see why", "", None, correct=False)]
    if not path.is_file():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    return [Row(**{key: value for key, value in row.items() if key != "verdict"}) for row in found.get("rows", [])]


def run(benchmark: Benchmark) -> bool:
    """Runs a benchmark; False if it failed or found a difference."""
    sys.stderr.write(f"{benchmark.name} ...\n")
    started = time.monotonic()
    environment = {key: value for key, value in os.environ.items() if key != "KRONOS_FT_SPEED"}
    command = [sys.executable, "-m", f"benchmarks.{benchmark.name}"]
    done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[1])
    sys.stderr.write(f"{benchmark.name}: {span(time.monotonic() - started)}\n")
    return done.returncode == 0


def main() -> int:
    """Runs the selected benchmarks and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], help="names of benchmarks, long ones too")
    parser.add_argument("--skip", nargs="+", default=[])
    parser.add_argument("--gpu", action="store_true", help="those that need a GPU, and only those")
    parser.add_argument("--recorded", action="store_true", help="run nothing")
    parser.add_argument("--page", type=Path, help="Markdown page whose table is written anew")
    options = parser.parse_args()
    unknown = {*options.only, *options.skip} - {benchmark.name for benchmark in BENCHMARKS}
    if unknown:
        parser.error(f"no benchmark is named {', '.join(sorted(unknown))}")

    failed, table, notes = [], [], []
    for benchmark in BENCHMARKS:
        wanted = benchmark.name in options.only or (
            not options.only and not benchmark.is_long and benchmark.gpu == options.gpu
        )
        if wanted and not options.recorded and benchmark.name not in options.skip:
            if not run(benchmark):
                failed.append(benchmark.name)
        elif recorded(benchmark.name):
            notes.append(_source(benchmark.name))
        table += recorded(benchmark.name, benchmark.name in failed)
    print_rows(table)
    if options.page:
        page = options.page.read_text(encoding="utf-8")
        before, rest = page.split(BEGIN)
        after = rest.split(END)[1]
        write_text(options.page, f"{before}{BEGIN}\n{as_markdown(table)}\n{END}{after}")
    if notes:
        print(f"from the files in benchmarks/results, not run now: {', '.join(notes)}")
    return 1 if any(row.correct is False for row in table) else 0


def _source(name: str) -> str:
    """A benchmark that was not run now, with its machine if it differs."""
    found = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    there, here = found["machine"], machine()
    name = f"{name} ({found['written'][:10] if 'written' in found else 'no date'})"
    same = all(there.get(key) == here[key] for key in ("processor", "cores", "gpu"))
    return name if same else f"{name} (on {there.get('gpu') or there.get('processor')}, {there.get('cores')} cores)"


if __name__ == "__main__":
    sys.exit(main())
