"""Files and folders are whole or absent, and run folders are not overwritten by accident."""

import json
import math

import numpy as np
import pytest

from ft_core.checkpoints.manifest import write_manifest
from ft_core.io.files import write_folder, write_json, write_text
from ft_core.runs.folder import RUN_FILE, check_output_folder, prepare_run_folder


def fail(path):
    path.joinpath("half") if path.is_dir() else path
    (path / "half" if path.is_dir() else path).write_text("half")
    raise RuntimeError("disk died")


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    from ft_core.io.files import write_file

    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError):
        write_file(tmp_path / "a.txt", fail)
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_failed_folder_leaves_the_old_one(tmp_path):
    write_folder(tmp_path / "m", lambda folder: (folder / "x").write_text("1"))
    with pytest.raises(RuntimeError):
        write_folder(tmp_path / "m", fail)
    write_folder(tmp_path / "n", lambda folder: (folder / "x").write_text("2"))
    assert (tmp_path / "m" / "x").read_text() == "1"
    write_folder(tmp_path / "m", lambda folder: (folder / "y").write_text("3"))
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["y"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "n"]


def test_json_is_readable_by_everyone(tmp_path):
    values = {"a": math.nan, "b": [np.float32(0.5), math.inf], "c": tmp_path, 1: True, "d": None}
    write_json(tmp_path / "a.json", values)
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "a": None, "b": [0.5, None], "c": str(tmp_path), "1": True, "d": None,
    }  # fmt: skip


def test_output_folders(tmp_path):
    check_output_folder(tmp_path / "new" / "deep", False, False)
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("x")
    full = tmp_path / "full"
    full.mkdir()
    (full / "thing").write_text("x")
    for path, resume, overwrite, message in (
        (full, False, False, "is not empty; pass --resume to continue it or --overwrite"),
        (tmp_path / "file", False, False, "file is a file; choose a folder"),
        (tmp_path / "file" / "below", False, False, "cannot be written|is a file"),
        (full, True, True, "exclude each other"),
    ):
        with pytest.raises(ValueError, match=message):
            check_output_folder(path, resume, overwrite)


def test_overwrite_touches_only_what_a_run_wrote(tmp_path):
    run = tmp_path / "run"
    (run / "checkpoint-5").mkdir(parents=True)
    (run / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not a run folder"):
        prepare_run_folder(run, resume=False, overwrite=True)
    assert (run / "checkpoint-5").is_dir()
    (run / RUN_FILE).write_text("{}")
    assert prepare_run_folder(run, resume=False, overwrite=True) is None
    assert [path.name for path in run.iterdir()] == ["notes.txt"]


def test_resume_finds_the_newest_checkpoint(tmp_path):
    for step in (5, 20, 100):
        (tmp_path / f"checkpoint-{step}").mkdir()
        write_manifest(tmp_path / f"checkpoint-{step}", {"step": step})
    assert prepare_run_folder(tmp_path, resume=True, overwrite=False) == tmp_path / "checkpoint-100"
    assert prepare_run_folder(tmp_path / "none", resume=True, overwrite=False) is None
