"""`kronos-ft ui` before it serves anything: what cannot be shown is one line and exit code 2."""

import socket

import pytest

from kronos_ft.cli import ui as ui_command
from kronos_ft.cli.main import main
from kronos_ft.ui.server import check_address, warnings_of


def test_help_lists_every_option(capsys):
    with pytest.raises(SystemExit) as done:
        main(["ui", "--help"])
    assert done.value.code == 0
    text = capsys.readouterr().out
    for name in ("--tokenizer", "--data", "--evaluation", "--lang", "--host", "--port", "--share"):
        assert name in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: RUN_OR_MODEL"),
        (["nowhere"], "nowhere does not exist; pass a run folder"),
        (["RUN", "--lang", "fr"], "invalid choice: 'fr'"),
        (["RUN", "--port", "70000"], "port=70000 is outside 0 to 65535"),
        (["RUN", "--host", "192.0.2.1"], "cannot listen on host=192.0.2.1 port=7860"),
        (["RUN", "--data", "missing.csv"], "missing.csv"),
        (["RUN", "--evaluation", "missing"], "evaluation=missing contains no evaluation.json"),
        (["RUN", "--prot", "80"], "--prot is not an option; did you mean --port?"),
    ],
)
def test_bad_input_is_one_line(run, capsys, words, message):
    assert main(["ui", *(str(run.folder) if word == "RUN" else word for word in words)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert error.startswith("kronos-ft: ")


def test_without_gradio(run, capsys, monkeypatch):
    monkeypatch.setattr(ui_command, "find_spec", lambda name: None)
    assert main(["ui", str(run.folder), "--port", "0"]) == 2
    assert capsys.readouterr().err == (
        "kronos-ft: the page needs gradio, which is not installed; pip install 'kronos-ft[ui]'\n"
    )


def test_a_port_that_is_taken():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"cannot listen on .*port={port} .*; pass another --port or --host"):
            check_address("127.0.0.1", port)
    assert check_address("127.0.0.1", 0) > 0


def test_who_else_can_reach_the_page_is_told():
    assert warnings_of("127.0.0.1", False) == []
    (line,) = warnings_of("0.0.0.0", False)
    assert "everyone who can reach this machine can use the page" in line
    (line,) = warnings_of("localhost", True)
    assert "public address" in line
