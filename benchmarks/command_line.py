"""Processor time until a command has answered `--help` or refused its command line, beside `import torch`.

python -m benchmarks.command_line [--output benchmarks/results/command_line.json]
"""

import statistics
import subprocess
import sys

import psutil

from benchmarks.comparison import Row, command

REPEATS = 5
# arguments, seconds of the goal; what is refused ends with code 2
COMMANDS = {
    "kronos-ft --help": 1.0,
    "kronos-ft tokenizer --help": 1.5,
    "kronos-ft predictor --help": 1.5,
    "mt5-ft train --help": 1.5,
    "kronos-ft forecast --help": 1.0,
    "kronos-ft evaluate --help": 1.0,
    "kronos-ft forecast --horizn 3": 1.0,
    "kronos-ft evaluate --data nowhere.csv --model small": 1.0,
    "kronos-ft data check nowhere.csv": 1.0,
    "kronos-ft report nowhere": 1.0,
    "kronos-ft push nowhere": 1.0,
    "kronos-ft pull": 1.0,
}
PROGRAMS = {"kronos-ft": "kronos_ft", "mt5-ft": "mt5_ft"}
# says whether torch was imported, by its exit code
LOADED = """
import sys
sys.argv = [{program!r}, *{argv!r}]
from {package}.cli.main import main
try: main()
except SystemExit: pass
sys.exit(77 if "torch" in sys.modules else 0)
"""


def processor_seconds(argv: list[str]) -> float:
    """User and system time of a process and its children."""
    before = psutil.Process().cpu_times()
    subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = psutil.Process().cpu_times()
    return sum(getattr(after, name) - getattr(before, name) for name in ("children_user", "children_system"))


def rows() -> list[Row]:
    """A row for each command; the figure to compare with is its goal."""
    found = []
    for line, goal in COMMANDS.items():
        program, *argv = line.split()
        package = PROGRAMS[program]
        ours, torch = [], []
        for _ in range(REPEATS):  # in turn, so that both see the same machine
            ours.append(processor_seconds([sys.executable, "-m", package, *argv]))
            torch.append(processor_seconds([sys.executable, "-c", "import torch"]))
        code = LOADED.format(program=program, argv=argv, package=package)
        done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        median = statistics.median(ours)
        found.append(
            Row(
                line,
                f"{goal:g} s of processor time",
                goal,
                ratio=median,
                our_value=median,
                reference_value=goal,
                at_most=True,
                correct=done.returncode == 0,
                details={"processor_seconds": ours, "import_torch": torch},
            )
        )
    return found


if __name__ == "__main__":
    sys.exit(command(__doc__, "command_line", rows))
