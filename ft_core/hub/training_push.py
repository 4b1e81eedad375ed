"""Pushes during training (each checkpoint, in the background) and at its end. A failed push never stops training.

Notable:
- Settings, log-in and repository are looked at before anything is trained; that alone may refuse the run.
- A checkpoint is pushed from hard links in the run folder, by a process of its own: the training goes on meanwhile,
  draws the same random numbers, and may remove the checkpoint. A save that comes while a push is under way is left out.
- A push that fails is one warning with the command that repeats it. The main process alone pushes.
"""

import json
import logging
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from accelerate import PartialState
from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..checkpoints.listing import PREFIX
from ..checkpoints.manifest import is_extra
from ..io.console import echo, quiet
from ..io.files import write_text
from ..io.formats import parse_json
from ..runs.folder import PUSHING
from .card import CardFacts, model_card
from .client import try_again
from .errors import LOG_IN, HubFailure, explain, without_tokens
from .push import check_login, push_model
from .pushed_files import CARD, choose_files

logger = logging.getLogger(__name__)

END, EVERY_SAVE = "end", "every_save"
_answered: set[tuple] = set()  # by this process: a copy of the settings does not ask again in the middle of a run
Describe = Callable[[Path, Path], CardFacts]
FindRun = Callable[[Path], tuple[Path, CardFacts]]


def push_command_of(program: str, folder: Path, args: TrainingArguments) -> str:
    """The command that pushes a folder as a training would."""
    command = [program, "push", str(folder), str(args.hub_model_id)]
    command += ["--private"] if args.hub_private_repo else []
    command += ["--revision", args.hub_revision] if args.hub_revision else []
    return shlex.join(command)


def check_hub(args: TrainingArguments) -> None:
    """Asks the Hub whether the run may push there, once in the main process, before anything is trained.

    Raises:
        ValueError: no token, one that is not valid or only reads, or a public repository that shall be private.
        HubFailure: the Hub cannot be asked.
    """
    repo = args.hub_model_id
    question = (constants.ENDPOINT, repo, bool(args.hub_private_repo), args.hub_token or get_token())
    if not args.push_to_hub or question in _answered or not PartialState().is_main_process:
        return
    check_login(repo, args.hub_token)
    api = HfApi(token=args.hub_token)
    try:
        me = try_again(lambda: api.whoami(), logger.warning)
        role = ((me.get("auth") or {}).get("accessToken") or {}).get("role")
        if role == "read":
            raise ValueError(
                f"the Hub token is read-only, but {repo} needs write permission; {LOG_IN}, with a write token"
            )
        if args.hub_private_repo and not try_again(lambda: _may_be_private(api, repo), logger.warning):
            raise ValueError(
                f"{repo} already exists and is public, but hub_private_repo is only for new repositories; change it at "
                f"{constants.ENDPOINT}/{repo}/settings, or leave out hub_private_repo"
            )
    except (ConnectionError, RuntimeError, HfHubHTTPError, ValueError) as error:
        found = explain(error, repo)
        if isinstance(found, HubFailure):
            raise HubFailure(
                f"{found}, so push_to_hub may fail; start again later, or train without it and push afterwards"
            ) from None
        raise found or ValueError(without_tokens(str(error))) from None
    _answered.add(question)


def _may_be_private(api: HfApi, repo: str) -> bool:
    """Whether a repository is private or does not exist yet."""
    try:
        return bool(api.model_info(repo).private)
    except RevisionNotFoundError:
        return True
    except RepositoryNotFoundError as error:
        if error.response.status_code == 401:
            raise
        return True


class PushCheckpoints(TrainerCallback):
    """Starts a push at each regular save, and tells of those that failed.

    Args:
        program (`str`): the command line that repeats a push.
        describe: gives the card of a model folder of a run.
    """

    def __init__(self, program: str, describe: Describe):
        self.program, self.describe = program, describe
        self._process: subprocess.Popen | None = None
        self._checkpoint = Path()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        run = Path(args.output_dir)
        checkpoint = run / f"{PREFIX}{state.global_step}"
        if not state.is_world_process_zero or not checkpoint.is_dir() or is_extra(checkpoint) or self._is_busy(args):
            return
        try:
            staged = self._stage(run, checkpoint, args.hub_model_id, args.hub_revision)
            self._start(staged, state, args)
        except Exception as error:  # no error of a push may stop the training
            self._warn(args, checkpoint, str(error))
            return
        self._checkpoint = checkpoint

    def _stage(self, run: Path, checkpoint: Path, repo: str, revision: str | None) -> Path:
        """Copies the files to push into a staging folder; the checkpoint may then be deleted."""
        staged = run / PUSHING
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir()
        card = self.describe(checkpoint, run)
        chosen = choose_files(checkpoint, card.changes)
        for name, content in chosen.files.items():
            if isinstance(content, bytes):
                (staged / name).write_bytes(content)
                continue
            try:
                os.link(content, staged / name)
            except OSError:  # no hard links on this disk
                shutil.copyfile(content, staged / name)
        write_text(staged / CARD, model_card(card, repo, revision))
        return staged

    def _start(self, staged: Path, state: TrainerState, args: TrainingArguments) -> None:
        package = str(Path(__file__).resolve().parents[2])
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        if args.hub_token:
            environment["HF_TOKEN"] = args.hub_token
        settings = {
            "folder": str(staged),
            "repo": args.hub_model_id,
            "private": bool(args.hub_private_repo),
            "revision": args.hub_revision,
            "message": f"Step {state.global_step} of {state.max_steps}, in training",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ft_core.hub.push_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
        )
        self._process.stdin.write(json.dumps(settings))
        self._process.stdin.close()

    def _is_busy(self, args: TrainingArguments) -> bool:
        if self._process is None:
            return False
        if self._process.poll() is None:
            return True
        self.finish(args)
        return False

    def finish(self, args: TrainingArguments) -> None:
        """Waits for a push that is under way, and tells of it if it failed."""
        if self._process is None:
            return
        output = self._process.stdout.read()
        code = self._process.wait()
        self._process = None
        shutil.rmtree(Path(args.output_dir) / PUSHING, ignore_errors=True)
        if code:
            try:
                reason = parse_json(output, dict[str, str])["error"]
            except (ValueError, KeyError):
                reason = f"the process that pushed ended with code {code}"
            self._warn(args, self._checkpoint, reason)

    def _warn(self, args: TrainingArguments, checkpoint: Path, reason: str) -> None:
        command = push_command_of(self.program, checkpoint, args)
        logger.warning(
            f"{checkpoint.name} was not pushed to {args.hub_model_id} ({without_tokens(reason)}); training continues "
            f"and the next save is pushed; to push this one again, run: {command}"
        )

    def abandon(self, args: TrainingArguments) -> None:
        """Stops a running push: commits are atomic, and a resumed run pushes again."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            shutil.rmtree(Path(args.output_dir) / PUSHING, ignore_errors=True)


def push_finished(
    program: str,
    args: TrainingArguments,
    find_run: FindRun,
    earlier: PushCheckpoints | None = None,
) -> bool:
    """Pushes the model of a finished run in one commit, on the main process; a failure is one warning.

    Args:
        program (`str`): the command line that repeats a push.
        args: the run's settings.
        find_run: gives the model folder of a run and its card.
        earlier ([`PushCheckpoints`], *optional*): pushes of the training, to be waited for.

    Returns:
        `bool`: whether the Hub holds the model now.
    """
    if not args.push_to_hub or not PartialState().is_main_process:
        return False
    run = Path(args.output_dir)
    try:
        if earlier is not None:
            earlier.finish(args)
        folder, card = find_run(run)
        settings = {"private": bool(args.hub_private_repo), "revision": args.hub_revision, "token": args.hub_token}
        with quiet():
            pushed = push_model(folder, args.hub_model_id, card, **settings)
    except Exception as error:  # no error of a push may fail a complete run
        reason = without_tokens(" ".join(str(error).split()))
        logger.warning(
            f"the finished model was not pushed to {args.hub_model_id} ({reason}); to push it again, run: "
            f"{push_command_of(program, run, args)}"
        )
        return False
    echo(f"pushed      {pushed.url}" if pushed.changed else f"pushed      unchanged, nothing to commit  {pushed.url}")
    return True
