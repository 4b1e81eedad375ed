"""Downloads a model from the Hugging Face Hub into a folder: one commit, safetensors only, atomically.

Files are downloaded to the Hub cache, so an interrupted pull continues where it stopped. Only files that load a model
are taken, and each is verified by the hash of the Hub. `pulled.json` records their origin.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.hf_api import ModelInfo

from ..checkpoints.safety import check_model_folder, check_revision
from ..checkpoints.weights import defect_of_weights
from ..io.files import write_folder, write_json
from ..io.pickles import is_pickle
from ..runs.folder import check_writable, is_empty
from .client import try_again
from .errors import HubFailure, explain, without_tokens
from .origin import PULLED_FILE, cached_hash, read_pulled
from .push import check_repository
from .pushed_files import WEIGHTS, is_part

SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Pulled:
    """The result of a pull: the commit, and whether the folder already contained it."""

    commit: str
    files: int
    bytes: int
    was_there: bool = False


def _check_target(folder: Path, repo: str, overwrite: bool) -> None:
    check_writable(folder)
    if folder in (Path.cwd(), *Path.cwd().parents):
        raise ValueError(f"{folder} is the current directory, and the pull would replace it; choose another folder")
    if not folder.is_dir() or is_empty(folder):
        return
    held = read_pulled(folder)
    if held is None:
        raise ValueError(f"{folder} is not empty and is not a pulled model; choose another folder")
    if not overwrite and held.origin.repository != repo:
        raise ValueError(f"{folder} holds {held.origin.label()}; pass --overwrite to replace it, or another folder")
    others = held.others(folder)
    if overwrite and others:
        more = f", ... and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
        raise ValueError(
            f"{folder} also contains files that were not pulled ({', '.join(others[:SHOWN])}{more}), which --overwrite "
            "would remove; move them away, or choose another folder"
        )


def _is_there(folder: Path, commit: str, asked: str) -> bool:
    """Whether a folder contains a commit, with every file unchanged since the pull.

    Raises:
        ValueError: it holds another commit, or files that were changed since.
    """
    held = read_pulled(folder)
    if held is None:
        return False
    changed = held.changed(folder)
    if held.origin.commit != commit:
        raise ValueError(
            f"{folder} holds {held.origin.label()}, and {asked} is at {commit[:12]}; pass --overwrite to replace it, "
            "or another folder"
        )
    if changed:
        raise ValueError(
            f"{folder} holds {held.origin.label()}, but {', '.join(changed[:SHOWN])} changed since; pass "
            "--overwrite to replace them, or another folder"
        )
    return True


def _choose(head: ModelInfo, repo: str) -> dict[str, str | None]:
    """Names of the files to download, with the SHA-256 of large files from the Hub.

    Raises:
        ValueError: a repository without weights in safetensors form.
    """
    named = {file.rfilename: file.lfs.sha256 if file.lfs else None for file in head.siblings or ()}
    chosen = {name: digest for name, digest in named.items() if is_part(name)}
    if not any(WEIGHTS.fullmatch(name) for name in chosen):
        pickles = sorted(name for name in named if is_pickle(name))
        reason = f"only pickled weights ({pickles[0]}), which are never downloaded" if pickles else "no *.safetensors"
        raise ValueError(f"{repo} contains {reason}; pass a repository with safetensors weights")
    return chosen


def _fetch(repo: str, commit: str, name: str, expected: str | None) -> Path:
    path = Path(hf_hub_download(repo, name, revision=commit))
    if expected is None or cached_hash(path) == expected:
        return path
    path = Path(hf_hub_download(repo, name, revision=commit, force_download=True))
    if cached_hash(path) != expected:
        raise HubFailure(f"{name} of {repo} arrived damaged (its SHA-256 differs from the Hub's)")
    return path


def pull_model(
    repo: str,
    folder: Path,
    revision: str | None = None,
    *,
    check: Callable[[Path], None],
    overwrite: bool = False,
) -> Pulled:
    """Downloads one commit of a repository into a folder, atomically.

    Args:
        repo (`str`): `owner/name`.
        folder (`Path`): does not exist, is empty, or holds a pulled model: the same commit is left as it is
            where every file has the hash that it was pulled with.
        revision (`str`, *optional*): branch, tag or commit; main by default. It is resolved to a commit first.
        check: raises ValueError for a folder that does not hold a model that can be loaded.
        overwrite (`bool`): replace a pulled model of another commit or with changes; never other files.

    Raises:
        ValueError: a name, revision or folder that cannot be used, a repository without safetensors, or a model that
            cannot be loaded; the folder is as it was.
        HubFailure: the Hub failed at every attempt; pulling again continues with the missing files.
    """
    check_repository(repo)
    check_revision("revision", revision)
    folder = folder.resolve()  # a symbolic link stays, and its target is filled
    _check_target(folder, repo, overwrite)
    if constants.is_offline_mode():
        raise ValueError(f"HF_HUB_OFFLINE is set, so {repo} cannot be accessed; unset it and try again")
    try:
        api = HfApi()
        head = try_again(lambda: api.model_info(repo, revision=revision, files_metadata=True))
        if not overwrite and _is_there(folder, head.sha, revision or constants.DEFAULT_REVISION):
            return Pulled(head.sha, 0, 0, was_there=True)
        chosen = _choose(head, repo)
        fetched = {
            name: try_again(lambda name=name: _fetch(repo, head.sha, name, chosen[name]))
            for name in sorted(chosen, key=lambda name: (bool(WEIGHTS.fullmatch(name)), name))  # small ones first
        }
    except (OSError, RuntimeError, HfHubHTTPError, ValueError) as error:
        raise _one_line(error, repo, revision) from None

    def fill(staged: Path) -> None:
        for name, path in fetched.items():
            shutil.copyfile(path, staged / name)
        defect = defect_of_weights(staged)
        if defect:
            raise ValueError(f"{repo} at {head.sha[:12]} cannot be used: {defect}; pass another revision")
        check_model_folder(staged)
        check(staged)
        record = {"repository": repo, "revision": head.sha, "revision_asked": revision or constants.DEFAULT_REVISION}
        write_json(staged / PULLED_FILE, record | {"sha256": {name: cached_hash(staged / name) for name in fetched}})

    folder.parent.mkdir(parents=True, exist_ok=True)
    write_folder(folder, fill)
    return Pulled(head.sha, len(fetched), sum((folder / name).stat().st_size for name in fetched))


def _one_line(error: Exception, repo: str, revision: str | None) -> Exception:
    """A one-line error for a failure of the Hub; local errors are returned unchanged."""
    found = explain(error, repo, revision)
    if found is None:
        return error if isinstance(error, ValueError | OSError) else HubFailure(without_tokens(str(error)))
    if isinstance(found, HubFailure):
        return HubFailure(f"{found}; no partial files are kept: pull again later")
    return found
