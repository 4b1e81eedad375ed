"""Which cases of a long test belong to the sample that `make test` runs; the others are for `make test-faults`."""

from collections.abc import Sequence

import pytest


def sample(values: Sequence[object], *kept: object) -> list[object]:
    """Parameters of a test, of which `make test` takes those in `kept` alone."""
    return [value if value in kept else pytest.param(value, marks=pytest.mark.thorough) for value in values]
