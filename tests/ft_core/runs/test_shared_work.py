"""Work that processes share: who does what, what is kept, and what an interrupted job continues with."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from ft_core.io.console import lines_to
from ft_core.io.files import write_text
from ft_core.runs.shared_work import MANIFEST, SharedWork, job_hash, shared_map, shared_out, shared_work

JOB = {"seed": 1, "candles": "abc"}


@given(st.lists(st.floats(0, 1e6), max_size=40), st.integers(1, 9))
def test_every_unit_has_one_process_and_loads_are_even(sizes, processes):
    shares = shared_out(sizes, processes)
    assert sorted(position for share in shares for position in share) == list(range(len(sizes)))
    loads = [sum(sizes[position] for position in share) for share in shares]
    assert max(loads) <= min(loads) + max(sizes, default=0) * (1 + 1e-9)


def test_equal_units_are_dealt_in_turn():
    assert shared_out([1.0] * 5, 2) == [[0, 2, 4], [1, 3]]


def test_the_hash_of_a_job_depends_on_all_values_and_not_on_their_order():
    assert job_hash({"a": 1, "b": [2]}) == job_hash({"b": [2], "a": 1})
    assert len({job_hash(one) for one in ({"a": 1}, {"a": 2}, {"a": 1, "b": None})}) == 3


def test_one_process_yields_parts_at_once_and_writes_nothing(tmp_path):
    seen = []
    with shared_work(tmp_path / "parts", dict) as work:
        for part in work.parts("x", [1, 2, 3], lambda unit: {"n": np.array([unit])}):
            seen.append(int(part["n"][0]))
            if len(seen) == 2:
                break
    assert seen == [1, 2]
    assert not (tmp_path / "parts").exists()


def test_several_processes_need_a_folder():
    with pytest.raises(ValueError, match="several processes need a folder"):
        SharedWork(None, 0, 2)


def part_of(unit):
    frame = pd.DataFrame({"symbol": [f"s{unit}", "é"], "at": pd.to_datetime(["2024-01-01", "2024-01-02"])})
    return {"rows": frame, "values": np.arange(unit, dtype=np.float64) / 3, "flags": np.array([True, False])}


def test_parts_are_read_as_they_were_made(tmp_path):
    with shared_work(tmp_path / "parts", lambda: JOB, keep_parts=True) as work:
        found = list(work.parts("x", range(4), part_of))
    for unit, part in enumerate(found):
        expected = part_of(unit)
        pd.testing.assert_frame_equal(part["rows"], expected["rows"])
        for name in ("values", "flags"):
            np.testing.assert_array_equal(part[name], expected[name])
            assert part[name].dtype == expected[name].dtype
    assert not (tmp_path / "parts").exists()


def interrupted(folder, job, after):
    """Runs a job of six units that fails after some; returns the units that were made, and the lines."""
    made, lines = [], []

    def work_on(unit):
        if len(made) == after:
            raise KeyboardInterrupt
        made.append(unit)
        return part_of(unit)

    with lines_to(lines.append):
        try:
            with shared_work(folder, lambda: job, keep_parts=True) as work:
                assert len(list(work.parts("x", range(6), work_on))) == 6
        except KeyboardInterrupt:
            pass
    return made, lines


def test_an_interrupted_job_continues(tmp_path):
    folder = tmp_path / "deep" / "parts"
    assert interrupted(folder, JOB, after=4) == ([0, 1, 2, 3], [])
    assert interrupted(folder, JOB, after=6) == ([4, 5], [f"continued   4 finished parts in {folder}"])
    assert not folder.exists()


@pytest.mark.parametrize("change", ["job", "manifest", "temporary"])
def test_parts_of_another_job_are_not_used(tmp_path, change):
    folder = tmp_path / "parts"
    interrupted(folder, JOB, after=4)
    if change == "manifest":
        write_text(folder / MANIFEST, "{")
    if change == "temporary":  # a process was killed while it wrote this part
        (folder / "x-000003").rename(folder / ".x-000003.abc")
    job = JOB | {"seed": 2} if change == "job" else JOB
    made, _ = interrupted(folder, job, after=6)
    assert made == ([3, 4, 5] if change == "temporary" else [0, 1, 2, 3, 4, 5])
    assert not folder.exists()


def test_a_job_that_fails_at_once_leaves_nothing(tmp_path):
    assert interrupted(tmp_path / "parts", JOB, after=0) == ([], [])
    assert not (tmp_path / "parts").exists()


def test_results_are_in_order_of_the_units():
    assert SharedWork().results([3, 1, 2], lambda unit: unit * 10) == [30, 10, 20]


def test_one_process_maps_one_after_the_other():
    seen = []
    results = shared_map(lambda unit: seen.append(unit) or unit * 10, iter([3, 1, 2]))
    assert next(results) == 30
    assert seen == [3]
    assert list(results) == [10, 20]


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "parts" / "mine").mkdir(parents=True)
    with pytest.raises(ValueError, match="parts is needed for unfinished parts but holds mine; rename the folder"):
        interrupted(tmp_path / "parts", JOB, after=6)
    assert (tmp_path / "parts" / "mine").is_dir()


def test_a_process_under_a_launcher_works_alone_unless_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with shared_work(tmp_path / "parts", dict, share=False) as work:
        assert (work.rank, work.processes, work.folder) == (0, 1, None)
