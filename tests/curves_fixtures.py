"""Runs of tests write a dot as `loss_curves.png`: drawing the curves takes twice as long as six steps of training."""

import base64

import pytest

import kronos_ft.runs.finish
import mt5_ft.runs.finish
from ft_core.io.files import write_file

DOT = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg==")
FINISHES = (kronos_ft.runs.finish, mt5_ft.runs.finish)


def write_dot(history, panels, title, path):
    """Takes the place of `plot_curves`: the same file operations, a picture of one pixel."""
    write_file(path, lambda temporary: temporary.write_bytes(DOT))


def draw_dots(patch: pytest.MonkeyPatch) -> None:
    """Finished runs write a dot from now on."""
    for module in FINISHES:
        patch.setattr(module, "plot_curves", write_dot)


@pytest.fixture(scope="session", autouse=True)
def _dots():
    with pytest.MonkeyPatch.context() as patch:
        draw_dots(patch)
        yield


@pytest.fixture
def drawn_curves(monkeypatch):
    """The runs of this test draw their curves."""
    from ft_core.training.curves import plot_curves

    for module in FINISHES:
        monkeypatch.setattr(module, "plot_curves", plot_curves)
