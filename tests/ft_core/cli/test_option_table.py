"""The tables of options equal the dataclasses; commands that read them import neither torch nor transformers."""

import json
import subprocess
import sys
from importlib import import_module, resources
from importlib.metadata import version

import pytest

from ft_core.cli import option_table
from ft_core.cli.option_table import make_table, options_of, read_table

PACKAGES = ("kronos_ft", "mt5_ft")
COMMANDS = [(name, command) for name in PACKAGES for command in import_module(f"{name}.cli.tables").COMMANDS]
LIGHT = """
import contextlib, io, sys
from {package}.cli.main import main
for argv, code in {cases}:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as errors:
        try:
            found = main(argv)
        except SystemExit as end:
            found = end.code
    assert (found or 0) == code, (argv, found, errors.getvalue())
    assert code == 0 or errors.getvalue().count("\\n") == 1, errors.getvalue()
    assert code or out.getvalue(), argv
    heavy = sorted({{"torch", "transformers", "datasets"}} & sys.modules.keys())
    assert not heavy, (argv, heavy)
"""
KRONOS = [
    *(([*command.split(), "--help"], 0) for command in import_module("kronos_ft.cli.tables").COMMANDS),
    *(
        ([*command, "--help"], 0)
        for command in (["data", "check"], ["data", "download"], ["report"], ["push"], ["pull"])
    ),
    (["forecast", "--horizn", "3"], 2),
    (["forecast", "--horizon", "many"], 2),
    (["forecast", "--data", "nowhere.csv", "--model", "small", "--tokenizer", "base"], 2),
    (["evaluate", "--data", "sample", "--split_dates", "2018-01-01", "2018-06-01", "--split_ratios", "1", "0", "0"], 2),
    (["evaluate", "--data", "nowhere.parquet", "--model", "small"], 2),
    (["tokenizer", "--learning_rat", "1"], 2),
    (["tokenizer", "--preset", "fastest"], 2),
    (["tokenizer", "--config", "nowhere.yaml"], 2),
    (["predictor", "--data", "nowhere.csv"], 2),
    (["finetune", "--predictor_learning_rte", "1"], 2),
    (["finetune", "--data", "nowhere.csv"], 2),
    (["sweep", "tokenizer", "--trails", "3"], 2),
    (["find-lr", "--help"], 0),
    (["find-lr", "predictor", "--help"], 0),
    (["find-lr", "tokenizer", "--data", "nowhere.csv"], 2),
    (["data", "check", "nowhere.csv"], 2),
    (["report", "nowhere"], 2),
    (["push", "nowhere"], 2),
    (["pull"], 2),
]
MT5 = [
    *(([*command.split(), "--help"], 0) for command in import_module("mt5_ft.cli.tables").COMMANDS),
    *(
        ([command, "--help"], 0)
        for command in ("summarize", "evaluate", "subset", "restore", "clean", "report", "push")
    ),
    (["train", "--learning_rat", "1"], 2),
    (["train", "--data", "nowhere.jsonl"], 2),
    (["plan", "--compare", "original"], 2),
    (["sweep", "--trails", "3"], 2),
    (["report", "nowhere"], 2),
    (["push", "nowhere"], 2),
    (["find-lr", "--help"], 0),
    (["find-lr", "--dry_run"], 2),
]


@pytest.fixture(autouse=True)
def _default_speed(monkeypatch):
    """The default of `speed` is that of the environment, which the test suite sets."""
    monkeypatch.delenv("KRONOS_FT_SPEED")
    for cached in (option_table._actions, option_table._options):
        cached.cache_clear()
    yield
    for cached in (option_table._actions, option_table._options):
        cached.cache_clear()


@pytest.mark.parametrize("package", PACKAGES)
def test_the_table_is_that_of_the_dataclasses(package):
    written = json.loads(resources.files(f"{package}.cli").joinpath("options.json").read_text(encoding="utf-8"))
    tables = import_module(f"{package}.cli.tables")
    made = json.loads(json.dumps(make_table(tables.COMMANDS, tables.JOINT)))
    assert written == made, "run python -m ft_core.cli.option_table kronos_ft mt5_ft"


@pytest.mark.parametrize(("package", "command"), COMMANDS)
def test_reading_the_table_gives_the_options(package, command):
    types = import_module(f"{package}.cli.tables").COMMANDS[command]
    found, expected = (
        [json.loads(json.dumps(vars(option))) for option in options]
        for options in (read_table(package, command), options_of(types))
    )
    assert found == expected


@pytest.mark.parametrize(("package", "cases"), [("kronos_ft", KRONOS), ("mt5_ft", MT5)])
def test_nothing_heavy_is_imported_before_the_command_line_is_read(package, cases):
    code = LIGHT.format(package=package, cases=repr(cases))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_version(package, capsys):
    assert import_module(f"{package}.cli.main").main(["--version"]) == 0
    assert capsys.readouterr().out.split() == [package.replace("_", "-"), version("kronos-ft")]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_package_lists_its_names_without_importing_them(package):
    code = f"import sys, {package} as p; print(*dir(p), p.__version__); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {*import_module(package).__all__, version("kronos-ft")} <= set(done.stdout.split())


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_where_the_package_looks_for_it(package):
    module = import_module(package)
    assert sorted(module.__all__) == sorted(module._HOMES)
    for name in module.__all__:
        assert getattr(module, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Trainer'"):
        module.Trainer  # noqa: B018
