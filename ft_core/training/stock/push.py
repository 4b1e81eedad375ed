"""`trainer.push_to_hub()`: pushes the model as it is now, in one commit, without pickles and local paths."""

import shutil
from abc import ABC, abstractmethod
from pathlib import Path

from transformers import Trainer
from transformers.trainer import TRAINING_ARGS_NAME

from ...hub.card import CardFacts
from ...hub.push import Pushed, check_branch, check_login, check_repository, push_model
from ...runs.folder import PUSHING


class PushOnRequest(Trainer, ABC):
    """A Trainer that pushes when it is asked to, and never while it saves."""

    @abstractmethod
    def describe_pushed(self, folder: Path, run: Path) -> CardFacts:
        """The card of a model folder of the run. Defined by the subclass."""

    def init_hf_repo(self, *args, **kwargs) -> None:
        """Does nothing: the parent would create the repository and push checkpoints with a pickle and local paths."""

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Calls the parent; a save is no push."""
        super().save_model(output_dir, _internal_call=True)

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs,
    ) -> Pushed | None:
        """Pushes the model to `args.hub_model_id`, with the card of the run; every process calls it.

        Args:
            commit_message (`str`): message of the commit.
            blocking (`bool`): True; a push is waited for.
            token, revision, private (*optional*): instead of `args.hub_token`, `hub_revision`, `hub_private_repo`.

        Returns:
            [`~ft_core.hub.push.Pushed`]: address and commit; None in processes other than the main one.

        Raises:
            ValueError: no repository or log-in, an argument without effect, or a push that the Hub refuses.
        """
        repo = self.args.hub_model_id
        if not repo:
            raise ValueError("push_to_hub needs a repository; set hub_model_id to OWNER/NAME")
        if not blocking:
            raise ValueError("blocking=False has no effect here: a push is waited for; leave it out")
        for name in kwargs:
            raise ValueError(f"{name} has no effect here: the card is made from the run; leave it out")
        token, revision = token or self.args.hub_token, revision or self.args.hub_revision
        check_repository(repo)
        check_branch(revision)
        check_login(repo, token)
        run = Path(self.args.output_dir)
        staged = run / f"{PUSHING}-now"
        try:
            self.save_model(str(staged))
            if not self.is_world_process_zero():
                return None
            (staged / TRAINING_ARGS_NAME).unlink(missing_ok=True)  # a pickle
            is_private = bool(self.args.hub_private_repo if private is None else private)
            settings = {"private": is_private, "revision": revision, "message": commit_message, "token": token}
            return push_model(staged, repo, self.describe_pushed(staged, run), **settings)
        finally:
            if self.is_world_process_zero():
                shutil.rmtree(staged, ignore_errors=True)
