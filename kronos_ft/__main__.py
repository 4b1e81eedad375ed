"""`python -m kronos_ft` is the `kronos-ft` command."""

import sys


def run() -> int:
    """The command line; an interruption while modules are imported is one line too."""
    try:
        from .cli.main import main

        return main()
    except KeyboardInterrupt:
        print("kronos-ft: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(run())
