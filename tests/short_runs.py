"""Runs of tests leave out what takes longer than their training.

- `loss_curves.png` is a dot: drawing the curves takes twice as long as six steps of training.
- The probe of an mT5 run times two micro-batches instead of 32, and two tokens of a summary instead of 24.
"""

import base64

import pytest

import kronos_ft.runs.finish
import mt5_ft.runs.finish
import mt5_ft.runs.probe
from ft_core.io.files import write_file

DOT = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg==")
FINISHES = (kronos_ft.runs.finish, mt5_ft.runs.finish)


def write_dot(history, panels, title, path):
    """Takes the place of `plot_curves`: the same file operations, a picture of one pixel."""
    write_file(path, lambda temporary: temporary.write_bytes(DOT))


def shorten_runs(patch: pytest.MonkeyPatch) -> None:
    """Finished runs write a dot from now on, and probes are brief."""
    for module in FINISHES:
        patch.setattr(module, "plot_curves", write_dot)
    patch.setattr(mt5_ft.runs.probe, "TIMED_BATCHES", (1, 2))
    patch.setattr(mt5_ft.runs.probe, "PROBE_TOKENS", 2)


@pytest.fixture(scope="session", autouse=True)
def _short_runs():
    with pytest.MonkeyPatch.context() as patch:
        shorten_runs(patch)
        yield


@pytest.fixture
def drawn_curves(monkeypatch):
    """The runs of this test draw their curves."""
    from ft_core.training.curves import plot_curves

    for module in FINISHES:
        monkeypatch.setattr(module, "plot_curves", plot_curves)
