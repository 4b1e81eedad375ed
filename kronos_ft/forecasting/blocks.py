"""Transformer blocks as forecasts run them: the arithmetic of `kronos_ft.models.layers` in fewer operations.

Notable:
- A bar of one path is a product of a row with each weight, some 8 ms of memory traffic for Kronos-small. Operations as
  modules write them, sixty a block, cost as much again; here they are thirty.
- Projections are called as modules, so that whatever stands in their place (an adapter, a quantised layer) is used.
- Nothing is dropped out and no gradient is kept: for evaluation only.

Shapes: R rows, N bars, D model width, H heads, C head size.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..models.layers import Attend, RMSNorm, TransformerBlock

Rotary = tuple[Tensor, Tensor]


def normalise(x: Tensor, norm: RMSNorm) -> Tensor:
    """Root-mean-square normalisation of the last dimension, fp32 inside."""
    values = x.float()
    mean_square = torch.linalg.vector_norm(values, dim=-1, keepdim=True).square_().mul_(1 / x.shape[-1])
    return (values * mean_square.add_(norm.eps).rsqrt_()).type_as(x) * norm.weight


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """As `apply_rotary`, in three operations."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, dims=-1), sin).type_as(x)


def split_heads(x: Tensor, n_heads: int) -> Tensor:
    """`(R, N, D)` -> `(R, H, N, C)`."""
    rows, bars, width = x.shape
    return x.view(rows, bars, n_heads, width // n_heads).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """`(R, H, N, C)` -> `(R, N, D)`."""
    return x.transpose(1, 2).flatten(-2)


def run_blocks(blocks: nn.ModuleList, x: Tensor, rotary: Rotary, attend: Sequence[Attend]) -> Tensor:
    """Hidden states after all blocks, before the final norm.

    Args:
        x (`torch.Tensor` of shape `(R, N, D)`): embedded bars.
        rotary: cosines and signed sines of the bars' positions, broadcasting to `(R, H, N, C)`.
        attend: what mixes values in each block.
    """
    for block, mix in zip(blocks, attend, strict=True):
        x = _run_block(block, x, rotary, mix)
    return x


def fill_blocks(blocks: nn.ModuleList, x: Tensor, rotary: Rotary, attend: Sequence[Attend]) -> None:
    """As [`run_blocks`] where only what `attend` keeps is wanted: the last block stops at its keys and values."""
    x = run_blocks(blocks[:-1], x, rotary, attend[:-1])
    attention = blocks[-1].self_attn
    normed = normalise(x, blocks[-1].norm1)
    key, value = (split_heads(project(normed), attention.n_heads) for project in (attention.k_proj, attention.v_proj))
    # no query: nothing is mixed
    attend[-1](None, rotate(key, *rotary), value)


def _run_block(block: TransformerBlock, x: Tensor, rotary: Rotary, attend: Attend) -> Tensor:
    attention, heads = block.self_attn, block.self_attn.n_heads
    normed = normalise(x, block.norm1)
    query = rotate(split_heads(attention.q_proj(normed), heads), *rotary)
    key = rotate(split_heads(attention.k_proj(normed), heads), *rotary)
    x = x + attention.out_proj(join_heads(attend(query, key, split_heads(attention.v_proj(normed), heads))))
    normed, ffn = normalise(x, block.norm2), block.ffn
    return x + ffn.w2(F.silu(ffn.w1(normed)).mul_(ffn.w3(normed)))
