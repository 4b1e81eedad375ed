"""A Trainer that takes what transformers' Trainer takes: any model, any settings, own optimizers and metrics."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn
from transformers import PreTrainedModel, Trainer, TrainingArguments
from transformers.utils import logging

logger = logging.get_logger(__name__)

Optimizers = tuple[torch.optim.Optimizer | None, torch.optim.lr_scheduler.LRScheduler | None]
OptimizerClass = tuple[type[torch.optim.Optimizer], dict[str, object]]


def upgrade_arguments(args: TrainingArguments | None, kind: type, has_evaluation: bool) -> TrainingArguments:
    """Settings of this library from plain ones: what differs from transformers' defaults is kept.

    Args:
        args (*optional*): settings; those of `kind` are returned as they are.
        kind: the class of this library.
        has_evaluation (`bool`): whether there is a data set to evaluate on; without one, evaluations that were not
            asked for are off.

    Raises:
        ValueError: a setting that has no effect here, or contradicts another.
    """
    if isinstance(args, kind):
        return args
    given: dict[str, object] = {}
    if args is not None:
        stock = type(args)(output_dir=args.output_dir, use_cpu=args.use_cpu)
        known = {one.name for one in fields(kind) if one.init}
        names = [one.name for one in fields(args) if one.init and getattr(args, one.name) != getattr(stock, one.name)]
        names += ["use_cpu"] if args.use_cpu else []
        given = {name: getattr(args, name) for name in names}
        unknown = [name for name in given if name not in known]
        if unknown:
            raise ValueError(
                f"{unknown[0]}={given[unknown[0]]} is not a setting of {kind.__name__}; create {kind.__name__} instead "
                f"of {type(args).__name__}"
            )
        if args.do_eval and args.eval_strategy != "no":
            given.pop("do_eval", None)  # follows from it
        given["output_dir"] = args.output_dir
    if not has_evaluation and "eval_strategy" not in given:
        given |= {"eval_strategy": "no", "load_best_model_at_end": False, "eval_on_start": False}
    if args is not None:
        kept = ", ".join(sorted(given))
        logger.warning_once(
            f"{type(args).__name__} is used as {kind.__name__}: {kept} are kept, all others have this library's "
            f"defaults; create {kind.__name__} to set them"
        )
    return kind(**given)


class StockInputs(Trainer, ABC):
    """A Trainer whose model is prepared for the training, however it is given.

    Args:
        model (*optional*): a model, or the folder or name of one.
        model_init (*optional*): makes the model, instead of `model`.
        optimizers: an optimizer and a scheduler, or None for either.
        optimizer_cls_and_kwargs (*optional*): class and arguments of the optimizer, instead of `optimizers`.
        kwargs: as for [`~transformers.Trainer`].

    Raises:
        ValueError: arguments that contradict each other.
    """

    arguments_class: ClassVar[type[TrainingArguments]]
    unused_inputs: ClassVar[Mapping[str, str]] = {
        "compute_loss_func": "override compute_loss in a subclass instead",
    }

    def __init__(
        self,
        *,
        model: nn.Module | str | Path | None,
        args: TrainingArguments,
        model_init: Callable[..., PreTrainedModel] | None = None,
        optimizers: Optimizers = (None, None),
        optimizer_cls_and_kwargs: OptimizerClass | None = None,
        **kwargs,
    ):
        if model is None and model_init is None:
            raise ValueError("model is missing; pass a model, its folder or name, or model_init")
        if model is not None and model_init is not None:
            raise ValueError("model and model_init are both given; pass one of them")
        if optimizers[0] is not None and optimizer_cls_and_kwargs is not None:
            raise ValueError("optimizers and optimizer_cls_and_kwargs are both given; pass one of them")
        if model_init is not None and optimizers != (None, None):
            raise ValueError(
                "optimizers cannot hold the weights of a model that model_init makes; pass optimizer_cls_and_kwargs"
            )
        if args.optim == "muon" and (optimizers[0] is not None or optimizer_cls_and_kwargs is not None):
            raise ValueError("optim=muon has no effect with an optimizer of your own; remove one of them")
        self.has_own_optimizer = optimizers[0] is not None or optimizer_cls_and_kwargs is not None
        if isinstance(model, str | Path):
            model = self.load_model(str(model), args)
        if model is not None:
            model = self.prepare_model(model, args)
        super().__init__(model=model, args=args, model_init=model_init, optimizers=optimizers, **kwargs)
        self.optimizer_cls_and_kwargs = optimizer_cls_and_kwargs  # the Seq2SeqTrainer does not take it

    def _check_inputs(self, given: Mapping[str, object]) -> None:
        """Raises ValueError for arguments of the Trainer that have no effect here."""
        for name, remedy in self.unused_inputs.items():
            if given.get(name) is not None:
                raise ValueError(f"{name} has no effect here: {remedy}")

    @abstractmethod
    def load_model(self, name: str, args: TrainingArguments) -> PreTrainedModel:
        """The model of a folder or of the Hub. Defined by the subclass."""

    def prepare_model(self, model: nn.Module, args: TrainingArguments) -> nn.Module:
        """The model as it is trained, e.g. with adapters; also called on each model that `model_init` makes."""
        return model

    def call_model_init(self, trial: object = None) -> nn.Module:
        """Calls the parent; prepares the new model."""
        return self.prepare_model(super().call_model_init(trial), self.args)
