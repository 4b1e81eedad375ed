"""Layers shared by the Kronos tokenizer and predictor, with the published state-dict keys.

Notable:
- RMSNorm in fp32, cast back, then scaled (eps 1e-5), before attention and before the feed-forward layer.
- Causal rotary attention, half-split rotation, base 10000, positions from 0.
- SwiGLU feed-forward layer without biases.
- The rotary table is computed once a forward pass in fp32 from the head size, never from the saved buffer and never
  kept: upstream's cached table breaks when the device or precision changes, or when built in inference mode.

Shapes: B batch, T bars, D model width, H heads, C head size (D / H).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROTARY_BASE = 10000.0


def rotary_inverse_frequencies(head_dim: int, device: torch.device | None = None) -> Tensor:
    """Angles per bar of each rotary pair, fp32 of shape `(head_dim / 2,)`."""
    exponents = torch.arange(0, head_dim, 2, device=device, dtype=torch.int64).float() / head_dim
    return 1.0 / (ROTARY_BASE**exponents)


def rotary_table(num_positions: int, head_dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines of positions 0..num_positions-1, each fp32 of shape `(num_positions, head_dim)`."""
    positions = torch.arange(num_positions, device=device, dtype=torch.float32)
    # an element-wise product: autocast would run a matrix product in half precision and blur the late positions
    angles = positions[:, None] * rotary_inverse_frequencies(head_dim, device)[None, :]
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def apply_rotary(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates `x` of shape `(B, H, T, C)` by tables of shape `(T, C)`, in the half-split convention."""
    first, second = x.chunk(2, dim=-1)
    return (x * cos + torch.cat((-second, first), dim=-1) * sin).type_as(x)


class RMSNorm(nn.Module):
    """Root-mean-square normalisation: fp32 inside, cast back to the input's precision, then scaled."""

    def __init__(self, dim: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        values = x.float()
        values = values * torch.rsqrt(values.square().mean(dim=-1, keepdim=True) + self.eps)
        return values.type_as(x) * self.weight


class FeedForward(nn.Module):
    """SwiGLU: `w2(silu(w1 x) * w3 x)`, no biases, dropout after."""

    def __init__(self, d_model: int, ff_dim: int, dropout_p: float):
        super().__init__()
        self.w1 = nn.Linear(d_model, ff_dim, bias=False)
        self.w3 = nn.Linear(d_model, ff_dim, bias=False)
        self.w2 = nn.Linear(ff_dim, d_model, bias=False)
        self.ffn_dropout = nn.Dropout(dropout_p)

    def forward(self, x: Tensor) -> Tensor:
        return self.ffn_dropout(self.w2(F.silu(self.w1(x)) * self.w3(x)))


class RotaryFrequencies(nn.Module):
    """Holds the `inv_freq` buffer that published checkpoints contain; `rotary_table` does not read it."""

    def __init__(self, head_dim: int):
        super().__init__()
        self.register_buffer("inv_freq", rotary_inverse_frequencies(head_dim))


class CausalSelfAttention(nn.Module):
    """Multi-head causal self-attention with rotary positions."""

    def __init__(self, d_model: int, n_heads: int, attn_dropout_p: float, resid_dropout_p: float):
        super().__init__()
        self.n_heads = n_heads
        self.head_dim = d_model // n_heads
        self.q_proj = nn.Linear(d_model, d_model)
        self.k_proj = nn.Linear(d_model, d_model)
        self.v_proj = nn.Linear(d_model, d_model)
        self.out_proj = nn.Linear(d_model, d_model)
        self.rotary = RotaryFrequencies(self.head_dim)
        self.attn_dropout_p = attn_dropout_p
        self.resid_dropout = nn.Dropout(resid_dropout_p)

    def split_heads(self, x: Tensor) -> Tensor:
        """`(B, T, D)` -> `(B, H, T, C)`."""
        return x.unflatten(-1, (self.n_heads, self.head_dim)).transpose(1, 2)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        query = apply_rotary(self.split_heads(self.q_proj(x)), *rotary)
        key = apply_rotary(self.split_heads(self.k_proj(x)), *rotary)
        value = self.split_heads(self.v_proj(x))
        dropout_p = self.attn_dropout_p if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout_p, is_causal=True)
        return self.resid_dropout(self.out_proj(mixed.transpose(1, 2).flatten(-2)))


class TransformerBlock(nn.Module):
    """`x + attention(norm(x))`, then `x + feed_forward(norm(x))`.

    Args:
        x (`torch.Tensor` of shape `(batch_size, seq_len, d_model)`): hidden states.
        rotary (`tuple` of two `torch.Tensor` of shape `(seq_len, head_dim)`): from [`rotary_table`].
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        ff_dim: int,
        ffn_dropout_p: float,
        attn_dropout_p: float,
        resid_dropout_p: float,
    ):
        super().__init__()
        self.norm1 = RMSNorm(d_model)
        self.self_attn = CausalSelfAttention(d_model, n_heads, attn_dropout_p, resid_dropout_p)
        self.norm2 = RMSNorm(d_model)
        self.ffn = FeedForward(d_model, ff_dim, ffn_dropout_p)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        x = x + self.self_attn(self.norm1(x), rotary)
        return x + self.ffn(self.norm2(x))
