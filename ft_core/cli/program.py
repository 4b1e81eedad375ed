"""The program loop of both commands: dispatch, one-line errors, exit codes. Imports nothing heavy."""

import argparse
import difflib
import errno
import io
import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from ..io.console import printable
from ..io.files import is_full_disk
from ..io.memory import MEMORY_REMEDY, is_out_of_memory
from ..io.secrets import without_secrets

PREFIX, TRACEBACK = "KRONOS_FT_", "KRONOS_FT_TRACEBACK"
SPINNING = {"GOMP_SPINCOUNT": "3000"}  # 0.1 ms; the default, 300,000, is several milliseconds
SPINNING_CHOICES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
VARIABLES = ("KRONOS_FT_CACHE", "KRONOS_FT_MAX_UNPACKED", "KRONOS_FT_SPEED", TRACEBACK)


class OneLineParser(argparse.ArgumentParser):
    """Raises a one-line error instead of printing the usage."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; see --help")


def nearest_or_all(name: str, known: Iterable[str]) -> str:
    """A hint at the known name closest to a misspelt one, or at all of them."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]}?" if close else f"use one of {', '.join(known)}"


def load_function(target: str) -> Callable:
    """The function that `module:function` names."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def command_name(program: str) -> str:
    """How a command is called from the current folder: by its name, or by its path where the name is not found."""
    return program if shutil.which(program) else os.path.relpath(Path(sys.executable).with_name(program))


def late(target: str, **settings: object) -> Callable[[Sequence[str]], int]:
    """A command of another module, which is imported when the command runs.

    Args:
        target (`str`): `module:function`.
        settings: passed to the function beside the command line.
    """
    return lambda argv: load_function(target)(argv, **settings)


def run_command(
    program: str,
    usage: str,
    commands: Mapping[str, Callable[[Sequence[str]], int]],
    argv: Sequence[str] | None,
    interrupted: str,
    resumable: Collection[str] | None = None,
) -> int:
    """Runs one command and returns its exit code.

    Bad input becomes one line on standard error and exit code 2, an interruption exit code 130. With
    `KRONOS_FT_TRACEBACK` set, errors are raised as they are.

    Args:
        program: name for messages.
        usage: the help text.
        commands: functions by name; each takes the arguments after its name.
        argv: the arguments without the program's name; `sys.argv` when not given.
        interrupted: what an interrupted user of a command that resumes can do next.
        resumable: names of these commands, such as `sweep` or `data download`; all when not given.
    """
    argv = list(sys.argv[1:] if argv is None else argv)

    def run() -> int:
        check_variables()
        limit_spinning()
        if not argv or argv[0] in ("-h", "--help", "help"):
            print(usage)
            return 0 if argv else 2
        if argv[0] == "--version":
            print(f"{program} {version('kronos-ft')}")
            return 0
        if argv[0] not in commands:
            raise ValueError(f"{argv[0]!r} is not a command; {nearest_or_all(argv[0], commands)}")
        return commands[argv[0]](argv[1:])

    started = f"{' '.join(argv[:2])} "
    resumes = resumable is None or any(started.startswith(f"{name} ") for name in resumable)
    return one_line_errors(program, run, interrupted if resumes else "run the command again")


def check_variables() -> None:
    """Raises ValueError when a variable looks like one of this library's, misspelt: it would be ignored otherwise."""
    for name in sorted(os.environ):
        if not name.startswith(PREFIX) or name in VARIABLES:
            continue
        bare = [known.removeprefix(PREFIX) for known in VARIABLES]
        close = difflib.get_close_matches(name.removeprefix(PREFIX), bare, n=1, cutoff=0.7)
        if close:
            raise ValueError(f"environment variable {name} is unknown; did you mean {PREFIX}{close[0]}?")


def limit_spinning() -> None:
    """Lets idle threads of torch wait asleep after 0.1 ms, unless a variable of OpenMP says otherwise.

    By default they test for work for milliseconds after each operation, which takes the core that another thread needs
    on a busy machine: training steps of the size `tiny` took 0.1 to 3.7 s on two cores that other programs used, and
    0.1 to 0.2 s with this limit. OpenMP reads the variable when torch is imported. Results do not depend on it.
    """
    if not any(name in os.environ for name in SPINNING_CHOICES):
        os.environ.update(SPINNING)


def show_any_text() -> None:
    """Escapes characters that the encoding of the terminal or pipe does not support.

    A redirect on Windows is encoded in cp1252 or gbk, and a summary in Chinese, or an emoji, would end the command.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def one_line_errors(program: str, run: Callable[[], int], interrupted: str) -> int:
    """Runs a function and returns its exit code; bad input, a full disk or memory become one line and exit code 2.

    Args:
        program: name for messages.
        run: what to run.
        interrupted: what an interrupted user can do next.
    """
    show_any_text()
    if os.environ.get(TRACEBACK):
        return run()
    try:
        return run()
    except Exception as error:
        message = printable(without_secrets(" ".join(str(error).split())))
        if isinstance(error, ValueError):
            pass  # says all there is to say
        elif is_full_disk(error):  # torch and safetensors have errors of their own for it
            message = f"the disk is full ({message[:200]}); free some space, and run the command again"
        elif isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            names = [Path(os.fsdecode(one)).name for one in (error.filename, error.filename2) if one]
            name = max(names, key=len, default="")
            message = (
                f"the name {name[:40]!r}... of {len(name)} characters is too long for the disk; choose a shorter one"
            )
        elif is_out_of_memory(error):
            message = f"memory ran out ({message[:160] or type(error).__name__}); {MEMORY_REMEDY}"
        elif not isinstance(error, OSError | ImportError):
            raise
        print(f"{program}: {message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{program}: interrupted; {interrupted}", file=sys.stderr)
        return 130
