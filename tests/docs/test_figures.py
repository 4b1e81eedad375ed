"""Figures that documents tell are those of the results: the loss and its picture, the tables of the quantile head."""

import json

from benchmarks import find_lr, how_long
from benchmarks.quantiles import RESULTS, full_table, run_table, short_table
from docs.figures import PICTURES, TERMS, draw
from tests.docs.markdown import ROOT

FOUND = json.loads((PICTURES / "tokenizer_loss.json").read_text(encoding="utf-8"))
PAGE = " ".join((ROOT / "docs/loss.md").read_text(encoding="utf-8").split())


def at(step):
    held_out = FOUND["validation"]
    place = held_out["step"].index(step)
    return {term: held_out[term][place] for term in TERMS}


def test_the_page_tells_what_the_run_logged():
    first = next(
        step for step, loss in zip(FOUND["validation"]["step"], FOUND["validation"]["loss"], strict=True) if loss < 0
    )
    assert f"below zero from step {first} on, where `recon_all` is still {at(first)['recon_all']:.4f}" in PAGE
    end = at(FOUND["steps"])
    assert f"ends at {end['loss']:.4f} with `recon_all` {end['recon_all']:.4f} and `bsq` {end['bsq']:.4f}" in PAGE
    before, after = at(600), at(700)
    assert after["loss"] < before["loss"]
    assert after["recon_all"] > before["recon_all"]
    assert f"from {before['loss']:.4f} to {after['loss']:.4f}" in PAGE
    assert f"from {before['recon_all']:.4f} to {after['recon_all']:.4f}" in PAGE


def test_terms_add_up_to_the_loss():
    for step in FOUND["validation"]["step"]:
        row = at(step)
        assert abs(row["loss"] - (row["recon_pre"] + row["recon_all"] + row["bsq"]) / 2) < 2e-6


def test_the_picture_can_be_drawn(tmp_path):
    draw(FOUND, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_the_tables_of_the_quantile_head_are_those_of_its_results():
    known = json.loads(RESULTS.read_text(encoding="utf-8"))
    tables = (full_table(known), run_table(known, "tiny", 600), run_table(known, "mini", 800))
    for page, table in (*(("docs/quantiles.md", table) for table in tables), ("README.md", short_table(known))):
        assert len(table) > 4
        assert "\n".join(table) in (ROOT / page).read_text(encoding="utf-8"), "python -m benchmarks.quantiles --table"


def test_the_table_of_learning_rates_is_that_of_its_results():
    rows = json.loads(find_lr.RESULT.read_text(encoding="utf-8"))["rows"]
    page = (ROOT / "docs/find-lr.md").read_text(encoding="utf-8")
    assert len(rows) > 2
    assert "\n".join(find_lr.table(rows)) in page, "python -m benchmarks.find_lr table"


def test_the_table_of_times_is_that_of_its_results():
    known = json.loads(how_long.RESULT.read_text(encoding="utf-8"))
    page = (ROOT / "docs/how-long.md").read_text(encoding="utf-8")
    found = how_long.table(known)
    assert sum("(computed)" in line for line in found) == 2
    assert "\n".join(found) in page, "python -m benchmarks.how_long --table"
