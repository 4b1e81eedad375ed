"""Measurements are found again for the same machine and shape; a damaged file is measured again."""

import json
from dataclasses import dataclass, replace

import pytest
import torch

from ft_core.io.cache_folder import own_cache
from ft_core.training.budget import remembered as module
from ft_core.training.budget.remembered import FILE, Measurement, machine, measuring_again, remembered

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Seconds(Measurement):
    step: float
    batch: int = 1


@pytest.fixture
def ask():
    """A function that asks for a shape; returns what was found, and whether it was measured."""

    def ask(**shape):
        calls = []
        found = remembered(Seconds, shape, CPU, lambda: calls.append(1) or Seconds(0.25, 3))
        assert found.at > 0
        return replace(found, at=0.0, load=0.0), bool(calls)

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


@pytest.fixture
def load(monkeypatch):
    """A function that sets how many programs want a core, for each core."""

    def set_load(value):
        monkeypatch.setattr(module, "load_of_cores", lambda: value)

    set_load(0.5)
    return set_load


def test_inside_of_measuring_again_nothing_is_remembered(ask, load):
    ask(batch=8)
    with measuring_again():
        assert ask(batch=8)[1]
    assert not ask(batch=8)[1]


def test_a_disturbed_measurement_is_made_again_when_the_machine_is_less_busy(ask, load):
    load(3.0)
    assert ask(batch=8)[1]
    assert not ask(batch=8)[1]  # still busy: it would be no better
    load(0.5)
    assert ask(batch=8)[1]
    load(3.0)
    assert not ask(batch=8)[1]


def test_a_measurement_of_an_unknown_time_is_made_again(ask, load):
    ask(batch=8)
    path = own_cache() / FILE
    (entry,) = (entries := json.loads(path.read_text("utf-8"))).values()
    del entry["seconds"]["at"]
    path.write_text(json.dumps(entries), "utf-8")
    assert ask(batch=8)[1]


def test_a_measurement_says_when_it_was_made_and_how_busy_the_machine_was():
    assert Measurement().circumstances() == ""
    assert Measurement(at=1764475200.0, load=0.6).circumstances() == "measured 2025-11-30 04:00 UTC"
    expected = "measured 2025-11-30 04:00 UTC with 2.1 programs waiting for each core"
    assert Measurement(at=1764475200.0, load=2.1).circumstances() == expected


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
