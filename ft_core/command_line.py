"""What the two commands share: dispatch, errors of one line, exit codes. Imports nothing heavy."""

import argparse
import difflib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

TRACEBACK = "KRONOS_FT_TRACEBACK"


class OneLineParser(argparse.ArgumentParser):
    """Raises what it would print as a usage message of several lines."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; see --help")


def run_command(
    program: str,
    usage: str,
    commands: Mapping[str, Callable[[Sequence[str]], int]],
    words: Sequence[str] | None,
    interrupted: str,
) -> int:
    """Runs one command and returns its exit code.

    Bad input becomes one line on standard error and exit code 2, an interruption exit code 130. With
    `KRONOS_FT_TRACEBACK` set, errors are raised as they are.

    Args:
        program: name for messages.
        usage: the help text.
        commands: functions by name; each takes the words after its name.
        words: the command line without the program's name; `sys.argv` when not given.
        interrupted: what an interrupted user can do next.
    """
    words = list(sys.argv[1:] if words is None else words)
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage)
        return 0 if words else 2
    command = commands.get(words[0])
    if command is None:
        close = difflib.get_close_matches(words[0], commands, n=1)
        hint = f"did you mean {close[0]}?" if close else f"use one of {', '.join(commands)}"
        print(f"{program}: {words[0]!r} is not a command; {hint}", file=sys.stderr)
        return 2
    if os.environ.get(TRACEBACK):
        return command(words[1:])
    try:
        return command(words[1:])
    except (ValueError, OSError, ImportError) as error:
        print(f"{program}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{program}: interrupted; {interrupted}", file=sys.stderr)
        return 130
