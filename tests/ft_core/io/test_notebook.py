"""In a notebook, progress is a bar of HTML, lines go to standard output, and a new figure is one of pyplot."""

import sys
from types import SimpleNamespace

import pytest
from matplotlib import pyplot
from transformers import TrainerControl, TrainerState
from transformers.utils import notebook

from ft_core.io.console import note, quiet
from ft_core.io.figures import new_axes
from ft_core.io.notebook import in_notebook, without_text_bars
from ft_core.io.progress_lines import LineProgress
from ft_core.training.progress import Progress


@pytest.fixture
def in_a_notebook(monkeypatch):
    """This process is taken for a kernel; a list of the HTML of each of its displays, the newest last."""
    import IPython

    shown = []

    class Handle:
        def update(self, html):
            shown[-1] = html.data

    def display(html, display_id):
        shown.append(html.data)
        return Handle()

    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(config={"IPKernelApp": {}}))
    monkeypatch.setattr(notebook.disp, "display", display)
    return shown


def test_a_script_and_a_terminal_are_no_notebook(monkeypatch):
    import IPython

    assert not in_notebook()
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(config={"TerminalIPythonApp": {}}))
    assert not in_notebook()
    monkeypatch.delitem(sys.modules, "IPython")
    assert not in_notebook()


def test_items_are_counted_by_a_bar(in_a_notebook, capsys):
    progress = LineProgress("summarised")
    for done in (0, 3, 7):
        progress(done, 7)
    assert len(in_a_notebook) == 1
    assert "summarised" in in_a_notebook[0]
    assert "[7/7" in in_a_notebook[0]
    progress(0, 4)  # another count begins
    assert len(in_a_notebook) == 2
    assert capsys.readouterr() == ("", "")


def follow(progress):
    """A training of four steps with two evaluations."""
    args = SimpleNamespace(metric_for_best_model="eval_loss", greater_is_better=False)
    state, control = TrainerState(max_steps=4), TrainerControl()
    progress.on_train_begin(args, state, control)
    for step in range(1, 5):
        state.global_step = step
        progress.on_step_end(args, state, control)
        progress.on_log(args, state, control, logs={"loss": 1 / step})
        if step % 2 == 0:
            metrics = {"eval_loss": 2 / step} | ({"eval_accuracy": 0.25} if step == 4 else {})
            progress.on_evaluate(args, state, control, metrics=metrics)
    progress.on_train_end(args, state, control)


def test_training_has_a_bar_and_a_table(in_a_notebook, capsys):
    follow(Progress(("loss",), ("loss", "accuracy")))
    (html,) = in_a_notebook
    assert "[4/4" in html
    assert "loss 0.25" in html
    cells = [part.partition("<")[0] for part in html.replace("<th>", "<td>").split("<td>")[1:]]
    assert cells == ["step", "loss", "accuracy", "2", "1", "-", "4", "0.5", "0.25"]
    assert capsys.readouterr() == ("", "")


def test_outside_of_a_notebook_there_are_lines(capsys):
    follow(Progress(("loss",), ("loss", "accuracy")))
    assert capsys.readouterr().err.splitlines() == [
        "validation at step 2: loss 1",
        "validation at step 4: loss 0.5, accuracy 0.25",
    ]


def test_nothing_is_shown_when_it_is_quiet(in_a_notebook, capsys):
    with quiet():
        follow(Progress(("loss",), ("loss",)))
    assert in_a_notebook == []
    assert capsys.readouterr() == ("", "")


def test_notes_are_not_shown_as_errors(in_a_notebook, capsys):
    note("a line")
    assert capsys.readouterr() == ("a line\n", "")


def test_a_figure_is_shown_only_inline(monkeypatch):
    monkeypatch.setattr("ft_core.io.figures.in_notebook", lambda: True)
    pyplot.close("all")
    backend = pyplot.get_backend()
    new_axes(4, 3, "a file")
    assert pyplot.get_fignums() == []
    axes = new_axes(4, 3, "inline", inline=True)
    assert pyplot.gcf() is axes.figure  # which the backend of notebooks shows, and closes
    assert pyplot.get_backend() == backend
    pyplot.close("all")


@pytest.mark.parametrize("widgets", [None, object()])
def test_text_bars_of_datasets_are_hidden(in_a_notebook, monkeypatch, widgets):
    import datasets

    monkeypatch.setattr("ft_core.io.notebook.find_spec", lambda name: widgets)
    assert not datasets.utils.are_progress_bars_disabled()
    with without_text_bars():
        assert datasets.utils.are_progress_bars_disabled() == (widgets is None)
    assert not datasets.utils.are_progress_bars_disabled()
