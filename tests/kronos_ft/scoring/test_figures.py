"""What goes to JSON is defined or says why it is not."""

import json

import numpy as np
import pytest

from kronos_ft.scoring.figures import Figures, plain


def test_undefined_figures_are_none_with_a_reason():
    found = Figures.of(np.array([1.0, np.nan, np.inf, 3.0]), "no data")
    assert found == Figures([1.0, None, None, 3.0], 2.0, "no data")
    assert Figures.of(np.array([1.0, 3.0]), "no data").note is None
    assert Figures.of(np.array([np.nan]), "no data") == Figures.undefined(1, "no data")


def test_plain_values_are_json():
    tree = {0.5: Figures([1.0, None], 1.0, "why"), "n": np.int64(3), "rows": (np.array([1.5]), np.float32(2))}
    text = json.dumps(plain(tree), allow_nan=False)
    assert json.loads(text) == {
        "0.5": {"by_horizon": [1.0, None], "overall": 1.0, "note": "why"},
        "n": 3,
        "rows": [[1.5], 2.0],
    }
    with pytest.raises(ValueError, match="a figure is nan, which JSON cannot represent"):
        plain([np.nan])
