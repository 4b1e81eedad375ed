"""This library's cache folder on this machine. Imports nothing heavy."""

import os
from pathlib import Path

CACHE_VARIABLE = "KRONOS_FT_CACHE"


def own_cache() -> Path:
    """This library's cache folder: `KRONOS_FT_CACHE`, or `~/.cache/kronos-ft`."""
    return Path(os.environ.get(CACHE_VARIABLE) or "~/.cache/kronos-ft").expanduser()
