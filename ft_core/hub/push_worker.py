"""Pushes a folder in a separate process during training: `python -m ft_core.hub.push_worker < settings.json`.

A process and not a thread, because the Hub's client keeps global state, nothing may draw from the training's random
numbers, and a training that is stopped can end it at once. The outcome is one line of JSON on standard output.
"""

import json
import sys
from pathlib import Path
from typing import TypedDict

from ..io.console import quiet
from ..io.formats import parse_json
from .card import CardFacts
from .errors import HubFailure
from .push import push_model

NO_FACTS = CardFacts("A model", "kronos-ft", "other", [], "")  # the folder has a card


class _Settings(TypedDict):
    folder: str
    repo: str
    private: bool
    revision: str | None
    message: str


def main() -> int:
    """Pushes what standard input names: folder, repo, private, revision, message."""
    try:
        settings = parse_json(sys.stdin.read(), _Settings)
        folder, repo = Path(settings.pop("folder")), settings.pop("repo")
        with quiet():
            pushed = push_model(folder, repo, NO_FACTS, **settings)
    except (HubFailure, ValueError, OSError) as error:
        print(json.dumps({"error": " ".join(str(error).split())}), flush=True)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps({"commit": pushed.commit, "changed": pushed.changed}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
