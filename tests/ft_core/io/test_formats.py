"""Files from outside: typed, bounded in size, depth and digits, and one line for whatever is wrong."""

import contextlib
import re
from typing import NotRequired, TypedDict

import pytest
from hypothesis import given, strategies as st

from ft_core.io.formats import (
    MOST_BYTES,
    MOST_DEPTH,
    MOST_DIGITS,
    json_lines,
    parse_json,
    read_json,
    read_yaml,
)
from tests.examples import examples


class Lock(TypedDict):
    pid: int
    host: str
    started: NotRequired[float | None]


def test_values_of_a_type():
    assert parse_json('{"pid": 1, "host": "a", "more": [1]}', Lock) == {"pid": 1, "host": "a"}
    assert parse_json("[1, NaN, Infinity]")[2] == float("inf")
    assert parse_json('{"pid": 1, "host": "a", "started": 2}', Lock)["started"] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"pid": "1", "host": "a"}', "has an invalid value of pid: expected int, got str"),
        ('{"pid": true, "host": "a"}', "has an invalid value of pid: expected int, got bool"),
        ('{"pid": 1.5, "host": "a"}', "has an invalid value of pid: expected int, got float"),
        ('{"host": "a"}', "lacks the field pid"),
        ("[1]", "has invalid content: expected object, got array"),
        ('{"pid": 1', "is not valid JSON: Expecting ',' delimiter in line 1, column 10"),
        (b"\xff", "is not UTF-8 text"),
        ("", "is not valid JSON: Expecting value"),
        ("[" * 10**5 + "]" * 10**5, f"is nested more than {MOST_DEPTH} levels deep"),
        ('{"a":' * (MOST_DEPTH + 1) + "1" + "}" * (MOST_DEPTH + 1), f"is nested more than {MOST_DEPTH} levels deep"),
        ("9" * 10**5, "has an integer of 100,000 digits"),
        ("9" * (MOST_DIGITS + 1), "has an integer of 301 digits, more than 300"),
    ],
)
def test_everything_else_is_one_line(text, message):
    with pytest.raises(ValueError, match="^" + message.replace("(", r"\(").replace("[", r"\[")) as error:
        parse_json(text, Lock)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (
            '{"runs": [{"pid": 1, "host": 2}]}',
            dict[str, list[Lock]],
            r"an invalid value of [...][0].host: expected str",
        ),
        ('{"a": {"x": 1}}', dict[str, dict[int, int]], "an invalid key of [...]: expected int"),
        ('{"x": 1}', dict[int, int], "an invalid key: expected int"),
        ('{"a": {"pid": 1}}', dict[str, Lock], "lacks the field host of [...]"),
    ],
)
def test_the_place_of_a_wrong_type(text, kind, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_json(text, kind)


def test_a_key_twice():
    assert parse_json('{"a": 1, "a": 2}') == {"a": 2}
    with pytest.raises(ValueError, match="key 'a' occurs twice"):
        parse_json('{"b": {"a": 1, "a": 2}}', unique=True)


def test_files(tmp_path):
    path = tmp_path / "lock.json"
    with pytest.raises(ValueError, match=r"lock\.json does not exist; write it"):
        read_json(path, "write it", Lock)
    with pytest.raises(ValueError, match=r"cannot be read \(Is a directory\); write it"):
        read_json(tmp_path, "write it", Lock)
    path.write_text('{"pid": null, "host": "a"}')
    with pytest.raises(ValueError, match=r"lock\.json has an invalid value of pid: expected int, got null; write it$"):
        read_json(path, "write it", Lock)
    with open(path, "wb") as file:
        file.truncate(MOST_BYTES + 1)  # sparse
    with pytest.raises(ValueError, match="has 67,108,865 bytes, more than 67,108,864; write it"):
        read_json(path, "write it", Lock)


def test_lines(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"loss": 1}\n\n{"loss": 2}\n')
    assert list(json_lines(path, "remove it")) == [(1, {"loss": 1}), (3, {"loss": 2})]
    path.write_text('{"loss": 1}\n[1]\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl:2 has invalid content: expected object, got array"):
        list(json_lines(path, "remove it"))


ALIASES = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{new}: &{new} [{','.join(['*' + old] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "x0: &x0 {a: 1, b: 2}\n" + "".join(
    f"x{i}: &x{i}\n  <<: [{', '.join([f'*x{i - 1}'] * 20)}]\n" for i in range(1, 12)
)


def settings_of(tmp_path, content):
    path = tmp_path / "settings.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_yaml(path, "config file")


def test_settings_and_their_lines(tmp_path):
    values, lines = settings_of(tmp_path, "# rates\nlearning_rate: 1e-4\n\nstages: [a, b]\n")
    assert values == {"learning_rate": "1e-4", "stages": ["a", "b"]}
    assert lines == {"learning_rate": 2, "stages": 4}
    assert settings_of(tmp_path, "\ufeffa: 1\n")[0] == {"a": 1}
    assert settings_of(tmp_path, "# nothing\n") == ({}, {})


def test_aliases_that_people_write(tmp_path):
    values, _ = settings_of(tmp_path, "base: &base {a: 1, b: 2}\nmine:\n  <<: *base\n  b: 3\n")
    assert values["mine"] == {"a": 1, "b": 3}


@pytest.mark.fault(28)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", r"settings.yaml:3 is not valid YAML \(a is set on line 1 already; keep one of them\)"),
        ("a: {b: 1, b: 2}\n", r"\(b is set on line 1 already"),
        (ALIASES, r"more than 100,000 values once its aliases are replaced"),
        (MERGES, r"more than 100,000 values once its aliases are replaced"),
        ("a: &a [*a]\n", "an alias within its own anchor"),
        ("n: " + "9" * 5000, r"settings.yaml:1 .* an integer of 5,000 digits, more than 300".replace(" .* ", ".*")),
        ("a: " + "[" * 500 + "]" * 500, f"nested more than {MOST_DEPTH} levels deep"),
        ("a: " + "x" * 200_000, "a value of 200,000 characters"),
        ("- a\n", "config file .* holds a list; write `name: value` lines"),
        ("1: 2\n", "sets 1, which is not a name"),
        ("a: 2024-13-45\n", "month must be in 1..12"),
        (b"a: \xff\n", "config file .* is not valid YAML"),
        (b"a: 1\n" + b"#" * 2**20, "has 1,048,581 bytes, more than 1,048,576; pass a YAML file of settings"),
        ("!!python/object/apply:os.system ['true']", "could not determine a constructor"),
    ],
)
def test_settings_that_cannot_be_used(content, message, tmp_path):
    with pytest.raises(ValueError, match=message) as error:
        settings_of(tmp_path, content)
    assert "\n" not in str(error.value)
    assert "settings.yaml" in str(error.value)


@examples(200)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_values_or_a_value_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content)
    for read in (lambda: read_yaml(path, "file"), lambda: read_json(path, "remove it", Lock)):
        with contextlib.suppress(ValueError):
            read()
