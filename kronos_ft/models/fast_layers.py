"""Faster training steps: matrix products in half precision, cheap dropout masks, compiled blocks.

Everything is off until [`speed_up`] or [`compile_blocks`] is called. Evaluation always stays exact fp32.

Notable:
- Weights, residual stream, norms, softmax and losses stay fp32. Matrix products run in half precision, so logits are
  rounded to half precision too. Autocast on a CPU does the same with more casts and a slow backward pass of attention.
- A dropout mask uses 16 random bits per element; the dropout probability is exact to 2^-17.
- All blocks of a model share one compiled program per shape, so compilation takes seconds instead of minutes.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# above, the full score matrix needs too much memory
MOST_EXPLICIT_BARS = 256
DRAWS = 2**16


class Linear(nn.Linear):
    """A linear layer with an optional half-precision product in training; the weights stay fp32."""

    products: torch.dtype | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.products is None or not self.training:
            return super().forward(x)
        bias = None if self.bias is None else self.bias.to(self.products)
        return F.linear(x.to(self.products), self.weight.to(self.products), bias)


class RMSNorm(nn.Module):
    """Root-mean-square normalisation: computed in fp32, cast back to the input's precision, then scaled."""

    products: torch.dtype | None = None  # output precision in training, for the products that follow

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
    """A scaled dropout mask on the CPU, 0 with probability `p`, else 1 / (1 - p); uses PyTorch's global generator."""
    count = shape.numel()
    draws = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:count]
    kept = draws >= min(round(p * DRAWS), DRAWS - 1) - DRAWS // 2
    return kept.view(shape).to(dtype).mul_(1 / (1 - p))


class Dropout(nn.Dropout):
    """Dropout with optional cheap masks on a CPU."""

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
    """Causal attention of shape `(B, H, T, C)`, with the fastest implementation for the device.

    Args:
        cheap (`bool`): on a CPU, with half precision or dropout, compute the scores explicitly with an fp32 softmax:
            there, fused attention has no fast backward pass for these cases.
    """
    bars, on_cpu = query.shape[-2], query.device.type == "cpu"
    half = query.dtype in (torch.bfloat16, torch.float16)
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
    """Switches the fast training computations of a model on or off, in place.

    Args:
        products (`torch.dtype`, *optional*): precision of the matrix products; None for that of the weights.
        cheap (`bool`): cheap random masks and samples on a CPU, with explicit attention.
    """
    for module in model.modules():
        if isinstance(module, Linear):
            module.products = products
        for name in ("norm1", "norm2"):  # norms of blocks: only matrix products use their output
            norm = getattr(module, name, None)
            if isinstance(norm, RMSNorm):
                norm.products = products
        if hasattr(module, "cheap"):
            module.cheap = cheap


def compile_blocks(model: nn.Module, block_type: type[nn.Module], program: Callable[..., Tensor]) -> int:
    """Makes every block of a model use a compiled program in training; returns the number of blocks.

    Args:
        block_type: class of the blocks, with an attribute `compiled`.
        program: takes a block and the arguments of its `compute`, e.g. `torch.compile(block_type.compute)`. It must not
            keep a reference to a block, so that copies of a model train their own weights.
    """
    blocks = [module for module in model.modules() if isinstance(module, block_type)]
    for block in blocks:
        block.compiled = program
    return len(blocks)


def forget_compiled(model: nn.Module) -> None:
    """Removes the compiled program from all blocks."""
    for module in model.modules():
        if getattr(module, "compiled", None) is not None:
            module.compiled = None
