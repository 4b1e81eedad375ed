"""Measurements are found again for the same machine and shape; a damaged file is measured again."""

import json
from dataclasses import dataclass

import pytest
import torch

from ft_core.io.cache_folder import own_cache
from ft_core.training.budget import remembered as module
from ft_core.training.budget.remembered import FILE, machine, remembered

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Seconds:
    step: float
    batch: int = 1


@pytest.fixture
def ask():
    """A function that asks for a shape; returns what was found, and whether it was measured."""

    def ask(**shape):
        calls = []
        found = remembered(Seconds, shape, CPU, lambda: calls.append(1) or Seconds(0.25, 3))
        return found, bool(calls)

    return ask


def test_the_same_shape_is_measured_once(ask):
    assert ask(batch=8, model={"width": 32}) == (Seconds(0.25, 3), True)
    assert ask(model={"width": 32}, batch=8) == (Seconds(0.25, 3), False)
    assert ask(batch=16, model={"width": 32})[1]
    assert ask(batch=8, model={"width": 64})[1]


@pytest.mark.parametrize("name", ["processor", "threads", "torch"])
def test_another_machine_is_measured_again(ask, monkeypatch, name):
    ask(batch=8)
    facts = machine(CPU)
    monkeypatch.setattr(module, "machine", lambda device: facts | {name: "another"})
    assert ask(batch=8)[1]


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"a": 3}', "\x00\x01"])
def test_a_damaged_file_is_measured_again_and_replaced(ask, content):
    ask(batch=8)
    path = own_cache() / FILE
    path.write_text(content, "utf-8")
    assert ask(batch=8)[1]
    assert not ask(batch=8)[1]
    assert len(json.loads(path.read_text("utf-8"))) == 1


@pytest.mark.parametrize("seconds", [None, {}, {"step": "fast"}, {"step": -1.0}, {"step": None}, {"batch": 3}])
def test_a_damaged_entry_is_measured_again(ask, seconds):
    ask(batch=8)
    path = own_cache() / FILE
    (entry,) = (entries := json.loads(path.read_text("utf-8"))).values()
    entry["seconds"] = seconds
    path.write_text(json.dumps(entries), "utf-8")
    assert ask(batch=8)[1]


def test_a_cache_that_cannot_be_written_is_no_error(ask, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KRONOS_FT_CACHE", str(tmp_path / "file"))
    assert ask(batch=8)[1]
    assert ask(batch=8)[1]


def test_the_file_stays_small(ask, monkeypatch):
    monkeypatch.setattr(module, "MOST_ENTRIES", 2)
    for batch in (1, 2, 3):
        ask(batch=batch)
    assert len(json.loads((own_cache() / FILE).read_text("utf-8"))) == 2
    assert not ask(batch=3)[1]
