"""An output layer that computes the loss inside the model's forward, as distributed wrappers require."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from transformers import MT5ForConditionalGeneration, T5ForConditionalGeneration, UMT5ForConditionalGeneration

from .linear_cross_entropy import RowSums, linear_cross_entropy

# in these models, the output layer is the last operation before the loss
FAMILY = (MT5ForConditionalGeneration, T5ForConditionalGeneration, UMT5ForConditionalGeneration)


class LossHead(nn.Linear):
    """An output layer that returns sums of the loss instead of logits inside `with head.counting(labels)`."""

    labels: Tensor | None = None

    def forward(self, hidden: Tensor) -> Tensor | RowSums:
        """Logits of shape `(B, T, V)`, or [`RowSums`] inside [`counting`]."""
        if self.labels is None:
            return super().forward(hidden)
        return linear_cross_entropy(hidden, self.weight, self.labels)

    @contextmanager
    def counting(self, labels: Tensor) -> Iterator[None]:
        """Inside this context, the model's `logits` are [`RowSums`] of `labels` `(B, T)`."""
        self.labels = labels
        try:
            yield
        finally:
            self.labels = None


def use_loss_head(model: nn.Module) -> LossHead | None:
    """Replaces lm_head by a [`LossHead`] with the same weight, also inside adapters; None for other models."""
    for module in model.modules():
        if not isinstance(module, FAMILY):
            continue
        head = module.lm_head
        if type(head) is nn.Linear and head.bias is None:
            module.lm_head = LossHead(head.in_features, head.out_features, bias=False, device="meta")
            module.lm_head.weight = head.weight
            module.lm_head.train(head.training)
        return module.lm_head if isinstance(module.lm_head, LossHead) else None
    return None
