"""The command line, and both models on a Hub of this machine."""

import pytest

from kronos_ft.cli.main import main


@pytest.fixture
def run(capfd):
    """A function that runs `kronos-ft`; exit code, lines of output, lines of errors."""

    def run(*words):
        capfd.readouterr()
        code = main([*map(str, words)])
        captured = capfd.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

    return run


@pytest.fixture
def pushed(hub, run, tiny_model, tiny_predictor, tmp_path):
    """Both models on the Hub, and their folders here."""
    for name, model in (("tokenizer", tiny_model), ("predictor", tiny_predictor)):
        model.save_pretrained(tmp_path / name)
        assert run("push", tmp_path / name, f"me/{name}")[0] == 0
    return tmp_path
