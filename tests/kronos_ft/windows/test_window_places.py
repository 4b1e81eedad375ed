"""Where windows begin: against a loop over all bars."""

import itertools

import numpy as np
import pytest

from kronos_ft.windows import dataset as window_places
from kronos_ft.windows.dataset import WindowPlaces, stretch_edges


def by_hand(edges, length, stride):
    """(start, first, last start) of each window, symbol by symbol."""
    return [
        [
            (start, first, end - length)
            for first, end in itertools.pairwise(one)
            for start in range(first, end - length + 1, stride)
        ]
        for one in edges
    ]


@pytest.mark.parametrize("stride", [1, 3])
def test_places_are_those_of_a_loop(stride, monkeypatch):
    edges = [np.array([0, 12, 13, 40]), np.array([50, 55]), np.array([60, 71, 90]), np.array([100, 100])]
    expected = by_hand(edges, 6, stride)
    places = WindowPlaces(edges, 6, stride)
    assert places.per_symbol == [len(one) for one in expected]
    every = np.array([place for one in expected for place in one])
    assert len(places) == len(every)
    windows = np.arange(len(places))
    assert places.starts(windows).tolist() == every[:, 0].tolist()
    monkeypatch.setattr(window_places, "PIECE", 4)
    assert np.concatenate(list(places.pieces())).tolist() == every[:, 0].tolist()
    shifts = np.random.default_rng(0).integers(-4, 5, len(windows))
    assert places.shifted(windows, shifts).tolist() == np.clip(every[:, 0] + shifts, every[:, 1], every[:, 2]).tolist()


def test_a_stretch_begins_where_a_gap_is_too_long_but_not_at_the_borders():
    too_long = np.zeros(20, dtype=bool)
    too_long[[3, 7, 12, 15]] = True
    assert stretch_edges(3, 15, too_long).tolist() == [3, 7, 12, 15]


def test_no_stretch_is_long_enough():
    assert len(WindowPlaces([np.array([0, 4])], 6, 1)) == 0
