"""How long `kronos-ft --help` takes, and whether it loads torch.

python -m benchmarks.command_line [--output benchmarks/results/command_line.json]
"""

import os
import statistics
import subprocess
import sys
import time

from benchmarks.comparison import Row, command

REPEATS = 5
# a second interpreter that says which modules the command line has loaded when it ends
LOADED = (
    "import sys; from kronos_ft.cli.main import main; sys.argv = ['kronos-ft', '--help']\n"
    "try: main()\n"
    "except SystemExit: pass\n"
    "sys.exit('torch' in sys.modules)"
)


def rows() -> list[Row]:
    """One row; the reference is the goal of one second."""
    command = [sys.executable, "-m", "kronos_ft", "--help"]
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        seconds.append(time.perf_counter() - started)
    without_torch = subprocess.run([sys.executable, "-c", LOADED], stdout=subprocess.DEVNULL, env=os.environ)
    median = statistics.median(seconds)
    return [
        Row(
            "kronos-ft --help",
            "one second",
            1.0,
            ratio=median,
            our_value=median,
            reference_value=1.0,
            at_most=True,
            correct=without_torch.returncode == 0,
            details={"seconds": seconds},
        )
    ]


if __name__ == "__main__":
    sys.exit(command(__doc__, "command_line", rows))
