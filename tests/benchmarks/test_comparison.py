import pytest

from benchmarks.comparison import Row, as_markdown, print_rows, ratio_figures


def row(ratio, median, goal=2.0, **more):
    pairs = {"min": 1.0, "median": median, "max": 3.0}
    return Row("work", "rival", goal, ratio=ratio, details={"pairs": pairs}, **more)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (row(2.1, 2.2), "met"),
        (row(1.9, 1.8), "missed"),
        (row(2.1, 1.9), "undecided"),
        (row(1.9, 1.8, at_most=True), "met"),
        (row(2.1, 2.2, correct=False), "WRONG"),
        (Row("work", "rival", 2.0), "not measured"),
        (Row("work", "rival", 2.0, ratio=2.5), "met"),
    ],
)
def test_verdict(found, verdict):
    assert found.verdict == verdict


def test_tables_tell_pairs_and_rival(capsys):
    print_rows([row(2.1, 2.2)])
    assert "1.00-3.00" in (out := capsys.readouterr().out)
    assert "met, rival" in out
    assert "| 2.10 | 1.00-3.00 | 2 | met |" in as_markdown([row(2.1, 2.2)])


def test_ratio_is_that_of_medians_and_pairs_are_side_by_side():
    figures = ratio_figures([2.0, 4.0, 9.0], [1.0, 1.0, 3.0])
    assert figures["ratio"] == 4.0
    assert figures["details"]["pairs"] == {"min": 2.0, "median": 3.0, "max": 4.0}
