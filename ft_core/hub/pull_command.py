"""The `pull` command of both programs."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ..cli.options import ExactParser

CheckFolder = Callable[[Path], None]


def pull_command(program: str, words: Sequence[str], find_check: Callable[[], CheckFolder]) -> int:
    """`pull REPO DIR [--revision R] [--overwrite]`.

    Args:
        program: name for messages.
        words: what follows the command's name.
        find_check: gives the function that raises ValueError for a folder without a model of this program's; called
            late, since it imports what is heavy.
    """
    parser = ExactParser(
        prog=f"{program} pull",
        description="Fetches a model from the Hugging Face Hub into a folder: safetensors, configuration and tokenizer "
        "of one commit, which pulled.json names. Interrupted or failed: the same command completes it.",
    )
    parser.add_argument("repo", metavar="REPO", help="owner/name")
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder to make")
    parser.add_argument("--revision", metavar="R", help="branch, tag or commit (default main)")
    parser.add_argument("--overwrite", action="store_true", help="replace a pulled model in DIR")
    options = parser.parse_args(words)
    from .pull import pull_model

    settings = {"overwrite": options.overwrite, "check": find_check()}
    try:
        pulled = pull_model(options.repo, options.folder, options.revision, **settings)
    except KeyboardInterrupt:
        print(f"{program}: interrupted; the same command completes the pull", file=sys.stderr)
        return 130
    if pulled.was_there:
        print(f"unchanged   {options.folder} holds {options.repo} at commit {pulled.commit}")
    else:
        size = f"{pulled.files} files, {pulled.bytes / 2**20:.1f} MiB"
        print(f"pulled      {options.repo} at commit {pulled.commit} into {options.folder} ({size})")
    return 0
