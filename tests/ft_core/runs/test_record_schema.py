"""The schema of `run.json`: wrong types are one line with file, field, value and expected type."""

import json

import pytest

from ft_core.cli.learning_rates import WidthRate
from ft_core.runs.record_schema import find_record, read_record, recorded_group, with_recorded_preset

VALID = {"status": "finished", "seconds": 1.5, "started": "", "best_step": None, "world_size": 1, "arguments": {}}


@pytest.fixture
def write(tmp_path):
    def write(**fields):
        (tmp_path / "run.json").write_text(json.dumps(VALID | fields), encoding="utf-8")
        return tmp_path

    return write


def test_a_record_with_unknown_fields(write):
    assert read_record(write(model={"model": "small"}, of_a_later_version=1))["model"] == {"model": "small"}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("seconds", "x", "seconds: expected float, got str"),
        ("seconds", True, "seconds: expected float, got bool"),
        ("model", [1], "model: expected object, got array"),
        ("arguments", [], "arguments: expected object, got array"),
        ("best_step", 1.5, r"best_step: expected int \| null, got float"),
        ("seconds", float("inf"), "seconds: expected float <"),
        ("world_size", -1, "world_size: expected int >= 0"),
        ("best_step", -1, "best_step: expected int >= 0"),
        ("id", 7, r"id: expected str \| null, got int"),
        ("status", None, "status: expected str, got null"),
    ],
)
def test_a_field_of_the_wrong_type(write, name, value, message):
    with pytest.raises(
        ValueError, match=f"run.json has an invalid value of {message}.*; restore it or start over"
    ) as error:
        read_record(write(**{name: value}))
    assert "\n" not in str(error.value)


def test_a_folder_without_a_record(tmp_path):
    assert find_record(tmp_path) == {}
    assert recorded_group(tmp_path, "data") == {}


@pytest.mark.parametrize("text", ["{", "[]", '{"data": [1]}', '{"data": null}'])
def test_a_group_that_cannot_be_read(tmp_path, text):
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    assert recorded_group(tmp_path, "data") == {}


PRESETS = {"best": {"learning_rate": 3e-3, "optim": "muon", "augment_noise": False}, "plain": {}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"preset": "best", "resume": True}, {"learning_rate": 1e-3, "optim": "adamw_torch", "augment_noise": True}),
        ({"preset": "best", "resume_force": True}, {"learning_rate": 1e-3, "optim": "adamw_torch"}),
        ({"preset": "best", "resume": True, "learning_rate": 5e-3}, {"learning_rate": 5e-3, "optim": "adamw_torch"}),
        ({"preset": "best"}, {"learning_rate": 3e-3, "optim": "muon"}),  # a new run
        ({"preset": "plain", "resume": True, "learning_rate": 3e-3}, {"learning_rate": 3e-3}),  # another preset
    ],
)
def test_a_resume_has_the_preset_as_recorded(tmp_path, given, expected):
    record = {
        "arguments": {"learning_rate": 1e-3, "optim": "adamw_torch", "seed": 7},
        "augmentation": {"augment_noise": True},
        "model": {"preset": "best"},
    }
    (tmp_path / "run.json").write_text(json.dumps(record))
    found = with_recorded_preset({**PRESETS[given["preset"]], **given}, PRESETS, tmp_path)
    assert {name: found[name] for name in expected} == expected
    assert "seed" not in found


@pytest.mark.parametrize(("rate", "expected"), [(WidthRate(3e-3), 1.1e-3), (3e-3, 3e-3)])
def test_a_resume_keeps_the_scaled_rate_of_a_preset_but_not_instead_of_a_given_number(tmp_path, rate, expected):
    record = {"arguments": {"learning_rate": 1.1e-3}, "model": {"preset": "best"}}
    (tmp_path / "run.json").write_text(json.dumps(record))
    presets = {"best": {"learning_rate": WidthRate(3e-3)}}
    given = {"preset": "best", "resume_force": True, "learning_rate": rate}
    assert with_recorded_preset(given, presets, tmp_path)["learning_rate"] == expected


def test_a_resume_without_a_record_has_the_preset_of_this_version(tmp_path):
    given = {**PRESETS["best"], "preset": "best", "resume": True}
    assert with_recorded_preset(given, PRESETS, tmp_path) == given
