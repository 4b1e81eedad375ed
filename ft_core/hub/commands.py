"""The `push` and `pull` commands of both programs."""

import sys
from collections.abc import Sequence
from pathlib import Path

from ..cli.options import ExactParser
from ..cli.program import load_function
from .card import CardOptions


def push_command(argv: Sequence[str], program: str, kept: str, find_model: str, forecasts: bool = False) -> int:
    """`push DIR REPO [--private] [--revision BRANCH] [--message TEXT] [--update_card]`, and what its card says.

    Args:
        argv: the command line after the command's name.
        program: name for messages.
        kept: folder of a run that is pushed.
        find_model: `module:function` that finds the model folder and the facts of its card; imported late.
        forecasts: whether the program's models have evaluations, and tokenizers of their own.
    """
    parser = ExactParser(
        prog=f"{program} push",
        description="Pushes a model to the Hugging Face Hub in one commit; safetensors only. Log in with `hf auth "
        "login` or HF_TOKEN. To complete an interrupted push, run the same command again.",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help=f"model folder, or run folder (then its {kept}/)")
    parser.add_argument("repo", metavar="REPO", help="owner/name; created if it does not exist")
    parser.add_argument("--private", action="store_true", help="make a new repository private (default: public)")
    parser.add_argument("--revision", metavar="BRANCH", help="branch to push to, created if missing (default main)")
    parser.add_argument("--message", metavar="TEXT", help="commit message")
    parser.add_argument(
        "--update_card", action="store_true", help="replace the model card even if it was edited on the Hub"
    )
    parser.add_argument(
        "--power", metavar="WATTS", type=float, help="mean power of one device during training, for the card"
    )
    parser.add_argument(
        "--carbon_intensity", metavar="GRAMS", type=float, help="g CO2eq per kWh (default 475, the world average)"
    )
    if forecasts:
        parser.add_argument(
            "--evaluation",
            metavar="DIR",
            help="evaluation of this model, for the card (default: next to the run)",
        )
        parser.add_argument("--tokenizer", metavar="REPO", help="the predictor's tokenizer on the Hub, for the card")
    options = parser.parse_args(argv)
    from .push import check_branch, check_repository, push_model

    check_repository(options.repo)
    check_branch(options.revision)
    about = ("power", "carbon_intensity", *(("evaluation", "tokenizer") if forecasts else ()))
    folder, card = load_function(find_model)(
        options.folder, CardOptions(**{name: getattr(options, name) for name in about})
    )
    settings = {name: getattr(options, name) for name in ("private", "revision", "message", "update_card")}
    try:
        pushed = push_model(folder, options.repo, card, **settings)
    except KeyboardInterrupt:
        print(f"{program}: interrupted; run the same command again to complete the push", file=sys.stderr)
        return 130
    print(f"{'pushed' if pushed.changed else 'unchanged, nothing to commit'}  {pushed.url}")
    return 0


def pull_command(argv: Sequence[str], program: str, check: str) -> int:
    """`pull REPO DIR [--revision R] [--overwrite]`.

    Args:
        argv: the command line after the command's name.
        program: name for messages.
        check: `module:function` that raises ValueError for a folder without a model of this program; imported late.
    """
    parser = ExactParser(
        prog=f"{program} pull",
        description="Downloads a model from the Hugging Face Hub: safetensors, configuration and tokenizer of one "
        "commit, which pulled.json records. To complete an interrupted pull, run the same command again.",
    )
    parser.add_argument("repo", metavar="REPO", help="owner/name")
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder to create")
    parser.add_argument("--revision", metavar="R", help="branch, tag or commit (default main)")
    parser.add_argument("--overwrite", action="store_true", help="replace a pulled model in DIR")
    options = parser.parse_args(argv)
    from .pull import pull_model

    settings = {"overwrite": options.overwrite, "check": load_function(check)}
    try:
        pulled = pull_model(options.repo, options.folder, options.revision, **settings)
    except KeyboardInterrupt:
        print(f"{program}: interrupted; run the same command again to complete the pull", file=sys.stderr)
        return 130
    if pulled.was_there:
        print(f"unchanged   {options.folder} holds {options.repo} at commit {pulled.commit}")
    else:
        size = f"{pulled.files} files, {pulled.bytes / 2**20:.1f} MiB"
        print(f"pulled      {options.repo} at commit {pulled.commit} into {options.folder} ({size})")
    return 0
