"""Layers shared by the Kronos tokenizer and predictor, with the published state-dict keys.

Notable:
- RMSNorm in fp32, cast back, then scaled (eps 1e-5), before attention and before the feed-forward layer.
- Causal rotary attention, half-split rotation, base 10000, positions from 0.
- SwiGLU feed-forward layer without biases.
- The rotary table is computed in fp32 once per forward pass from the head size; it is neither cached nor read from the
  saved buffer. Upstream's cached table breaks if the device or precision changes, or if it is built in inference mode.

Shapes: B batch, T bars, D model width, H heads, C head size (D / H).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .fast_layers import Dropout, Linear, RMSNorm, attend_causally

ROTARY_BASE = 10000.0
CALENDAR_SIZES = {"minute": 60, "hour": 24, "weekday": 7, "day": 32, "month": 13}

# query, key and value of shape (B, H, T, C) -> attention output of the same shape
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def rotary_inverse_frequencies(head_dim: int, device: torch.device | None = None) -> Tensor:
    """Angle per bar of each rotary pair, fp32 of shape `(head_dim / 2,)`."""
    exponents = torch.arange(0, head_dim, 2, device=device, dtype=torch.int64).float() / head_dim
    return 1.0 / (ROTARY_BASE**exponents)


def rotary_table(positions: int | Tensor, head_dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines, each fp32 of shape `(*positions, head_dim)`; an int means positions 0 to n - 1.

    The sines of the first half are negated, for [`apply_rotary`].
    """
    if isinstance(positions, int):
        positions = torch.arange(positions, device=device)
    # an element-wise product: autocast would compute a matrix product in half precision, too coarse for late positions
    angles = positions.float()[..., None] * rotary_inverse_frequencies(head_dim, device)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


def apply_rotary(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates `x` of shape `(B, H, T, C)` by tables that broadcast to it, in the half-split convention."""
    return (x * cos + x.roll(x.shape[-1] // 2, dims=-1) * sin).type_as(x)


class FeedForward(nn.Module):
    """SwiGLU: `w2(silu(w1 x) * w3 x)`, without biases, followed by dropout."""

    def __init__(self, d_model: int, ff_dim: int, dropout_p: float):
        super().__init__()
        self.w1 = Linear(d_model, ff_dim, bias=False)
        self.w3 = Linear(d_model, ff_dim, bias=False)
        self.w2 = Linear(ff_dim, d_model, bias=False)
        self.ffn_dropout = Dropout(dropout_p)

    def forward(self, x: Tensor) -> Tensor:
        return self.ffn_dropout(self.w2(F.silu(self.w1(x)) * self.w3(x)))


class RotaryFrequencies(nn.Module):
    """Holds the `inv_freq` buffer that published checkpoints contain; `rotary_table` does not read it."""

    def __init__(self, head_dim: int):
        super().__init__()
        self.register_buffer("inv_freq", rotary_inverse_frequencies(head_dim))


class CausalSelfAttention(nn.Module):
    """Multi-head causal self-attention with rotary positions."""

    cheap = False  # see `fast_layers.attend_causally`

    def __init__(self, d_model: int, n_heads: int, attn_dropout_p: float, resid_dropout_p: float):
        super().__init__()
        self.n_heads = n_heads
        self.head_dim = d_model // n_heads
        self.q_proj = Linear(d_model, d_model)
        self.k_proj = Linear(d_model, d_model)
        self.v_proj = Linear(d_model, d_model)
        self.out_proj = Linear(d_model, d_model)
        self.rotary = RotaryFrequencies(self.head_dim)
        self.attn_dropout_p = attn_dropout_p
        self.resid_dropout = Dropout(resid_dropout_p)

    def split_heads(self, x: Tensor) -> Tensor:
        """`(B, T, D)` -> `(B, H, T, C)`."""
        return x.unflatten(-1, (self.n_heads, self.head_dim)).transpose(1, 2)

    def attend_causally(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Causal attention: each bar attends to itself and earlier bars."""
        dropout_p = self.attn_dropout_p if self.training else 0.0
        return attend_causally(query, key, value, dropout_p, self.cheap and self.training)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor], attend: Attend | None = None) -> Tensor:
        query = apply_rotary(self.split_heads(self.q_proj(x)), *rotary)
        key = apply_rotary(self.split_heads(self.k_proj(x)), *rotary)
        mixed = (attend or self.attend_causally)(query, key, self.split_heads(self.v_proj(x)))
        return self.resid_dropout(self.out_proj(mixed.transpose(1, 2).flatten(-2)))


class TransformerBlock(nn.Module):
    """`x + attention(norm(x))`, then `x + feed_forward(norm(x))`.

    Args:
        x (`torch.Tensor` of shape `(batch_size, seq_len, d_model)`): hidden states.
        rotary (`tuple` of two `torch.Tensor` of shape `(seq_len, head_dim)`): from [`rotary_table`].
        attend (`Attend`, *optional*): attention function, e.g. of a cache; causal attention over `x` by default.
    """

    # compiled `compute`, shared by all blocks, for training
    compiled: Callable[["TransformerBlock", Tensor, tuple[Tensor, Tensor]], Tensor] | None = None

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

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor], attend: Attend | None = None) -> Tensor:
        if self.compiled is not None and self.training and attend is None:
            return self.compiled(self, x, rotary)
        return self.compute(x, rotary, attend)

    def compute(self, x: Tensor, rotary: tuple[Tensor, Tensor], attend: Attend | None = None) -> Tensor:
        """[`forward`] without a compiled program."""
        x = x + self.self_attn(self.norm1(x), rotary, attend)
        return x + self.ffn(self.norm2(x))


class HierarchicalEmbedding(nn.Module):
    """Embeds the coarse and the fine token of a bar, each scaled by sqrt(D), and combines them by a linear layer.

    Upstream also accepts joint indices and splits them with the halves swapped; this class accepts only the pair.
    """

    def __init__(self, s1_bits: int, s2_bits: int, d_model: int):
        super().__init__()
        self.emb_s1 = nn.Embedding(2**s1_bits, d_model)
        self.emb_s2 = nn.Embedding(2**s2_bits, d_model)
        self.fusion_proj = Linear(2 * d_model, d_model)
        self.scale = math.sqrt(d_model)

    def forward(self, s1_ids: Tensor, s2_ids: Tensor) -> Tensor:
        fused = self.fusion_proj(torch.cat((self.emb_s1(s1_ids), self.emb_s2(s2_ids)), dim=-1) * self.scale)
        return fused if self.fusion_proj.products is None else fused.float()  # the residual stream begins here


class SinusoidalEmbedding(nn.Module):
    """Fixed sinusoids. (Upstream has a bug: it overwrites them with noise at initialisation.)"""

    def __init__(self, size: int, d_model: int):
        super().__init__()
        self.emb = nn.Embedding(size, d_model)
        self.emb.weight.requires_grad_(False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Sines in even columns, cosines in odd columns."""
        size, d_model = self.emb.weight.shape
        frequencies = torch.exp(torch.arange(0, d_model, 2).float() * -(math.log(ROTARY_BASE) / d_model))
        angles = torch.arange(size).float()[:, None] * frequencies
        self.emb.weight[:, 0::2] = angles.sin().to(self.emb.weight)
        self.emb.weight[:, 1::2] = angles.cos().to(self.emb.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.emb(x)


class TemporalEmbedding(nn.Module):
    """Sum of the embeddings of minute, hour, weekday, day and month.

    Args:
        stamp (`torch.LongTensor` of shape `(batch_size, seq_len, 5)`): minute, hour, weekday (Monday 0), day, month.
    """

    def __init__(self, d_model: int, learn_te: bool):
        super().__init__()
        kind = nn.Embedding if learn_te else SinusoidalEmbedding
        for name, size in CALENDAR_SIZES.items():
            setattr(self, f"{name}_embed", kind(size, d_model))

    def forward(self, stamp: Tensor) -> Tensor:
        minute, hour, weekday, day, month = stamp.long().unbind(-1)
        return (
            self.hour_embed(hour)
            + self.weekday_embed(weekday)
            + self.day_embed(day)
            + self.month_embed(month)
            + self.minute_embed(minute)
        )


class CrossAttention(nn.Module):
    """Cross-attention of sibling embeddings (queries) over hidden states, in the dependency-aware layer."""

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.head_dim = d_model // n_heads
        self.q_proj = Linear(d_model, d_model)
        self.k_proj = Linear(d_model, d_model)
        self.v_proj = Linear(d_model, d_model)
        self.out_proj = Linear(d_model, d_model)
        self.rotary = RotaryFrequencies(self.head_dim)

    def split_heads(self, x: Tensor) -> Tensor:
        """`(B, T, D)` -> `(B, H, T, C)`."""
        return x.unflatten(-1, (self.n_heads, self.head_dim)).transpose(1, 2)

    def forward(
        self, sibling: Tensor, hidden: Tensor, rotary: tuple[Tensor, Tensor] | None, attend: Attend | None = None
    ) -> Tensor:
        """Attends from `sibling` to `hidden`.

        Args:
            sibling (`torch.Tensor` of shape `(B, Q, D)`): embedded coarse tokens.
            hidden (`torch.Tensor` of shape `(B, T, D)`): the transformer's output.
            rotary: cosines and sines of the T positions; the queries are at the last Q positions. None: no rotation.
            attend (`Attend`, *optional*): attention function; by default attention to all positions.
        """
        query, key = self.split_heads(self.q_proj(sibling)), self.split_heads(self.k_proj(hidden))
        if rotary is not None:
            query = apply_rotary(query, *(table[..., -query.shape[-2] :, :] for table in rotary))
            key = apply_rotary(key, *rotary)
        mixed = (attend or F.scaled_dot_product_attention)(query, key, self.split_heads(self.v_proj(hidden)))
        return self.out_proj(mixed.transpose(1, 2).flatten(-2))


class DependencyAwareLayer(nn.Module):
    """`norm(hidden + cross_attention(sibling, hidden))`: hidden states for the fine token, given the coarse one."""

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.cross_attn = CrossAttention(d_model, n_heads)
        self.norm = RMSNorm(d_model)

    def forward(
        self, sibling: Tensor, hidden: Tensor, rotary: tuple[Tensor, Tensor] | None, attend: Attend | None = None
    ) -> Tensor:
        """Arguments as in [`CrossAttention`]; the result belongs to the last Q positions of `hidden`."""
        mixed = self.cross_attn(sibling, hidden, rotary, attend)
        return self.norm(hidden[:, -sibling.shape[1] :] + mixed)


class DualHead(nn.Module):
    """Logits of the coarse and of the fine token."""

    def __init__(self, s1_bits: int, s2_bits: int, d_model: int):
        super().__init__()
        self.proj_s1 = Linear(d_model, 2**s1_bits)
        self.proj_s2 = Linear(d_model, 2**s2_bits)
