"""Options and environment variables by their whole names: a misspelt one is refused with the nearest name."""

import argparse
import difflib
import os
import sys
from collections.abc import Sequence

from .program import OneLineParser

PREFIX = "KRONOS_FT_"
VARIABLES = ("KRONOS_FT_CACHE", "KRONOS_FT_MAX_UNPACKED", "KRONOS_FT_TRACEBACK")


class ExactParser(OneLineParser):
    """A parser that takes no abbreviations and names the option that was probably meant.

    Args:
        kwargs: as for `argparse.ArgumentParser`.
    """

    def __init__(self, **kwargs: object):
        super().__init__(**kwargs, allow_abbrev=False)

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """As the parent's.

        Raises:
            ValueError: an unknown option, with the nearest known one; a word too many, a missing or a bad value.
        """
        for word in sys.argv[1:] if args is None else args:
            name = word.split("=")[0]
            if len(name) > 2 and name.startswith("--") and name not in self._option_string_actions:
                close = difflib.get_close_matches(name, self._option_string_actions, n=1, cutoff=0.5)
                raise ValueError(f"{name} is not an option; {f'did you mean {close[0]}?' if close else 'see --help'}")
        return super().parse_args(args, namespace)


def check_variables() -> None:
    """Raises ValueError when a variable looks like one of this library's, misspelt: it would be ignored otherwise."""
    for name in sorted(os.environ):
        if not name.startswith(PREFIX) or name in VARIABLES:
            continue
        bare = [known.removeprefix(PREFIX) for known in VARIABLES]
        close = difflib.get_close_matches(name.removeprefix(PREFIX), bare, n=1, cutoff=0.7)
        if close:
            raise ValueError(f"environment variable {name} is not known; did you mean {PREFIX}{close[0]}?")
