"""Pictures with names that the fonts of the machine cannot write."""

import logging
import warnings

import pytest
from matplotlib import image, rc_context
from matplotlib.text import Text

from ft_core.io import figures
from ft_core.io.figures import new_axes, save_figure


@pytest.fixture
def without_chinese_fonts(monkeypatch):
    monkeypatch.setattr(figures, "CHINESE_FONTS", ())
    figures._warn_of_boxes.cache_clear()
    yield
    figures._warn_of_boxes.cache_clear()


def test_characters_without_a_font_are_one_warning(without_chinese_fonts, caplog, tmp_path, recwarn):
    with rc_context({"font.sans-serif": ["No Such Font"]}), caplog.at_level(logging.WARNING):
        for name in ("a.png", "b.png"):
            save_figure(new_axes(3, 2, "贵州"), tmp_path / name)  # DejaVu Sans is left
    assert image.imread(tmp_path / "b.png").shape[1] == 360
    (record,) = caplog.records
    assert record.message.startswith("no installed font has some characters of the picture")
    assert not len(recwarn)
    assert logging.getLogger("matplotlib.font_manager").level == logging.NOTSET


def test_other_warnings_of_drawing_remain(tmp_path):
    class Warns(Text):
        def draw(self, renderer):
            warnings.warn("something else", UserWarning, stacklevel=1)

    axes = new_axes(3, 2, "title")
    axes.add_artist(Warns())
    with pytest.warns(UserWarning, match="something else"):
        save_figure(axes, tmp_path / "a.png")


def test_chinese_texts_get_an_installed_chinese_font(monkeypatch, tmp_path):
    monkeypatch.setattr(figures, "CHINESE_FONTS", ("No Such Font", "DejaVu Serif", "DejaVu Sans Mono"))
    axes = new_axes(3, 2, "贵州茅台")
    axes.set_xlabel("bars ahead")
    save_figure(axes, tmp_path / "a.png")
    (title,) = axes.figure.texts
    assert title.get_fontfamily() == ["sans-serif", "DejaVu Serif"]
    assert axes.xaxis.label.get_fontfamily() == ["sans-serif"]
