"""Resolves a model's name to a local folder, and pins the Hub commit that a run starts from.

Notable:
- Every model of the Hub is downloaded here, at one commit, only as safetensors. Pickled weights are refused.
- If the Hub does not answer, the model is taken from the cache.
- A branch can move, but the starting weights of a run must not change: a run records the commit, and a resumed run uses
  the same one.
"""

import copy
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from accelerate.utils import broadcast_object_list
from huggingface_hub import _CACHED_NO_EXIST, HfApi, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import httpx, validate_repo_id

from ..checkpoints.listing import find_newest_complete
from ..checkpoints.weights import NOT_WEIGHTS
from ..io.pickles import is_pickle, refuse_pickled_weights, weights_remedy
from ..runs.folder import BEST_MODEL, FINAL_MODEL, RUN_FILE
from ..runs.lock import is_held
from ..runs.processes import process_group
from ..runs.record_schema import find_record
from .client import hub_answers
from .errors import LOG_IN, HubFailure, explain
from .origin import origin_of

CONFIG, WEIGHTS, WEIGHTS_INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MOST_PULL_REQUESTS = 5  # newest pull requests to search
MODEL_FOLDERS = (BEST_MODEL, FINAL_MODEL)
OFFLINE = "connect, set HF_ENDPOINT to a mirror, or pass a folder with the model"
LATER = "no incomplete file is kept; try again later, or pass a folder with the model"


class HubUnreachable(ConnectionError):
    """The Hub gave no usable answer and the model is not in the cache."""


def check_name(name: str) -> None:
    """Raises ValueError for a file, a missing path, or an invalid repository name."""
    path = Path(name)
    if path.is_dir() or path.name in (BEST_MODEL, FINAL_MODEL):
        _refuse_unfinished(path)
    if path.is_dir():
        return
    if path.exists():
        refuse_pickled_weights(path)
        raise ValueError(f"model={name} is a file; pass the folder with {CONFIG} and {WEIGHTS}")
    if path.is_absolute() or name.startswith(("./", "../", "~")):
        raise ValueError(f"model folder {name} does not exist; correct the path")
    try:
        validate_repo_id(name)
    except HFValidationError:
        raise ValueError(f"model={name!r} is not an existing folder or a Hub name (owner/name); correct it") from None


def _refuse_unfinished(path: Path) -> None:
    """Raises ValueError for the folder of a run that has no model yet, or for the model that it does not have yet."""
    run = path if path.is_dir() else path.parent
    if not (run / RUN_FILE).is_file() or any(
        (run / name).exists() for name in (*MODEL_FOLDERS, CONFIG, ADAPTER_CONFIG)
    ):
        return
    newest, _ = find_newest_complete(run)
    other = f", or pass its newest checkpoint, {newest}" if newest else ""
    raise ValueError(
        f"model={path}: the run in {run} has no model yet; "
        f"{'wait until it has finished' if is_held(run) else 'continue it with --resume'}{other}"
    )


def pickled_weights(names: list[str]) -> list[str]:
    """The names of pickled weights or tokenizers, sorted; pickles of a training state do not count."""
    return sorted(name for name in names if is_pickle(name) and not name.startswith(NOT_WEIGHTS))


def refuse_pickles(folder: Path) -> None:
    """Raises ValueError for a folder with pickled weights and no safetensors; explains how to convert them."""
    pickles = pickled_weights([path.name for path in folder.glob("*")])
    if pickles and not any(folder.glob("*.safetensors")):
        target = ADAPTER_WEIGHTS if pickles[0].startswith("adapter") else WEIGHTS
        raise ValueError(
            f"model folder {folder} contains only pickled weights ({pickles[0]}), which are never loaded; "
            f"{weights_remedy(pickles[0], target)}"
        )


class HubFiles:
    """The files of a Hub repository at one commit, downloaded when asked for.

    Args:
        name (`str`): owner/name.
        options (`dict`): options of `hf_hub_download`; the first file decides the commit of the others.
    """

    def __init__(self, name: str, options: dict):
        self.name, self.options = name, dict(options)
        self.failure: LocalEntryNotFoundError | None = None

    def get(self, file: str) -> Path:
        """Path of a file.

        Raises:
            EntryNotFoundError: the repository does not have it, or the Hub does not answer and it is not in the cache.
        """
        path = Path(hf_hub_download(self.name, file, **self.options))
        if origin := origin_of(path.parent):  # the branch may change between two files
            self.options["revision"] = origin.commit
        return path

    def find(self, file: str) -> Path | None:
        """Path of a file that the repository may lack, or None.

        If the Hub does not answer, this and all further files are looked for in the cache, and `failure` says why.
        """
        places = {name: self.options[name] for name in ("revision", "cache_dir") if name in self.options}
        if try_to_load_from_cache(self.name, file, **places) is _CACHED_NO_EXIST:
            return None
        try:
            return self.get(file)
        except RemoteEntryNotFoundError:
            return None
        except LocalEntryNotFoundError as error:
            self.failure = self.failure or error
            self._go_offline()
            return None

    def first(self, *alternatives: tuple[str, ...]) -> list[Path]:
        """Paths of the first group of files that the repository has.

        Raises:
            EntryNotFoundError: it has none of them.
        """
        missing = None
        for files in alternatives:
            try:
                return [self.get(file) for file in files]
            except EntryNotFoundError as error:
                missing = missing or error
                if isinstance(error, LocalEntryNotFoundError):
                    self._go_offline()
        raise self.failure or missing

    def _go_offline(self) -> None:
        self.options |= {"local_files_only": True, "force_download": False}


def fetch(name: str, collect: Callable[[HubFiles], Path], *, kind: str, **options: object) -> Path:
    """Downloads a model of the Hub, or finds it in the cache.

    Args:
        name (`str`): owner/name.
        collect: downloads the needed files and returns their folder; checks the configuration before the weights.
        kind (`str`): what is expected there, such as `an mT5 model`.
        options: of `hf_hub_download`, such as `revision` and `token`.

    Raises:
        ValueError: no such repository or revision, no access, or no model in safetensors format.
        HubUnreachable: the Hub cannot be reached and the model is not in the cache.
    """
    options = {option: value for option, value in options.items() if value is not None}
    if not options.get("local_files_only") and not hub_answers():
        options["local_files_only"] = True
    revision = options.get("revision")
    try:
        try:
            return collect(HubFiles(name, options))
        except RemoteEntryNotFoundError:
            raise _incomplete(name, revision, options.get("token"), kind) from None
    except RepositoryNotFoundError as error:
        if isinstance(error, GatedRepoError):
            raise explain(error, name) from None
        raise ValueError(
            f"model={name!r} is not a folder or a Hub repository that you can read; correct the name or {LOG_IN}"
        ) from None
    except LocalEntryNotFoundError as error:
        failure = explain(error, name, revision)
        if isinstance(failure, ValueError) and not isinstance(error.__cause__, OfflineModeIsEnabled):
            raise failure from None
        if isinstance(failure, HubFailure):
            raise HubUnreachable(f"{failure}, and the model is not in the local cache; {LATER}") from None
        parent = Path(name).parent
        mistaken = f"{name} is not in the folder {parent}; " if parent.name and parent.is_dir() else ""
        raise HubUnreachable(
            f"{mistaken}cannot reach the Hub for {name}, and it is not in the local cache; {OFFLINE}"
        ) from None
    except (httpx.HTTPError, ConnectionError) as error:  # includes error responses of the Hub
        found = explain(error, name, revision) or HubFailure(f"the download of {name} failed ({error})")
        if isinstance(found, ValueError):
            raise found from None
        if not options.get("local_files_only"):
            with suppress(LocalEntryNotFoundError):  # the client uses the cache after some failures, but not all
                return collect(HubFiles(name, {**options, "local_files_only": True, "force_download": False}))
        raise HubUnreachable(f"{found}; {LATER}") from None
    except OSError as error:
        if "Consistency check failed" not in str(error):
            raise
        raise HubUnreachable(f"the Hub sent a file of {name} with a wrong size; {LATER}") from None


def _incomplete(name: str, revision: str | None, token: str | bool | None, kind: str) -> ValueError:
    """The error for a repository without the files of a model."""
    api = HfApi(token=token)
    files = api.list_repo_files(name, revision=revision)
    pickles = pickled_weights(files)
    if not pickles:
        missing = [file for file in (CONFIG, WEIGHTS) if file not in files]
        return ValueError(f"repository {name} has no {' or no '.join(missing)}; pass a repository with {kind}")
    offered = _offered_conversion(api, name)
    others = (
        f"use revision {offered}, a pull request with safetensors, if you trust it (training and pull accept "
        "--revision); or "
        if offered
        else ""
    )
    return ValueError(
        f"{name} contains only pickled weights ({', '.join(pickles[:3])}), which are never loaded; {others}download it "
        f"and {weights_remedy(pickles[0])}"
    )


def _offered_conversion(api: HfApi, name: str) -> str | None:
    """The newest pull request of a Hub repository with safetensors weights, `refs/pr/N`, or None.

    Anybody can open a pull request: the message names it, but it is never used automatically.
    """
    with suppress(OSError, ValueError):
        refs = api.list_repo_refs(name, include_pull_requests=True).pull_requests or []
        newest = sorted(refs, key=lambda one: int(one.ref.rsplit("/", 1)[-1]), reverse=True)
        for one in newest[:MOST_PULL_REQUESTS]:
            if {WEIGHTS, WEIGHTS_INDEX} & set(api.list_repo_files(name, revision=one.ref)):
                return one.ref
    return None


@dataclass(frozen=True)
class Start:
    """A model to start from.

    Attributes:
        settings: a copy of the model settings whose revision is a commit, where the model is one of the Hub.
        folder (`Path`, *optional*): holds the model; None for random weights.
    """

    settings: object
    folder: Path | None


def pin(
    settings: object, name: str | None, find: Callable[[str | None], Path], run: Path | None, prefix: str = ""
) -> Start:
    """Finds the model that settings name, at the same commit in all processes of a run.

    In the copy of the settings, `PREFIXrevision` becomes the commit, `PREFIXrevision_asked` keeps what was asked for,
    and `PREFIXrepository` names the repository; they stay None for a folder that is not of the Hub.

    Args:
        settings: has those fields.
        name (`str`, *optional*): the model as the settings name it.
        find: gives the folder of the model at a revision.
        run (`Path`, *optional*): a run that is resumed, whose recorded commit is taken.
        prefix (`str`): of the fields, such as `tokenizer_`.

    Raises:
        ValueError: no such model or revision.
        HubUnreachable: the Hub cannot be reached and the model is not in the cache.
    """
    asked = getattr(settings, f"{prefix}revision")
    folder = find((_recorded_commit(run, name, asked, prefix) if run is not None else None) or asked)
    origin = origin_of(folder)
    if process_group().num_processes > 1:  # a branch may have moved on between two of them
        agreed = broadcast_object_list([origin])[0]
        if agreed != origin:
            origin, folder = agreed, find(agreed.commit if agreed else asked)
    pinned = copy.copy(settings)
    setattr(pinned, f"{prefix}revision_asked", asked)
    setattr(pinned, f"{prefix}revision", origin.commit if origin else asked)
    setattr(pinned, f"{prefix}repository", origin.repository if origin else None)
    return Start(pinned, folder)


def _recorded_commit(run: Path, model: str | None, asked: str | None, prefix: str) -> str | None:
    """The recorded commit of a model that is requested again; None if it is unknown or another model."""
    known = find_record(run).get("model", {})
    if not known.get(f"{prefix}repository"):
        return None
    if known.get(prefix.rstrip("_") or "model") != model or known.get(f"{prefix}revision_asked") != asked:
        return None
    return known.get(f"{prefix}revision")
