"""Which cases of a long test belong to the sample that `make test` runs; the others are for `make test-faults`."""

from collections.abc import Sequence

import pytest


def sample(values: Sequence[object], *kept: object) -> list[object]:
    """Parameters of a test, of which `make test` takes those in `kept` alone."""
    return [value if value in kept else pytest.param(value, marks=pytest.mark.thorough) for value in values]


def sample_combinations(items: Sequence[pytest.Item]) -> None:
    """Of tests marked `combinations`, `make test` takes as few combinations of parameters as hold every value.

    Item k takes value k mod n of each parameter with n values; the others become `thorough`.
    """
    tests: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("combinations"):
            tests.setdefault(item.nodeid.split("[", 1)[0], []).append(item)
    for cases in tests.values():
        named = [case.callspec._idlist for case in cases]  # one name for each decorator
        values = [list(dict.fromkeys(column)) for column in zip(*named, strict=True)]
        kept = [[one[k % len(one)] for one in values] for k in range(max(map(len, values)))]
        for case, names in zip(cases, named, strict=True):
            if list(names) not in kept:
                case.add_marker("thorough")
