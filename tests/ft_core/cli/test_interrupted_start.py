"""Ctrl-C while the command itself is still being imported."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


class Interrupting:
    """Stands for a module whose import Ctrl-C interrupts."""

    def __init__(self, name):
        self.name = name

    def find_spec(self, name, path=None, target=None):
        if name == self.name:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("package", "program"), [("kronos_ft", "kronos-ft"), ("mt5_ft", "mt5-ft")])
@pytest.mark.parametrize("late", ["cli.main", "cli"])
def test_it_is_one_line(package, program, late, monkeypatch, capsys):
    entry = importlib.import_module(f"{package}.__main__")
    for name in [name for name in sys.modules if name == f"{package}.cli" or name.startswith(f"{package}.cli.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Interrupting(f"{package}.{late}"), *sys.meta_path])
    assert entry.run() == 130
    assert capsys.readouterr().err == f"{program}: interrupted\n"


@pytest.mark.parametrize("package", ["kronos_ft", "mt5_ft"])
def test_nothing_is_imported_before_it_is_caught(package):
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); before = set(sys.modules); import {package}.__main__; "
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [package, f"{package}.__main__"]
