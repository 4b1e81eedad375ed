"""Files of a run whose values have wrong types: the report treats them as not recorded, and never fails."""

import copy
import json
import random

import pytest

from ft_core.report.comparison import comparison_page
from ft_core.report.facts import read_run
from ft_core.report.write import make_report
from kronos_ft.report.views import VIEWS
from mt5_ft.report.views import MT5
from tests.written_runs import mt5_run, predictor_run, tokenizer_run

WRONG = (None, "text", -1, 0, 1e300, float("nan"), True, [], ["a", 2], {}, {"a": {"b": "c"}})
MAKERS = {"tokenizer": tokenizer_run, "predictor": predictor_run, "mt5": mt5_run}


def places(content, path=()):
    """The paths of all values in nested objects, groups and leaves."""
    for name, value in content.items():
        yield (*path, name)
        if isinstance(value, dict):
            yield from places(value, (*path, name))


def put(content, path, value):
    for name in path[:-1]:
        content = content[name]
    content[path[-1]] = value


def write_all(path, folder):
    """Makes the whole report of a run."""
    report = make_report(path, (*VIEWS, MT5), "en", folder)
    text = report.page.to_markdown()
    assert text.startswith("# Report of")


@pytest.mark.parametrize("kind", MAKERS)
def test_values_of_a_record_may_be_of_another_type(kind, tmp_path):
    """Five values of a record at a time, groups or leaves, drawn with a fixed seed."""
    draws, run = random.Random(kind), MAKERS[kind]()
    folder = run.write(tmp_path / "run")
    for _ in range(15):
        record = copy.deepcopy(run.record)
        for path in sorted(draws.sample(list(places(record)), 5), key=len, reverse=True):
            put(record, path, draws.choice(WRONG))
        (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
        write_all(folder, tmp_path)


@pytest.mark.parametrize("name", ["fp16", "bf16"])
def test_a_precision_that_is_a_list_is_read(name, tmp_path):
    run = tokenizer_run()
    run.arguments[name] = []
    write_all(run.write(tmp_path / "run"), tmp_path)


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_all_values_of_a_log_may_be_of_another_type(wrong, tmp_path):
    run = tokenizer_run()
    for name in ("recon_all", "loss", "grad_norm", "learning_rate", "weight_norm", "epoch", "bars_per_second"):
        for entry in run.entries:
            if name in entry:
                entry[name] = wrong
    for entry in run.entries[::3]:
        entry["eval_recon_all"] = entry["train_runtime"] = wrong
    run.entries[-3]["step"] = wrong
    run.files["bad_steps.json"] = [wrong, {"step": wrong, "offending": wrong}]
    run.files["training_metrics.json"] = {"final": wrong}
    write_all(run.write(tmp_path / "run"), tmp_path)
    run.record = {}
    write_all(run.write(tmp_path / "plain"), tmp_path)


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_a_state_of_other_types_is_read(wrong, tmp_path):
    entries = [{"loss": 3.0 - step / 50, "eval_loss": 2.0, "epoch": wrong, "step": step} for step in range(1, 30)]
    state = {"global_step": wrong, "max_steps": wrong, "epoch": wrong, "log_history": [wrong, *entries]}
    (tmp_path / "trainer_state.json").write_text(json.dumps(state), encoding="utf-8")
    write_all(tmp_path, tmp_path / "out")


@pytest.mark.parametrize("wrong", WRONG[::3], ids=repr)
def test_runs_of_other_types_are_compared(wrong, tmp_path):
    healthy, run = tokenizer_run(), tokenizer_run()
    run.observed["train"]["spans"] = {"BTC": wrong}
    run.arguments["seed"] = run.record["seconds"] = wrong
    folders = (healthy.write(tmp_path / "a"), run.write(tmp_path / "b"), healthy.write(tmp_path / "c"))
    assert comparison_page([read_run(folder, VIEWS) for folder in folders], "en").to_markdown()
