"""Input of others: a pickle that leaves a witness when it is read, and the one line that a refusal must be."""

import pickle
from pathlib import Path


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return (Path.touch, (Path(self.witness),))


def write_payload(path, witness):
    """A pickle at `path`; `witness` exists once somebody has read it."""
    path.write_bytes(pickle.dumps({"weight": Payload(str(witness))}))
    return path


def files_of(folder):
    """Every file below a folder with its bytes."""
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def refusal(capsys, main, words):
    """The one line on standard error of words that must be refused with exit code 2."""
    capsys.readouterr()
    code = main([str(word) for word in words])
    error = capsys.readouterr().err
    assert "Traceback" not in error
    lines = [line for line in error.splitlines() if line.strip() and "it/s]" not in line]
    assert code == 2, (code, error)
    assert len(lines) == 1, error
    assert lines[0].startswith(("kronos-ft: ", "mt5-ft: "))
    return lines[0]
