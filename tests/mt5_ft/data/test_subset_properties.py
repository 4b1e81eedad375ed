"""Cutting and restoring files of any bytes: odd line ends, marks, spaces, escapes, text of any script."""

import contextlib
import gzip
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from mt5_ft.data.subset import BACKUP_SUFFIX, drop_subset, restore
from tests.any_json import values
from tests.examples import examples

BOM = b"\xef\xbb\xbf"
# what JSON may hold raw, the separators of Unicode that are no line ends of a file among it
TEXTS = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from('\u2028\u2029\x85\u200b\ufeff情绪🙂"\\/\x7f'),
    max_size=12,
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
VALUES = values(LEAVES, keys=TEXTS, max_leaves=4)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=3)


@st.composite
def rows(draw, endings):
    """One row as bytes: as it may be written, with spaces around and an ending."""
    number = draw(st.integers(0, 2))
    written = json.dumps(
        {**draw(OBJECTS), "topic": "abc"[number]},
        ensure_ascii=draw(st.booleans()),
        separators=draw(st.sampled_from([(",", ":"), (" , ", " : ")])),
    )
    around = draw(st.sampled_from(["{}", " {}", "{} ", "\t{}\t"]))
    return around.format(written).encode() + draw(st.sampled_from(endings))


@st.composite
def files(draw):
    """The lines of a file, the mark before them, and whether it is gzipped; the last line may have no ending."""
    # LF and CR LF in one file, or CR: a CR before an LF would be one ending of two bytes
    endings = draw(st.sampled_from([(b"\n", b"\r\n"), (b"\r",)]))
    blank = st.tuples(st.sampled_from([b"", b" ", b"\t"]), st.sampled_from(endings)).map(b"".join)
    row = rows(endings)
    lines = draw(st.lists(row | row | row | blank, min_size=1, max_size=25)) + draw(
        st.lists(row, min_size=3, max_size=3)
    )
    if draw(st.booleans()):
        lines[-1] = lines[-1].rstrip(b"\r\n")
    return lines, draw(st.sampled_from([b"", BOM])), draw(st.booleans())


def is_subsequence(some, many):
    rest = iter(many)
    return all(one in rest for one in some)


@pytest.mark.fault(26)
@settings(max_examples=60)
@given(files(), st.sampled_from([0.2, 0.34, 0.5, 0.75]), st.sampled_from(["length", "topic"]), st.integers(0, 9))
def test_the_cut_is_a_subsequence_of_exact_size_and_is_undone_to_the_byte(file, drop, by, seed):
    lines, mark, zipped = file
    content = mark + b"".join(lines)
    original = gzip.compress(content, compresslevel=1) if zipped else content
    filled = [line for line in lines if line.strip()]
    keep = round(len(filled) * (1 - drop))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cases.jsonl"
        path.write_bytes(original)
        if keep in (0, len(filled)):
            with pytest.raises(ValueError, match=f"keeps {keep}; use a share"):
                drop_subset(path, drop, by=by, seed=seed)
            assert path.read_bytes() == original
            return
        report = drop_subset(path, drop, by=by, seed=seed)
        assert (report.rows_before, report.rows_after) == (len(filled), keep)
        cut = path.read_bytes()
        text = gzip.decompress(cut) if zipped else cut
        assert text.startswith(mark)
        # a lone CR ends a line as well; bytes are not cut at what only Unicode takes for an end
        found = text.removeprefix(mark).splitlines(keepends=True)
        assert b"".join(found) == text.removeprefix(mark)
        assert len([line for line in found if line.strip()]) == keep
        assert is_subsequence([line for line in found if line.strip()], filled)
        assert [line for line in found if not line.strip()] == [line for line in lines if not line.strip()]
        if by == "topic":
            topics = [json.loads(line)["topic"] for line in filled]
            kept = [json.loads(line)["topic"] for line in found if line.strip()]
            for topic in set(topics):
                assert abs(kept.count(topic) - topics.count(topic) * keep / len(filled)) < 1
        restore(path)
        assert path.read_bytes() == original
        assert not path.with_name(path.name + BACKUP_SUFFIX).exists()
        drop_subset(path, drop, by=by, seed=seed)
        assert path.read_bytes() == cut


@pytest.mark.fault(26)
@examples(100)
@given(
    st.binary(max_size=60)
    | st.lists(st.sampled_from([b"{}", b"\n", b"\r", b"\xff", BOM, b"[", b'{"a":1}', b"\x00"])).map(b"".join)
)
def test_any_bytes_are_cut_and_restored_or_refused_and_left_alone(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cases.jsonl"
        path.write_bytes(content)
        with contextlib.suppress(ValueError):
            drop_subset(path, 0.5)
            restore(path)
        assert path.read_bytes() == content
        assert [one.name for one in path.parent.iterdir()] == [path.name]
