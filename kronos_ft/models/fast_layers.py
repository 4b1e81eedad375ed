"""What makes a training step cheaper without another result: products in half precision, cheap random masks, compiled
blocks. All of it is off until [`speed_up`] turns it on, and none of it touches evaluation, which stays exact fp32.

Notable:
- Weights, residual stream, norms, softmax and losses stay fp32; only matrix products are made in half precision. On a
  CPU autocast does the same with more casts, and its attention falls back to a slow backward pass.
- A mask of dropout costs 16 random bits an element instead of a draw of its own; the probability is met to 2^-17.
- The blocks of a model share one compiled program for each shape, so that compiling takes seconds and not minutes.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# beyond, the scores of all bars with all bars take more memory than the products save
MOST_EXPLICIT_BARS = 256
DRAWS = 2**16


class Linear(nn.Linear):
    """A linear layer whose products can be made in half precision in training; the weights stay as they are."""

    products: torch.dtype | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.products is None or not self.training:
            return super().forward(x)
        bias = None if self.bias is None else self.bias.to(self.products)
        return F.linear(x.to(self.products), self.weight.to(self.products), bias)


class RMSNorm(nn.Module):
    """Root-mean-square normalisation: fp32 inside, cast back to the input's precision, then scaled."""

    products: torch.dtype | None = None  # in training, the precision of the products that read the result

    def __init__(self, dim: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        values = x.float()
        values = values * torch.rsqrt(values.square().mean(dim=-1, keepdim=True) + self.eps)
        scaled = values.type_as(x) * self.weight
        return scaled if self.products is None or not self.training else scaled.to(self.products)


def keep_mask(shape: torch.Size, p: float, dtype: torch.dtype) -> Tensor:
    """A mask of dropout on the CPU, already scaled: 0 with probability `p`, else 1 / (1 - p).

    Drawn from PyTorch's global generator, 16 bits an element.
    """
    count = shape.numel()
    draws = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:count]
    kept = draws >= round(p * DRAWS) - DRAWS // 2
    return kept.view(shape).to(dtype).mul_(1 / (1 - p))


class Dropout(nn.Dropout):
    """Dropout whose masks can be drawn cheaply on a CPU."""

    cheap = False

    def forward(self, x: Tensor) -> Tensor:
        return drop(x, self.p if self.training else 0.0, self.cheap)


def drop(x: Tensor, p: float, cheap: bool) -> Tensor:
    """Dropout with probability `p`."""
    if p == 0.0:
        return x
    if not cheap or x.device.type != "cpu" or p == 1.0:
        return F.dropout(x, p)
    return x * keep_mask(x.shape, p, x.dtype)


def attend_causally(query: Tensor, key: Tensor, value: Tensor, dropout_p: float, cheap: bool) -> Tensor:
    """Causal attention of shape `(B, H, T, C)`, by whatever is fast on the device.

    Args:
        cheap (`bool`): on a CPU, in half precision or with dropout, scores are made by plain products with an fp32
            softmax: the fused attention has no fast backward pass in half precision there, and none with dropout.
    """
    bars, on_cpu = query.shape[-2], query.device.type == "cpu"
    half = query.dtype != torch.float32
    if not (cheap and on_cpu and (half or dropout_p > 0)) or (bars > MOST_EXPLICIT_BARS and dropout_p == 0):
        if half and on_cpu and cheap:
            mixed = F.scaled_dot_product_attention(query.float(), key.float(), value.float(), is_causal=True)
            return mixed.to(query.dtype)
        return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout_p, is_causal=True)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    future = torch.ones(bars, bars, dtype=torch.bool, device=query.device).triu_(1)
    weights = scores.float().masked_fill(future, float("-inf")).softmax(dim=-1)
    return drop(weights.to(query.dtype), dropout_p, cheap) @ value


def speed_up(model: nn.Module, products: torch.dtype | None, cheap: bool) -> None:
    """Sets how a model is trained; in place, and for training alone.

    Args:
        products (`torch.dtype`, *optional*): precision of the matrix products, None for that of the weights.
        cheap (`bool`): cheap random masks and draws, and the attention that goes with them.
    """
    for module in model.modules():
        if isinstance(module, (Linear, RMSNorm)):
            module.products = products
        if hasattr(module, "cheap"):
            module.cheap = cheap


def compile_blocks(model: nn.Module, block_type: type[nn.Module], wrap: Callable[[Callable], Callable]) -> int:
    """Lets every block of a model be computed by a compiled program in training; returns how many.

    Args:
        block_type: blocks, each with `compute` and an attribute `compiled`.
        wrap: makes the compiled program of a function, such as `torch.compile`.
    """
    blocks = [module for module in model.modules() if isinstance(module, block_type)]
    for block in blocks:
        block.compiled = wrap(block.compute)
    return len(blocks)


def forget_compiled(model: nn.Module) -> None:
    """Back to plain computation."""
    for module in model.modules():
        if getattr(module, "compiled", None) is not None:
            module.compiled = None
