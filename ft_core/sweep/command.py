"""The `sweep` command of both programs. Imports nothing heavy before it knows what to search over."""

import difflib
import importlib.util
from collections.abc import Callable, Mapping, Sequence

NEEDED = {"optuna": "optuna", "sklearn": "scikit-learn"}


def sweep_command(
    program: str, words: Sequence[str], kinds: Mapping[str, Callable[[], Callable]], about: str = ""
) -> int:
    """Searches over settings: `sweep KIND --space FILE.yaml`, or without KIND where there is one kind of run.

    Args:
        program: name for messages, such as `kronos-ft`.
        words: what follows the command's name.
        kinds: by the word on the command line (`""` where none is needed), a function that imports and returns what
            describes the runs.
        about: the help text when no kind is named.

    Raises:
        ValueError: an unknown kind, a missing package, and as [`ft_core.sweep.search.run_sweep`].
    """
    words, kind = list(words), ""
    if "" not in kinds:
        if not words or words[0] in ("-h", "--help"):
            print(about)
            return 0 if words else 2
        kind = words.pop(0)
        if kind not in kinds:
            close = difflib.get_close_matches(kind, kinds, n=1)
            hint = f"did you mean {close[0]}?" if close else f"use one of {', '.join(kinds)}"
            raise ValueError(f"{kind!r} is nothing to sweep; {hint}")
    for module, package in NEEDED.items():
        if importlib.util.find_spec(module) is None:
            raise ValueError(f"{program} sweep needs the package {package}; pip install 'kronos-ft[sweep]'")
    from .search import run_sweep

    run_sweep(kinds[kind](), words, f"{program} sweep {kind}".strip())
    return 0
