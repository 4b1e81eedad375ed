"""Files beside a model and beside summaries: any JSON in place of a field is one line, or counts as absent."""

import json

import pytest
from hypothesis import given, strategies as st

from mt5_ft.models.loading import adapter_base
from mt5_ft.models.task import read_task
from mt5_ft.summaries.predictions import PartFile, fields_of_predictions, is_complete
from tests.any_json import VALUES
from tests.examples import examples

TASK = {"source_fields": ["a"], "target_fields": ["b"], "id": "id", "prefix": ""}
TASK |= {"max_source_length": 9, "max_target_length": 9}
ADAPTER = {"base_model_name_or_path": "base", "revision": None}
META = {"made_from": {"sources": ["a"], "targets": ["b"], "id": "id"}, "sha256": "0"}
PART = {"header": {"a": 1}, "positions": [0], "summaries": ["x"]}


def spoilt(values):
    """The values with one field, or the whole, replaced by any JSON."""
    one = st.sampled_from(sorted(values)).flatmap(lambda name: VALUES.map(lambda value: values | {name: value}))
    return one | VALUES


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("spoilt")


def one_line(read):
    """Runs a reader, which may raise a ValueError of one line."""
    message = ""
    try:
        read()
    except ValueError as error:
        message = str(error)
    assert "\n" not in message


@examples(200)
@given(spoilt(TASK))
def test_a_task_of_any_type(folder, values):
    (folder / "task.json").write_text(json.dumps(values), "utf-8")
    one_line(lambda: read_task(folder))


@examples(200)
@given(spoilt(ADAPTER))
def test_an_adapter_configuration_of_any_type(folder, values):
    (folder / "adapter_config.json").write_text(json.dumps(values), "utf-8")
    one_line(lambda: adapter_base(folder))


@examples(200)
@given(spoilt(META))
def test_settings_beside_summaries_of_any_type(folder, values):
    output = folder / "a.jsonl"
    output.write_text("", "utf-8")
    (folder / "a.jsonl.meta.json").write_text(json.dumps(values), "utf-8")
    assert is_complete(output, {"sources": 1}) is False
    fields = fields_of_predictions(output)
    assert fields is None or fields.sources


@examples(200)
@given(st.lists(spoilt(PART), min_size=1, max_size=3))
def test_lines_of_an_unfinished_file_of_any_type(folder, lines):
    part = folder / "b.jsonl.part"
    part.write_text("".join(json.dumps(line) + "\n" for line in [{"header": {"a": 1}}, *lines]), "utf-8")
    file = PartFile(folder / "b.jsonl", {"a": 1})
    file.read()
    file.begin()
    assert all(isinstance(text, str) for text in file.done.values())
