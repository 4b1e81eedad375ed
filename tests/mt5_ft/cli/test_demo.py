"""The demonstration replaces its own older run and no other; it is run whole by `make test-docs`."""

import pytest

from mt5_ft.cli.demo import DEMO_RUN
from mt5_ft.cli.main import main
from mt5_ft.runs import run as training_run


@pytest.fixture
def overwrites(tmp_path, monkeypatch):
    """A function that starts a demonstration and tells whether its run may replace what its folder holds."""
    monkeypatch.chdir(tmp_path)

    def start(*words):
        asked = []

        def stop(model, data, args):
            asked.append(args.overwrite)
            raise ValueError("enough of it")

        monkeypatch.setattr(training_run, "run_training", stop)
        assert main(["demo", *words]) == 2
        return asked[0]

    return start


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], True),
        (["--output_dir", f"./{DEMO_RUN}/"], True),
        (["--resume"], False),
        (["--output_dir", "runs/mine"], False),
        (["cases.jsonl"], False),
        (["--output_dir", "runs/mine", "--overwrite"], True),
    ],
)
def test_what_is_replaced(overwrites, words, expected):
    assert overwrites(*words) is expected
