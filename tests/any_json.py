"""Random JSON values, and the places of a JSON document where they can be put: what hostile or damaged files hold."""

import copy

from hypothesis import strategies as st

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["", "x", "../..", "\x1b[2J", "9" * 40, -1, 0, 1e308, 10**18, "2020-01-01"])
)


def _nested(inner):
    return st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)


VALUES = st.recursive(LEAVES, _nested, max_leaves=6)


def places(document, path=()):
    """Paths of all values within a document, the document itself included."""
    yield path
    if isinstance(document, dict | list):
        for key in document if isinstance(document, dict) else range(len(document)):
            yield from places(document[key], (*path, key))


def replaced(document, path, value):
    """A copy of a document with another value at a path."""
    if not path:
        return value
    changed = copy.deepcopy(document)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed
