"""One line and an exit code for what people do wrong, and a full disk is no fault of the program."""

import errno
import os
import subprocess
import sys

import pytest
import torch

from ft_core.cli.program import (
    SPINNING,
    SPINNING_CHOICES,
    TRACEBACK,
    command_name,
    limit_spinning,
    one_line_errors,
    run_command,
)
from ft_core.io.files import is_full_disk, write_folder, write_text
from ft_core.io.memory import is_out_of_memory


def failing(error):
    def run(*words):
        raise error

    return run


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EFBIG, "File too large"),
        RuntimeError("[enforce fail at inline_container.cc:659] . unexpected pos 64 vs 0"),
        RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
        Exception("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_one_line(error, capsys):
    assert one_line_errors("program", failing(error), "go on") == 2
    err = capsys.readouterr().err
    assert err.startswith("program: the disk is full (")
    assert len(err.splitlines()) == 1


def test_what_led_to_an_error_counts():
    outer = RuntimeError("saving failed")
    outer.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert is_full_disk(outer)
    assert not is_full_disk(RuntimeError("shape mismatch"))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
        RuntimeError("unable to mmap 9 bytes from file <model.safetensors>: Cannot allocate memory (12)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
)
def test_a_full_memory_is_one_line_that_names_what_to_lower(error, capsys):
    assert is_out_of_memory(error)
    assert one_line_errors("program", failing(error), "go on") == 2
    err = capsys.readouterr().err
    assert err.startswith(
        f"program: memory ran out ({str(error) or 'MemoryError'}); in training, lower per_device_train"
    )
    assert len(err.splitlines()) == 1
    assert not is_out_of_memory(RuntimeError("shape mismatch"))


def test_errors_of_people_and_of_the_program(capsys, monkeypatch):
    commands = {"good": lambda words: 0, "bad": failing(ValueError("x=1 is\n wrong"))}
    assert run_command("p", "usage", commands, ["good"], "go on") == 0
    assert run_command("p", "usage", commands, ["bad"], "go on") == 2
    assert capsys.readouterr().err == "p: x=1 is wrong\n"
    assert one_line_errors("p", failing(KeyboardInterrupt()), "go on") == 130
    assert "p: interrupted; go on" in capsys.readouterr().err
    with pytest.raises(RuntimeError, match="a bug"):
        one_line_errors("p", failing(RuntimeError("a bug")), "go on")
    monkeypatch.setenv(TRACEBACK, "1")
    with pytest.raises(ValueError, match="wrong"):
        run_command("p", "usage", commands, ["bad"], "go on")


def test_only_a_command_that_resumes_is_said_to_resume(capsys):
    commands = {"train": failing(KeyboardInterrupt()), "forecast": failing(KeyboardInterrupt())}
    commands = {name: lambda argv, command=command: command() for name, command in commands.items()}
    commands["data"] = commands["train"]
    go_on, again = "continue with --resume", "run the command again"
    for line, remedy in (("train", go_on), ("forecast", again), ("data download x", go_on), ("data check", again)):
        assert run_command("p", "usage", commands, line.split(), go_on, ["train", "data download"]) == 130
        assert capsys.readouterr().err == f"p: interrupted; {remedy}\n"


def test_control_characters_of_a_foreign_file_do_nothing_in_a_terminal(capsys):
    assert one_line_errors("p", failing(ValueError("host \x1b[31mred\u202e\x9b is wrong")), "go on") == 2
    assert capsys.readouterr().err == "p: host \\x1b[31mred\\u202e\\x9b is wrong\n"


def test_a_command_that_is_not_found_by_name_is_called_by_its_path(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv" / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command_name("kronos-ft") == os.path.join(".venv", "bin", "kronos-ft")
    (tmp_path / "kronos-ft").touch(0o755)
    assert command_name("kronos-ft") == "kronos-ft"


def test_a_name_that_is_too_long(tmp_path, capsys):
    write_text(tmp_path / ("é" * 127), "x")  # 254 bytes: as long as the disk takes
    write_folder(tmp_path / ("m" * 255), lambda folder: (folder / "x").write_text("1"))
    write_folder(tmp_path / ("m" * 255), lambda folder: (folder / "y").write_text("1"))
    assert sorted(len(path.name) for path in tmp_path.iterdir()) == [127, 255]
    assert one_line_errors("p", lambda: write_text(tmp_path / ("n" * 256), "x"), "go on") == 2
    line = f"p: the name '{'n' * 40}'... of 256 characters is too long for the disk; choose a shorter one\n"
    assert capsys.readouterr().err == line


@pytest.mark.parametrize("encoding", ["cp1252", "gbk", "ascii"])
def test_what_an_encoding_cannot_hold_is_escaped(encoding):
    """A redirect on Windows; a training had ended well before, and the command with an error."""
    code = (
        "from ft_core.cli.program import one_line_errors\n"
        "raise SystemExit(one_line_errors('any', lambda: print('\u603b\u7ed3 \U0001f600') or 0, ''))"
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\U0001f600" in done.stdout


@pytest.mark.parametrize("choice", [None, *SPINNING_CHOICES])
def test_idle_threads_sleep_soon_unless_the_user_says_otherwise(monkeypatch, choice):
    for name in SPINNING_CHOICES:
        monkeypatch.delenv(name, raising=False)
    if choice:
        monkeypatch.setenv(choice, "7")
    monkeypatch.setattr("os.environ", dict(os.environ))
    limit_spinning()
    expected = {choice: "7"} if choice else SPINNING
    assert {name: os.environ[name] for name in SPINNING_CHOICES if name in os.environ} == expected
