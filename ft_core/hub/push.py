"""Pushes a model folder to the Hugging Face Hub: one commit, safetensors only; the folder is not changed.

A push can be repeated: files that the repository already contains are not uploaded again, and if nothing changed,
there is no commit.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.hf_api import ModelInfo
from huggingface_hub.utils import HFValidationError, validate_repo_id

from ..io.console import echo
from .card import CardFacts, is_untouched, model_card, own_card
from .client import try_again
from .errors import LOG_IN, HubFailure, HubRefusal, explain, without_tokens
from .pushed_files import CARD, PushedFiles, choose_files, is_stale

_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")


@dataclass(frozen=True)
class Pushed:
    """The result of a push: the commit of the branch, and whether this push created it."""

    url: str
    commit: str
    changed: bool


def check_repository(repo: str) -> None:
    """Raises ValueError unless `repo` is a Hub name of the form owner/name."""
    try:
        validate_repo_id(repo)
        if repo.count("/") != 1:
            raise HFValidationError("it has no owner")
    except HFValidationError as error:
        raise ValueError(
            f"repository {repo!r} is not a valid Hub name ({without_tokens(str(error))}); write owner/name with "
            "letters, digits, '-', '_' and '.'"
        ) from None


def check_branch(revision: str | None) -> None:
    """Raises ValueError unless `revision` is None or can be the name of a branch."""
    if revision is None:
        return
    wrong = not _BRANCH.fullmatch(revision) or ".." in revision or "//" in revision
    if wrong or revision.endswith(("/", ".", ".lock")) or re.fullmatch(r"[0-9a-f]{40}", revision):
        raise ValueError(
            f"revision={revision!r} is not a valid branch name; use letters, digits, '-', '_', '.' and '/'"
        )


def check_login(repo: str, token: str | None = None) -> None:
    """Raises ValueError for a missing or malformed token, or in offline mode."""
    if constants.is_offline_mode():
        raise ValueError(f"HF_HUB_OFFLINE is set, so nothing is pushed to {repo}; unset it and push again")
    token = token or get_token()
    if token is None:
        raise ValueError(f"no Hub token was found, but {repo} needs one with write permission; {LOG_IN}")
    if not re.fullmatch(r"[!-~]+", token):
        raise ValueError("the Hub token contains a space or a non-ASCII character; copy it again")


def _branch_head(api: HfApi, repo: str, private: bool, branch: str) -> ModelInfo:
    """The repository at a branch; both are created if they do not exist."""
    try:
        return api.model_info(repo, revision=branch)
    except RevisionNotFoundError:
        api.create_branch(repo, branch=branch, exist_ok=True)
    except RepositoryNotFoundError as error:
        if error.response.status_code == 401:
            raise
        api.create_repo(repo, private=private or None, exist_ok=True)
        if branch != constants.DEFAULT_REVISION:
            api.create_branch(repo, branch=branch, exist_ok=True)
    return api.model_info(repo, revision=branch)


def _keeps_card(api: HfApi, repo: str, head: ModelInfo, card: str | None) -> bool:
    """Whether the card of the repository was edited on the Hub and differs from that of the folder (`card`)."""
    path = api.hf_hub_download(repo, CARD, revision=head.sha)
    held = Path(path).read_text(encoding="utf-8", errors="replace")
    return held != card and not is_untouched(held)


def _operations(chosen: PushedFiles, held: set[str]) -> list[CommitOperationAdd | CommitOperationDelete]:
    added = [CommitOperationAdd(name, content) for name, content in chosen.files.items()]
    stale = sorted(name for name in held if is_stale(name, chosen.files))
    return [*added, *(CommitOperationDelete(name) for name in stale)]


def push_model(
    folder: Path,
    repo: str,
    card: CardFacts,
    *,
    private: bool = False,
    revision: str | None = None,
    message: str | None = None,
    update_card: bool = False,
    token: str | None = None,
) -> Pushed:
    """Pushes a model folder in one commit; creates the repository and the branch if they do not exist.

    Weights, tokenizer files and settings of another model that the repository holds under other names are removed in
    the same commit. The card is the folder's own, or one made of `card`. It replaces one that this library wrote, and
    one that somebody has edited only with `update_card`.

    Args:
        folder (`Path`): holds the model; it is only read.
        repo (`str`): `owner/name`.
        card ([`CardFacts`]): what a new card says.
        private (`bool`): make a new repository private; an existing public one is refused.
        revision (`str`, *optional*): branch, main by default.
        message (`str`, *optional*): the commit's message.
        update_card (`bool`): replace the model card even if it was edited on the Hub.
        token (`str`, *optional*): of the Hub; the one that is logged in when not given.

    Raises:
        ValueError: a folder, name or log-in that cannot be used, or that the Hub refuses.
        HubFailure: the Hub failed at every try; pushing again completes the push.
    """
    check_repository(repo)
    check_branch(revision)
    chosen = choose_files(folder, card.changes)
    check_login(repo, token)
    for line in (*card.remarks, *chosen.lines()):
        echo(line)
    api, branch = HfApi(token=token), revision or constants.DEFAULT_REVISION
    first_head: list[str] = []
    own = (folder / CARD).read_text(encoding="utf-8", errors="replace") if CARD in chosen.files else None
    chosen.files[CARD] = (model_card(card, repo, revision) if own is None else own_card(own)).encode()
    kept_card: list[str] = []

    def attempt() -> Pushed:
        head = _branch_head(api, repo, private, branch)
        first_head.append(head.sha)
        if private and not head.private:
            raise HubRefusal(
                f"{repo} already exists and is public, but --private is only for new repositories; change it at "
                f"{constants.ENDPOINT}/{repo}/settings, or push without --private"
            )
        held = {file.rfilename for file in head.siblings or ()}
        kept_card.clear()
        files = dict(chosen.files)
        if CARD in held and not update_card and _keeps_card(api, repo, head, own):
            kept_card.append(repo)
            del files[CARD]
        # with the parent named, a commit whose answer was lost cannot be made twice
        commit = api.create_commit(
            repo,
            _operations(PushedFiles(files), held),
            commit_message=message or f"Push {folder.name} with kronos-ft",
            revision=branch,
            parent_commit=head.sha,
        )
        return Pushed(commit.commit_url, commit.oid, commit.oid != first_head[0])

    try:
        pushed = try_again(attempt)
    except (ConnectionError, RuntimeError, HfHubHTTPError, ValueError) as error:
        found = explain(error, repo, branch)
        detail = without_tokens(str(error))
        if found is None and isinstance(error, ValueError):
            found = ValueError(f"{repo}: {detail}")
        if isinstance(found, ValueError):
            raise found from None
        # an unrecognised error comes from the xet library, which has already retried
        reason = found or f"the upload to {repo} failed ({detail})"
        if found is None and re.search(r"\b40[13]\b", detail):
            raise HubRefusal(f"{reason}; {LOG_IN}, with a token that has write permission") from None
        raise HubFailure(f"{reason}; the local model in {folder} is intact: push again later") from None
    if kept_card:
        echo(f"kept the model card of {repo} because it was edited on the Hub; pass --update_card to replace it")
    return pushed
