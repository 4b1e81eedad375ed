"""One rank of a launch: notes the number of its process, then does what `python -m kronos_ft WORDS` does."""

import os
import sys
from pathlib import Path

from kronos_ft.cli.main import main as kronos


def main(folder, *words):
    Path(folder, f"pid-{os.environ['RANK']}").write_text(str(os.getpid()))
    return kronos([str(word) for word in words])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
