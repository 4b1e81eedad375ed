"""Loss terms of the Kronos predictor: pure functions of logits and of the tokens that came.

loss  = (ce_s1 + ce_s2) / 2
ce_s1 = mean cross-entropy of the coarse token of the next bar, nats
ce_s2 = mean cross-entropy of its fine token, given a coarse one, nats

Given the TRUE coarse token, ce_s1 + ce_s2 is the negative log-likelihood of a bar. Given one sampled from the model, as
in the published scripts, ce_s2 is not a likelihood of anything: it is larger, and smallest when the coarse token is
ignored. The two kinds of ce_s2 are not comparable; evaluation reports the first whatever the training.

Shapes: B windows, T bars to predict.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

PREDICTOR_TERMS = ("ce_s1", "ce_s2", "accuracy_s1", "accuracy_s2")


def token_cross_entropy(logits: Tensor, tokens: Tensor) -> Tensor:
    """Cross-entropy of each token in nats, fp32 whatever the precision of the logits.

    Args:
        logits (`torch.Tensor` of shape `(B, T, num_codes)`): before softmax.
        tokens (`torch.LongTensor` of shape `(B, T)`): what came.

    Returns:
        `torch.Tensor` of shape `(B, T)`.
    """
    return F.cross_entropy(logits.float().flatten(0, 1), tokens.flatten(), reduction="none").view(tokens.shape)


def predictor_terms(s1_logits: Tensor, s2_logits: Tensor, s1: Tensor, s2: Tensor) -> Tensor:
    """Every term for each window, so that means over any split of the data are exact.

    Args:
        s1_logits, s2_logits (`torch.Tensor` of shape `(B, T, num_codes)`): of the bars to predict.
        s1, s2 (`torch.LongTensor` of shape `(B, T)`): their tokens.

    Returns:
        `torch.Tensor` of shape `(B, 4)`, in the order of `PREDICTOR_TERMS`; the accuracies carry no gradient.
    """
    columns = [token_cross_entropy(s1_logits, s1).mean(dim=1), token_cross_entropy(s2_logits, s2).mean(dim=1)]
    for logits, tokens in ((s1_logits, s1), (s2_logits, s2)):
        columns.append((logits.detach().argmax(dim=-1) == tokens).float().mean(dim=1))
    return torch.stack(columns, dim=1)


def predictor_objective(means: Tensor) -> dict[str, Tensor]:
    """The loss and its parts from means over windows of shape `(4,)`."""
    parts = dict(zip(PREDICTOR_TERMS, means.unbind(), strict=True))
    return {"loss": (parts["ce_s1"] + parts["ce_s2"]) / 2, **parts}
