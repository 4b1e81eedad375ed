"""Random JSON values and texts, and the places of a document where they can be put: what damaged or hostile files hold.

The one source of random JSON of all property tests.
"""

import copy
import json

from hypothesis import strategies as st

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["", "x", "../..", "\x1b[2J", "9" * 40, -1, 0, 2**63, 1e308, 10**18, "2020-01-01"])
)
ODD_TEXTS = (
    *("[" * 300 + "]" * 300, '{"a":' * 100 + "1" + "}" * 100, "9" * 400, "1e400", "NaN", "-Infinity", "[1,]", "1 2"),
    *('"\\ud800"', '"\\u001b[31mred\\u202e"', '"' + "x" * 2000 + '"', "{", "", "tru", "\ufeff1"),
)
ITEMS = 2  # of a list, the others being alike
_MARK = "\ue000"  # a value that a raw text takes the place of


def values(leaves=LEAVES, keys=None, max_leaves=6):
    """JSON values: the leaves, and lists and objects of them."""
    keys = st.text(max_size=4) if keys is None else keys
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=max_leaves,
    )


VALUES = values()
TEXTS = VALUES.map(json.dumps) | st.sampled_from(ODD_TEXTS)  # of JSON, and of what is almost JSON


def places(document, path=()):
    """Paths of values within a document, the document itself included; of a list, those of its first items."""
    yield path
    if isinstance(document, dict | list):
        for key in document if isinstance(document, dict) else range(min(len(document), ITEMS)):
            yield from places(document[key], (*path, key))


def replaced(document, path, value):
    """A copy of a document with another value at a path; what is not on the path is shared."""
    if not path:
        return value
    changed = copy.copy(document)
    changed[path[0]] = replaced(document[path[0]], path[1:], value)
    return changed


def replaced_text(document, path, text):
    """The text of a document with a raw text in place of the value at a path."""
    return json.dumps(replaced(document, path, _MARK), ensure_ascii=False).replace(f'"{_MARK}"', text)


def damaged_texts(document, texts=TEXTS):
    """Texts of a document in which one value, or the whole, is something else."""
    return st.tuples(st.sampled_from(list(places(document))), texts).map(lambda drawn: replaced_text(document, *drawn))
