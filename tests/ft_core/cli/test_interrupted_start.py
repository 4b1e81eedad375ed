"""Ctrl-C while the command itself is still being imported."""

import importlib
import sys

import pytest


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
