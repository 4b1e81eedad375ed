"""What a plan says beside what a run uses: disk, refusals, the table of presets."""

import re
import shutil

import pytest

from ft_core.checkpoints.listing import list_checkpoints
from mt5_ft.cli.main import main
from mt5_ft.runs.cleaning import folder_bytes
from mt5_ft.runs.planning import disk_of_run


def test_disk_is_as_planned(train, capsys):
    """Within 15 % of what a finished run used."""
    _, run = train("--save_total_limit", "2", "--max_steps", "6", output="disk")
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if line.startswith("disk"))
    planned = float(line.split(" at the peak, ")[1].split(" MiB")[0]) * 2**20
    assert len(list_checkpoints(run)) == 2
    assert planned == pytest.approx(folder_bytes(run), rel=0.15)


def test_disk_arithmetic():
    log = 300_000
    assert disk_of_run(100, 30, saves=10, limit=2) == (300 + log, 230 + log)
    assert disk_of_run(100, 30, saves=10, limit=1) == (300 + log, 130 + log)
    assert disk_of_run(100, 30, saves=1, limit=1) == (130 + log, 130 + log)
    assert disk_of_run(100, 30, saves=4, limit=None) == (430 + log, 430 + log)


def test_no_space_is_said_before_anything_is_written(train, tmp_path, monkeypatch, capsys):
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
    monkeypatch.setattr("mt5_ft.runs.planning.shutil.disk_usage", lambda path: usage)
    code, run = train("--save_total_limit", "2")
    assert code == 2
    assert "of disk at its peak but 0.0 MiB are free; set save_total_limit to 1" in capsys.readouterr().err
    assert not run.exists()


def test_plan_and_compare(start, data, tmp_path, capsys, refused):
    base = ["plan", "--model", start, "--data", data, "--output_dir", tmp_path / "none", "--precision", "fp32"]
    words = [str(word) for word in [*base, "--max_source_length", "48", "--max_target_length", "24"]]
    assert main(words) == 0
    assert "time        about" in capsys.readouterr().out
    assert main([*words, "--compare", "original", "optimized"]) == 0
    out = capsys.readouterr().out
    assert "        original       optimized" in out
    for name in ("epochs", "batch x accumulation", "effective batch", "time", "disk at the peak", "rows per second"):
        assert any(line.startswith(name) for line in out.splitlines())
    assert not (tmp_path / "none").exists()
    refused([*base, "--compare", "original"], "--compare needs two presets or more")


def test_a_comparison_has_the_notes_of_each_plan(start, data, tmp_path, capsys):
    words = ["plan", "--model", start, "--data", data, "--output_dir", tmp_path / "none", "--precision", "fp32"]
    words = [str(word) for word in [*words, "--max_source_length", "48", "--max_target_length", "24"]]
    assert main([*words, "--compare", "original", "optimized"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for preset, has_long_warmup in (("original", True), ("optimized", False)):  # the second: a share of the run
        notes = [line.removeprefix(f"{preset}:").strip() for line in lines if line.startswith(f"{preset}:")]
        warning = "WARNING     the warm-up of 100 steps is as long as the run"
        assert any(line.startswith(warning) for line in notes) == has_long_warmup
        assert any("of the sources are truncated; max_source_length" in line for line in notes)


def test_a_step_that_leaves_the_budget_empty_is_said(start, data, tmp_path, capsys):
    words = ["plan", "--model", start, "--data", data, "--output_dir", tmp_path / "none", "--precision", "fp32"]
    words = [str(word) for word in [*words, "--max_source_length", "48", "--max_target_length", "24"]]
    said = "source and target tokens, far fewer than tokens_per_batch="
    assert main([*words, "--tokens_per_batch", "2048"]) == 0
    out = capsys.readouterr().out
    assert f"{said}2,048 allows, because a step of " in out
    assert "target tokens needs no more; raise target_tokens_per_step for larger batches" in out
    assert re.search(
        r"^batch       per step on average [\d.]+ batches of at most 2,048 source and target tokens, together [\d,]+ "
        r"target tokens of \d+ records$",
        out,
        re.MULTILINE,
    )
    assert main([*words, "--tokens_per_batch", "200"]) == 0
    assert said not in capsys.readouterr().out


def test_records_longer_than_the_budget_and_steps_larger_than_an_epoch_are_said(start, data, tmp_path, capsys):
    words = ["plan", "--model", start, "--data", data, "--output_dir", tmp_path / "none", "--precision", "fp32"]
    words = [str(word) for word in [*words, "--max_source_length", "48", "--max_target_length", "24"]]
    assert main([*words, "--tokens_per_batch", "10", "--target_tokens_per_step", "100000000"]) == 0
    out = capsys.readouterr().out
    assert "records are longer than tokens_per_batch=10 and form batches of one" in out
    assert "fewer than target_tokens_per_step=100,000,000: one step per epoch; lower it" in out
    assert re.search(r"^batch       per step on average [\d.]+ batches of 1 record, together ", out, re.MULTILINE)


def test_a_warm_up_as_long_as_the_run_is_said(start, data, tmp_path, capsys):
    words = ["plan", "--model", start, "--data", data, "--output_dir", tmp_path / "none", "--precision", "fp32"]
    words = [
        str(word) for word in [*words, "--max_source_length", "48", "--max_target_length", "24", "--max_steps", "6"]
    ]
    said = (
        "WARNING     the warm-up of 200 steps is as long as the run or longer: the learning rate never reaches its peak"
    )
    for further, expected in ((["200"], True), (["0.1"], False), (["200", "--lr_scheduler_type", "constant"], False)):
        assert main([*words, "--warmup_steps", *further]) == 0
        assert (said in capsys.readouterr().out) is expected


def test_a_dry_run_is_a_plan(refused):
    refused(["train", "--data", "sample", "--dry_run"], "use `mt5-ft plan` instead of --dry_run")
