"""The `push` command of both programs."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from .command_line import OneLineParser
from .model_card import CardFacts

FindModel = Callable[[Path], tuple[Path, CardFacts]]


def push_command(program: str, words: Sequence[str], kept: str, find_model: Callable[[], FindModel]) -> int:
    """`push DIR REPO [--private] [--revision BRANCH] [--message TEXT]`.

    Args:
        program: name for messages.
        words: what follows the command's name.
        kept: folder of a run that is pushed.
        find_model: gives the function that finds the model folder and says what its card says; called late, since it
            imports what is heavy.
    """
    parser = OneLineParser(
        prog=f"{program} push",
        description="Pushes a model to the Hugging Face Hub in one commit; safetensors only. Log in with `hf auth "
        "login` or HF_TOKEN. Interrupted or failed: the same command completes it.",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help=f"model folder, or run folder (then its {kept}/)")
    parser.add_argument("repo", metavar="REPO", help="owner/name; made if it does not exist")
    parser.add_argument("--private", action="store_true", help="make a new repository private (default: public)")
    parser.add_argument("--revision", metavar="BRANCH", help="branch to push to, made if missing (default main)")
    parser.add_argument("--message", metavar="TEXT", help="message of the commit")
    options = parser.parse_args(words)
    from .push import check_branch, check_repository, push_model

    check_repository(options.repo)
    check_branch(options.revision)
    folder, card = find_model()(options.folder)
    settings = {"private": options.private, "revision": options.revision, "message": options.message}
    try:
        pushed = push_model(folder, options.repo, card, **settings)
    except KeyboardInterrupt:
        print(f"{program}: interrupted; the same command completes the push", file=sys.stderr)
        return 130
    print(f"{'pushed' if pushed.changed else 'unchanged, nothing to commit'}  {pushed.url}")
    return 0
