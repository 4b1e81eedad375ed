"""Pushes a folder in a separate process during training: `python -m ft_core.hub.push_worker < settings.json`.

A process and not a thread, because the Hub's client keeps global state, nothing may draw from the training's random
numbers, and a training that is stopped can end it at once. The outcome is one line of JSON on standard output.
"""

import json
import sys
from pathlib import Path

from ..io.console import quiet
from .card import CardFacts
from .errors import HubFailure
from .push import push_model

NO_FACTS = CardFacts("A model", "kronos-ft", "other", [], "")  # the folder has a card


def main() -> int:
    """Pushes what standard input names: folder, repo, private, revision, message."""
    settings = json.load(sys.stdin)
    folder, repo = Path(settings.pop("folder")), settings.pop("repo")
    try:
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
