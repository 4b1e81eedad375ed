"""The schema of `run.json`: wrong types are one line with file, field, value and expected type."""

import json

import pytest

from ft_core.runs.record_schema import find_record, read_record, recorded_group

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
