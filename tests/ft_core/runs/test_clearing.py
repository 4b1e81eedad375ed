"""`--overwrite`: the old run is removed completely or not at all, and never continued after a kill in the middle."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from ft_core.checkpoints.identity import recorded_id
from ft_core.checkpoints.listing import find_newest_complete, list_checkpoints, remove_checkpoint
from ft_core.checkpoints.manifest import write_manifest
from ft_core.runs.clearing import CLEARING, is_being_cleared
from ft_core.runs.folder import check_output_folder, clear_run, mark_replaced, prepare_run_folder, remove_leftovers
from ft_core.training.run import finished_metrics

RECORD = {"status": "finished", "seconds": 1.0, "started": "", "best_step": 4, "world_size": 1, "arguments": {}}


class Killed(BaseException):
    """Stands for the end of the process."""


def write_run(folder, run_id="old", steps=(4, 8, 12)):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(RECORD | ({"id": run_id} if run_id else {})))
    for step in steps:
        add_checkpoint(folder, step, run_id)
    (folder / "best_model").mkdir()
    (folder / "best_model" / "config.json").write_text("{}")
    for name in ("metrics.jsonl", "training_metrics.json", "notes.txt"):
        (folder / name).write_text("{}")
    return folder


def add_checkpoint(folder, step, run_id):
    path = folder / f"checkpoint-{step}"
    path.mkdir()
    (path / "model.safetensors").write_text(f"{run_id} {step}")
    write_manifest(path, {"step": step} | ({"run": run_id} if run_id else {}))
    return path


def content(folder):
    return {
        path.relative_to(folder).as_posix(): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def operations_of(work, stop_at=None):
    """Does `work` and counts its renames and removals; with `stop_at` it is killed before that one."""
    counter = {"seen": 0, "on": True}

    def watch(event, arguments):
        if counter["on"] and event in ("os.rename", "os.remove", "os.rmdir"):
            counter["seen"] += 1
            if counter["seen"] == stop_at:
                counter["on"] = False
                raise Killed

    sys.addaudithook(watch)  # cannot be removed, only switched off
    try:
        work()
    finally:
        counter["on"] = False
    return counter["seen"]


@pytest.fixture(scope="module")
def operations(tmp_path_factory):
    run = write_run(tmp_path_factory.mktemp("whole") / "run")
    return operations_of(lambda: clear_run(run))


@pytest.mark.fault(1)
def test_a_kill_at_any_operation_never_lets_the_old_run_continue(operations, tmp_path):
    """After the first file operation, which replaces the record, no resume finds a checkpoint or figures of the run."""
    assert operations > 15
    for at in range(2, operations + 1):
        run = write_run(tmp_path / f"run-{at}")
        with pytest.raises(Killed):
            operations_of(lambda run=run: clear_run(run), at)
        assert find_newest_complete(run)[0] is None, at
        assert prepare_run_folder(run, resume=True, overwrite=False) is None, at
        assert [path.name for path in run.iterdir()] == ["notes.txt"], at


def test_the_first_operation_changes_nothing_or_everything(tmp_path):
    run = write_run(tmp_path / "run")
    before = content(run)
    with pytest.raises(Killed):
        operations_of(lambda: clear_run(run), 1)
    assert {name: text for name, text in content(run).items() if not name.startswith(".run.json.")} == before


def test_a_folder_that_cannot_be_moved_is_named_and_all_stays(tmp_path, monkeypatch):
    run = write_run(tmp_path / "run")
    before = content(run)
    real = Path.rename

    def rename(self, target):
        if self.name == "checkpoint-4":
            raise PermissionError(13, "Permission denied")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(
        ValueError, match=r"checkpoint-4 cannot be moved \(Permission denied\), so the run in .* is not"
    ):
        prepare_run_folder(run, resume=False, overwrite=True)
    assert content(run) == before


def test_links_go_and_what_they_name_stays(tmp_path):
    """Another disk often holds the checkpoints; that removal failed without a word before."""
    run = write_run(tmp_path / "run", steps=())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (run / "checkpoint-8").symlink_to(add_checkpoint(elsewhere, 8, "old"))
    shutil.rmtree(run / "best_model")
    (run / "best_model").symlink_to(elsewhere)
    assert prepare_run_folder(run, resume=False, overwrite=True) is None
    assert [path.name for path in run.iterdir()] == ["notes.txt"]
    assert (elsewhere / "checkpoint-8" / "model.safetensors").is_file()


def test_a_linked_checkpoint_is_removed_by_retention(tmp_path):
    (tmp_path / "checkpoint-8").symlink_to(add_checkpoint(write_run(tmp_path / "other"), 16, "other"))
    remove_checkpoint(tmp_path / "checkpoint-8")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    assert (tmp_path / "other" / "checkpoint-16" / "model.safetensors").is_file()


def test_a_marked_run_is_not_finished_any_more(tmp_path):
    run = write_run(tmp_path / "run")
    mark_replaced(run)
    assert is_being_cleared(run / "run.json")
    assert json.loads((run / "run.json").read_text())["status"] == CLEARING
    assert recorded_id(run) != "old"
    prepare_run_folder(run, resume=True, overwrite=False)
    assert finished_metrics(run, "best_model") is None


def test_only_checkpoints_of_the_run_are_resumed(tmp_path, caplog):
    run = write_run(tmp_path / "run", "mine", steps=(4,))
    add_checkpoint(run, 8, "another")
    add_checkpoint(run, 12, None)
    assert prepare_run_folder(run, resume=True, overwrite=False) == run / "checkpoint-4"
    assert caplog.text.count("it belongs to another run; it was renamed to broken-checkpoint-") == 2
    assert list(list_checkpoints(run)) == [4]


def test_checkpoints_without_an_id_count_where_the_record_has_none(tmp_path):
    run = write_run(tmp_path / "run", None, steps=(4, 8))
    assert prepare_run_folder(run, resume=True, overwrite=False) == run / "checkpoint-8"
    add_checkpoint(run, 12, "another")
    assert find_newest_complete(run)[0] == run / "checkpoint-8"


# A refused command deletes nothing, and only names that this library makes are leftovers

MINE = (".saving-photos/a.jpg", ".pushing/a", ".deleting-x/a", "predictions/.predictions-mine", ".lock.mine")
LEFT = (
    *(".saving-checkpoint-4/a", ".deleting-checkpoint-4/a", ".deleting-broken-checkpoint-4/a", ".pushing/a"),
    *(".best_model.abcd1234/a", ".old-final/a", ".run.json.abcd_234.json", "..lock.77.abcdefgh.77", ".lock.77"),
    *(".lock.77.stale", "predictions/.predictions-12-all.jsonl.abcdefgh.jsonl", ".deleting-best_model/a"),
)


def write_files(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    return folder


@pytest.mark.parametrize(("resume", "overwrite"), [(False, False), (False, True), (True, True)])
def test_a_refusal_deletes_nothing(tmp_path, resume, overwrite):
    folder = write_files(tmp_path / "folder", (*MINE, *LEFT))
    before = content(folder)
    with pytest.raises(ValueError, match=r"output_dir|exclude each other"):
        prepare_run_folder(folder, resume=resume, overwrite=overwrite)
    remove_leftovers(folder)  # no run
    assert content(folder) == before


def test_of_a_run_only_names_of_this_library_go(tmp_path):
    run = write_files(write_run(tmp_path / "run"), (*(name for name in MINE if name != ".pushing/a"), *LEFT))
    remove_leftovers(run)
    assert {name for name in content(run) if name.startswith((".", "predictions"))} == set(MINE) - {".pushing/a"}


# A run does not lie inside a checkpoint or another folder that a run manages


@pytest.mark.parametrize("below", ["checkpoint-4", "checkpoint-4/sub/deep", "best_model", "predictions/x", "final"])
def test_inside_a_run_is_refused(tmp_path, below):
    run = write_run(tmp_path / "run")
    before = content(run)
    for resume in (False, True):
        place = f"is inside {Path(below).parts[0]} of the run {run}, which may remove it"
        with pytest.raises(ValueError, match=place):
            check_output_folder(run / below, resume, False)
    assert content(run) == before


def test_inside_a_checkpoint_of_a_plain_trainer_is_refused(tmp_path):
    write_files(tmp_path / "checkpoint-10", ["trainer_state.json"])
    with pytest.raises(ValueError, match="is inside checkpoint-10 of the run"):
        check_output_folder(tmp_path / "checkpoint-10" / "new", False, False)


def test_other_places_are_free(tmp_path):
    run = write_run(tmp_path / "run")
    check_output_folder(run / "second", False, False)  # a folder of the user's own
    check_output_folder(tmp_path / "checkpoint-9", False, False)  # a name, nothing more
    check_output_folder(tmp_path / "final", False, False)


def test_trials_belong_to_their_sweep(tmp_path):
    from ft_core.runs.folder import trials_of

    write_files(tmp_path / "sweep", ["sweep.json"])
    trial = tmp_path / "sweep" / "trials" / "0003"
    with pytest.raises(ValueError, match=f"is inside trials of the sweep {tmp_path / 'sweep'}, which may remove it"):
        check_output_folder(trial, False, False)
    with trials_of(tmp_path / "sweep"):
        check_output_folder(trial, False, False)
