"""Key/value caches for forecasting: a prefix that all paths of a series share, plus the bars that each path adds.

Notable:
- The keys and values of the prefix are stored once per series: 32 paths read them in one matrix product instead of 32.
- The transformer stores keys rotated by their absolute position (rotary attention depends only on relative positions);
  the dependency-aware layer stores them unrotated, as the published forecasts use them.
- With a single path, prefix and new bars are contiguous, so fused attention can read them.
- Series of unequal length are padded on the right. Causal attention never reads the padding from an earlier bar, and
  the paths mask it. The positions of a series therefore do not depend on the other series.

Shapes: B series, S paths of each, R = B * S rows (a series' paths follow each other), H heads, C head size,
P bars of the prefix, N new bars, M bars a path may add.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..models.layers import Attend, RMSNorm, TransformerBlock

Rotary = tuple[Tensor, Tensor]


class AttentionCache:
    """Keys and values of one attention layer.

    Args:
        num_paths (`int`): S, paths per series.
        capacity (`int`): M, maximum number of bars that a path adds.
        padding (`torch.BoolTensor` of shape `(B, P)`, *optional*): True at padded positions of the prefix.
    """

    def __init__(self, num_paths: int, capacity: int, padding: Tensor | None = None):
        self.num_paths = num_paths
        self.capacity = capacity
        self.padding = padding
        self.length = 0
        self.first = 0
        self._single = num_paths == 1 and padding is None
        self._prefix_bars = 0
        self._prefix: tuple[Tensor, Tensor] | None = None  # (B, H, P, C)
        self._added: tuple[Tensor, Tensor] | None = None  # (B, H, S, M, C); single path: (B, H, 1, P + M, C)

    def set_prefix(self, key: Tensor, value: Tensor) -> None:
        """Stores the prefix, `(B, H, P, C)` each."""
        self._prefix_bars = key.shape[2]
        if self._single:
            self._added = tuple(self._store(one, one.shape[0], self._prefix_bars) for one in (key, value))
            for store, prefix in zip(self._added, (key, value), strict=True):
                store[:, :, 0, : self._prefix_bars] = prefix
        else:
            self._prefix = key.contiguous(), value.contiguous()

    def fill(self, query: Tensor | None, key: Tensor, value: Tensor) -> Tensor | None:
        """Stores the prefix and, if there is a query, returns its causal self-attention."""
        self.set_prefix(key, value)
        return None if query is None else F.scaled_dot_product_attention(query, key, value, is_causal=True)

    def forget_before(self, first: int) -> None:
        """Excludes bars before `first` (counted from the start of the prefix) from attention."""
        self.first = first

    def extend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Adds N bars to each path and returns their attention output."""
        self.add(key, value)
        return self.look(query)

    def add(self, key: Tensor, value: Tensor) -> None:
        """Stores N bars of each path, `(R, H, N, C)` each."""
        bars, offset = key.shape[2], self._prefix_bars if self._single else 0
        if self._added is None:
            self._added = tuple(self._store(one, one.shape[0] // self.num_paths, 0) for one in (key, value))
        for store, new in zip(self._added, (key, value), strict=True):
            store[:, :, :, offset + self.length : offset + self.length + bars] = self._by_series(new)
        self.length += bars

    def look(self, query: Tensor) -> Tensor:
        """Causal attention over prefix and own bars; the queries `(R, H, N, C)` belong to the last N added bars."""
        bars = query.shape[2]
        if self._single and bars == 1:
            held = (one[:, :, 0, self.first : self._prefix_bars + self.length] for one in self._added)
            return F.scaled_dot_product_attention(query, *held)
        query = self._by_series(query) * query.shape[-1] ** -0.5
        shared, own = self._shared_part(), self._own_part()
        scores = []
        if shared is not None:
            found = query.flatten(2, 3) @ shared[0].transpose(-1, -2)
            if self.padding is not None:
                found = found.masked_fill(self.padding[:, None, None, self.first :], float("-inf"))
            scores.append(found.unflatten(2, (self.num_paths, bars)))
        if own is not None:
            found = query @ own[0].transpose(-1, -2)
            scores.append(found if bars == 1 else found + self._future(bars, found.shape[-1], query))
        weights = torch.cat(scores, dim=-1).softmax(dim=-1) if len(scores) > 1 else scores[0].softmax(dim=-1)
        if shared is None:
            return self._by_path(weights @ own[1])
        known = shared[0].shape[2]
        mixed = (weights[..., :known].flatten(2, 3) @ shared[1]).unflatten(2, (self.num_paths, bars))
        return self._by_path(mixed if own is None else mixed + weights[..., known:] @ own[1])

    def _shared_part(self) -> tuple[Tensor, Tensor] | None:
        """Keys and values of the visible prefix, `(B, H, P', C)` each; None if it is stored with the single path."""
        if self._prefix is None or self.first >= self._prefix_bars:
            return None
        return tuple(one[:, :, self.first :] for one in self._prefix)

    def _own_part(self) -> tuple[Tensor, Tensor] | None:
        """Keys and values of the visible own bars, `(B, H, S, N', C)` each."""
        if self._single:
            first, end = self.first, self._prefix_bars + self.length
        else:
            first, end = max(self.first - self._prefix_bars, 0), self.length
        return None if self._added is None or first >= end else tuple(one[..., first:end, :] for one in self._added)

    def _store(self, like: Tensor, series: int, prefix: int) -> Tensor:
        return like.new_empty(series, like.shape[1], self.num_paths, prefix + self.capacity, like.shape[3])

    def _by_series(self, x: Tensor) -> Tensor:
        """`(R, H, N, C)` -> `(B, H, S, N, C)`."""
        return x.unflatten(0, (-1, self.num_paths)).transpose(1, 2)

    @staticmethod
    def _by_path(x: Tensor) -> Tensor:
        """The inverse of `_by_series`."""
        return x.transpose(1, 2).flatten(0, 1)

    @staticmethod
    def _future(queries: int, keys: int, like: Tensor) -> Tensor:
        """Causal mask of the last `queries` bars, `(N, keys)`: minus infinity at later bars."""
        mask = torch.full((queries, keys), float("-inf"), dtype=like.dtype, device=like.device)
        return mask.triu(keys - queries + 1)


class CacheStack:
    """The caches of all layers of a transformer.

    Args:
        num_layers (`int`): number of attention layers.
        num_paths, capacity, padding: as in [`AttentionCache`].
    """

    def __init__(self, num_layers: int, num_paths: int, capacity: int, padding: Tensor | None = None):
        self.layers = [AttentionCache(num_paths, capacity, padding) for _ in range(num_layers)]

    @property
    def fill(self) -> list[Attend]:
        """[`AttentionCache.fill`] of each layer."""
        return [layer.fill for layer in self.layers]

    @property
    def extend(self) -> list[Attend]:
        """[`AttentionCache.extend`] of each layer."""
        return [layer.extend for layer in self.layers]

    def forget_before(self, first: int) -> None:
        """[`AttentionCache.forget_before`] for every layer."""
        for layer in self.layers:
            layer.forget_before(first)


def normalise(x: Tensor, norm: RMSNorm) -> Tensor:
    """Root-mean-square normalisation of the last dimension, computed in fp32."""
    values = x.float()
    mean_square = torch.linalg.vector_norm(values, dim=-1, keepdim=True).square_().mul_(1 / x.shape[-1])
    return (values * mean_square.add_(norm.eps).rsqrt_()).type_as(x) * norm.weight


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Same as `apply_rotary`, in three operations."""
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
        attend: the attention function of each block.
    """
    for block, mix in zip(blocks, attend, strict=True):
        x = _run_block(block, x, rotary, mix)
    return x


def fill_blocks(blocks: nn.ModuleList, x: Tensor, rotary: Rotary, attend: Sequence[Attend]) -> None:
    """Fills the caches like [`run_blocks`], without hidden states: the last block computes only keys and values."""
    x = run_blocks(blocks[:-1], x, rotary, attend[:-1])
    attention = blocks[-1].self_attn
    normed = normalise(x, blocks[-1].norm1)
    key, value = (split_heads(project(normed), attention.n_heads) for project in (attention.k_proj, attention.v_proj))
    attend[-1](None, rotate(key, *rotary), value)


def _run_block(block: TransformerBlock, x: Tensor, rotary: Rotary, attend: Attend) -> Tensor:
    attention, heads = block.self_attn, block.self_attn.n_heads
    normed = normalise(x, block.norm1)
    query = rotate(split_heads(attention.q_proj(normed), heads), *rotary)
    key = rotate(split_heads(attention.k_proj(normed), heads), *rotary)
    x = x + attention.out_proj(join_heads(attend(query, key, split_heads(attention.v_proj(normed), heads))))
    normed, ffn = normalise(x, block.norm2), block.ffn
    return x + ffn.w2(F.silu(ffn.w1(normed)).mul_(ffn.w3(normed)))
