"""The wheel: built, installed into a new environment, and used from outside of the repository; `make wheel-check`."""

import os
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT

pytestmark = pytest.mark.wheel
EXTRAS = {"dev", "docs", "garch", "tracking"}
TYPED = ("ft_core", "kronos_ft", "mt5_ft")


def run(*words, folder, **environment):
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "KRONOS_FT"))}
    return subprocess.run(
        [str(word) for word in words], cwd=folder, env={**variables, **environment}, capture_output=True, text=True,
        check=False, timeout=1500,
    )  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, by `python -m build`, from what git knows of."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, files.decode().split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    done = run(sys.executable, "-m", "build", "--outdir", out, folder=source)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert len(list(out.glob("*.tar.gz"))) == 1
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_string(archive.read(name).decode("utf-8"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Folder of programs of a new environment that holds the wheel and its pinned dependencies."""
    home = tmp_path_factory.mktemp("environment")
    assert run(sys.executable, "-m", "venv", home / "venv", folder=home).returncode == 0
    programs = home / "venv" / "bin"
    done = run(
        programs / "python", "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel,
        folder=home,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return programs


def test_what_is_in_it(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    packages = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert packages == set(TYPED)
    folders = {part for name in names for part in name.split("/")[:-1]}
    assert not folders & {"tests", "benchmarks", "docs", "examples"}
    assert {f"{package}/py.typed" for package in TYPED} <= names
    for sample in ("kronos_ft/data/sample/btcusd_30m_2017_2019.parquet", "mt5_ft/data/sample/emotion_summary.jsonl"):
        assert sample in names
    in_git = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    ours = {name for name in in_git.splitlines() if name.startswith(tuple(f"{package}/" for package in TYPED))}
    assert ours <= names


def test_its_metadata(metadata):
    assert metadata["Name"] == "kronos-ft"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Description-Content-Type"].startswith("text/markdown")
    assert "# kronos-ft" in metadata.get_payload()
    assert set(metadata.get_all("Provides-Extra")) >= EXTRAS
    assert any("LICENSE" in name for name in metadata.get_all("License-File"))


def test_commands_and_type_marks(installed, tmp_path):
    for program in ("kronos-ft", "mt5-ft"):
        done = run(installed / program, "--help", folder=tmp_path)
        assert done.returncode == 0
        assert done.stdout.startswith(f"{program} COMMAND")
    code = "import ft_core, kronos_ft, mt5_ft; print(*(p.__path__[0] for p in (ft_core, kronos_ft, mt5_ft)), sep='\\n')"
    for folder in run(installed / "python", "-c", code, folder=tmp_path).stdout.splitlines():
        assert not Path(folder).is_relative_to(ROOT)
        assert (Path(folder) / "py.typed").is_file()


def test_dependencies_agree(installed, tmp_path):
    done = run(installed / "python", "-m", "pip", "check", folder=tmp_path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("words", "made"),
    [
        (["kronos-ft", "demo", "--steps", "4"], "runs/finetune-demo/evaluation/evaluation.md"),
        (["mt5-ft", "demo", "--max_steps", "2"], "runs/emotion/final/model.safetensors"),
    ],
)
def test_demonstrations_outside_of_the_repository(installed, tmp_path, words, made):
    program, *rest = words
    done = run(installed / program, *rest, folder=tmp_path, HF_HUB_OFFLINE="1", KRONOS_FT_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert (tmp_path / made).is_file()
