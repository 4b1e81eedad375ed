"""Training curves: drawn whole, and without a change to the matplotlib of whoever imports a trainer."""

import matplotlib
from matplotlib import image, pyplot

from ft_core.training.curves import Panel, plot_curves
from tests.forked import Forked, is_imported


def test_trainers_are_imported_without_matplotlib(tmp_path):
    """Its backend is the reader's choice; a notebook that imports a trainer goes on showing pictures."""
    assert Forked(tmp_path / "text", is_imported, "mt5_ft.runs.run").end() == 1
    assert Forked(tmp_path / "text", is_imported, "matplotlib").end() == 0


def test_curves_are_drawn_without_pyplot(tmp_path):
    backend = matplotlib.get_backend()
    history = [{"step": step, "loss": 1.0 / step, "grad_norm": 0.5} for step in range(1, 20)]
    panels = [Panel("loss", ("loss",)), Panel("$norm", ("grad_norm",), log_scale=True), Panel("none", ("other",))]
    plot_curves([*history, {"step": 10, "eval_loss": 0.2}], panels, "costs $5 and $6", tmp_path / "curves.png")
    drawn = image.imread(tmp_path / "curves.png")
    assert drawn.shape[1] == 1210  # 11 inches at 110 dots
    assert len({tuple(pixel) for pixel in drawn[::4, ::4].reshape(-1, drawn.shape[2])}) > 20
    assert pyplot.get_fignums() == []
    assert matplotlib.get_backend() == backend
    assert list(tmp_path.iterdir()) == [tmp_path / "curves.png"]
