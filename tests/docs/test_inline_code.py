"""What the prose of the documents names in passing exists: make targets, modules and scripts, settings."""

import re

import pytest

from ft_core.cli.settings import field_names
from ft_core.sweep.arguments import SweepArguments
from kronos_ft.evaluation.arguments import EvaluateArguments
from kronos_ft.forecasting.arguments import ForecastArguments
from kronos_ft.training.quantile_arguments import STAGE_TYPES
from mt5_ft.training.arguments import MT5Arguments, MT5DataArguments, MT5ModelArguments
from tests.docs.markdown import ROOT, chinese_documents, documents, read_page

PAGES = list(dict.fromkeys([*documents(), *chinese_documents()]))
OTHER_PROGRAMS = {  # options of launchers, make and pip
    *("--cpu", "--num_processes", "--multi_gpu", "--nproc_per_node", "--config_file", "--index-url"),
    *("--no-deps", "--mixed_precision"),
}


def inline(path):
    return re.findall(r"`([^`]+)`", "\n".join(read_page(path).prose))


@pytest.fixture(scope="module")
def targets():
    return set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))


@pytest.fixture(scope="module")
def settings():
    types = [EvaluateArguments, ForecastArguments, SweepArguments, MT5Arguments, MT5DataArguments, MT5ModelArguments]
    types += [kind for stage in STAGE_TYPES.values() for kind in stage]
    sources = [
        path
        for folder in ("ft_core", "kronos_ft", "mt5_ft", "benchmarks", "docs")
        for path in (ROOT / folder).rglob("*.py")
    ]
    declared = {name for path in sources for name in re.findall(r'"(--[\w-]+)"', path.read_text(encoding="utf-8"))}
    return {f"--{name}" for name in field_names(types)} | declared | OTHER_PROGRAMS


@pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_make_targets(path, targets):
    for code in inline(path):
        if match := re.match(r"make ([\w-]+)", code):
            assert match[1] in targets, code


@pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_modules_and_scripts(path):
    for code in inline(path):
        for module in re.findall(r"python -m ((?:benchmarks|docs|tests|ft_core|kronos_ft|mt5_ft)[\w.]*)", code):
            place = ROOT / module.replace(".", "/")
            assert place.with_suffix(".py").is_file() or place.is_dir(), code
        for script in re.findall(r"python ([\w/]+\.py)", code):
            assert (ROOT / script).is_file(), code


@pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_settings(path, settings):
    for code in inline(path):
        for name in re.findall(r"(?<![\w-])--[a-z][\w-]*", code):
            stage_setting = re.sub(r"^--(tokenizer|predictor)_", "--", name)
            assert name in settings or stage_setting in settings, f"{name} in `{code}`"
