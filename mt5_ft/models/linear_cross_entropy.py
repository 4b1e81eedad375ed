"""Cross-entropy of an output layer, computed in chunks, without the logits of all tokens in memory.

Notable:
- Padded labels are removed before the output layer; the remaining tokens are processed in chunks.
- The gradients of a chunk are computed together with its logits: three matrix products in total, as without chunks. The
  backward pass scales them in place; a second backward pass through the same graph computes them again.
- Only the sum over all tokens has a gradient. Sums per row are for metrics.
- Under autocast, the products use its precision; softmax, losses and sums are fp32.
- `torch.nn.functional.linear_cross_entropy` (torch 2.13) uses chunks too, but does not return the correct predictions.

Legend: B rows, T target positions, N counted tokens, D hidden size, V vocabulary.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

IGNORED = -100
LOGITS_IN_MEMORY = 2**25  # values, 128 MiB in fp32, twice: logits and probabilities
PIECES_AT_ONCE = 2**14  # rows of the weight's gradient per step, if low-precision products are accumulated in fp32


class RowSums(NamedTuple):
    """Sums over the counted tokens.

    Attributes:
        total (`torch.Tensor`, scalar): cross-entropy of all tokens, in nats; the only one with a gradient.
        losses (`torch.Tensor` of shape `(B,)`): cross-entropy of each row.
        correct, tokens (`torch.Tensor` of shape `(B,)`): number of correctly predicted tokens, and of tokens.
    """

    total: Tensor
    losses: Tensor
    correct: Tensor
    tokens: Tensor


class _Chunks(NamedTuple):
    """Settings: dtype of products, tokens per chunk, and whether hidden states and weight need gradients."""

    products: torch.dtype
    size: int
    hidden_gradient: bool
    weight_gradient: bool


def _add_product(total: Tensor, signal: Tensor, states: Tensor) -> None:
    """Adds signal.T @ states to the fp32 gradient of the weight, without a temporary tensor of its size."""
    if signal.dtype == total.dtype:
        total.addmm_(signal.T, states)
        return
    for first in range(0, len(total), PIECES_AT_ONCE):
        pieces = slice(first, first + PIECES_AT_ONCE)
        total[pieces] += signal[:, pieces].T @ states


def _compute(
    hidden: Tensor, weight: Tensor, labels: Tensor, chunks: _Chunks
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Loss and correctness of each token, and the gradients of the summed loss for hidden states and weight."""
    exact = torch.promote_types(hidden.dtype, torch.float32)
    table = weight.to(chunks.products)
    losses = torch.empty(len(hidden), dtype=exact, device=hidden.device)
    correct = torch.empty(len(hidden), dtype=torch.bool, device=hidden.device)
    hidden_gradient = torch.empty_like(hidden, dtype=exact) if chunks.hidden_gradient else None
    weight_gradient = torch.zeros_like(weight, dtype=exact) if chunks.weight_gradient else None
    shape = (min(chunks.size, len(hidden)), len(weight))
    all_logits = torch.empty(shape, dtype=chunks.products, device=hidden.device)
    all_probabilities = torch.empty(shape, dtype=exact, device=hidden.device)
    for first in range(0, len(hidden), chunks.size):
        part = slice(first, first + chunks.size)
        states, targets = hidden[part].to(chunks.products), labels[part, None]
        logits = torch.mm(states, table.T, out=all_logits[: len(states)])
        signal = torch.softmax(logits, dim=1, dtype=exact, out=all_probabilities[: len(states)])
        likeliest = logits.argmax(dim=1, keepdim=True)
        # relative to the largest probability, because the target's probability may underflow
        distance = logits.gather(1, likeliest).to(exact) - logits.gather(1, targets).to(exact)
        losses[part] = (distance - signal.gather(1, likeliest).log())[:, 0]
        correct[part] = (likeliest == targets)[:, 0]
        if not (chunks.hidden_gradient or chunks.weight_gradient):
            continue
        signal = signal.scatter_add_(1, targets, signal.new_full(targets.shape, -1.0)).to(chunks.products)
        if hidden_gradient is not None:
            hidden_gradient[part] = signal @ table
        if weight_gradient is not None:
            _add_product(weight_gradient, signal, states)
    return losses, correct, hidden_gradient, weight_gradient


class _LinearCrossEntropy(torch.autograd.Function):
    """Summed cross-entropy with gradients computed in forward; loss and correctness per token without gradients."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: FunctionCtx, hidden: Tensor, weight: Tensor, labels: Tensor, chunks: _Chunks
    ) -> tuple[Tensor, Tensor, Tensor]:
        with torch.autocast(hidden.device.type, enabled=False):
            losses, correct, *ctx.gradients = _compute(hidden, weight, labels, chunks)
        ctx.save_for_backward(hidden, weight, labels)
        ctx.chunks = chunks
        ctx.mark_non_differentiable(losses, correct)
        return losses.sum(), losses, correct

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]
        ctx: FunctionCtx, scale: Tensor, *_: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None]:
        hidden, weight, labels = ctx.saved_tensors
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:  # a second backward pass: the first has scaled the gradients in place
            with torch.autocast(hidden.device.type, enabled=False):
                *_, hidden_gradient, weight_gradient = _compute(hidden, weight, labels, ctx.chunks)
            gradients = [hidden_gradient, weight_gradient]
        dtypes = (hidden.dtype, weight.dtype)
        scaled = [
            None if found is None else found.mul_(scale).to(dtype)
            for found, dtype in zip(gradients, dtypes, strict=True)
        ]
        return scaled[0], scaled[1], None, None


def linear_cross_entropy(hidden: Tensor, weight: Tensor, labels: Tensor, chunk_size: int | None = None) -> RowSums:
    """Cross-entropy of `hidden @ weight.T`, equal to `F.cross_entropy` of the logits.

    Args:
        hidden (`torch.Tensor` of shape `(B, T, D)`): the decoder's output.
        weight (`torch.Tensor` of shape `(V, D)`): the output layer.
        labels (`torch.Tensor` of shape `(B, T)`): targets, -100 for padding.
        chunk_size (`int`, *optional*): tokens per chunk; by default as many as `LOGITS_IN_MEMORY` allows.

    Raises:
        ValueError: a chunk size below 1, or inconsistent shapes.
    """
    if hidden.shape[:-1] != labels.shape or hidden.shape[-1] != weight.shape[-1]:
        raise ValueError(
            f"hidden {tuple(hidden.shape)}, weight {tuple(weight.shape)} and labels {tuple(labels.shape)} do not fit; "
            "pass (B, T, D), (V, D) and (B, T)"
        )
    size = max(1, LOGITS_IN_MEMORY // len(weight)) if chunk_size is None else chunk_size
    if size < 1:
        raise ValueError(f"chunk_size={chunk_size} is below 1; pass a number of tokens")
    device = hidden.device.type
    products = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
    with_gradients = torch.is_grad_enabled()
    chunks = _Chunks(products, size, with_gradients and hidden.requires_grad, with_gradients and weight.requires_grad)
    counted = labels != IGNORED
    total, losses, correct = _LinearCrossEntropy.apply(hidden[counted], weight, labels[counted], chunks)
    by_token = torch.zeros(labels.shape, dtype=losses.dtype, device=losses.device)
    hits = torch.zeros_like(counted)
    by_token[counted], hits[counted] = losses, correct
    return RowSums(total, by_token.sum(dim=1), hits.sum(dim=1), counted.sum(dim=1))
