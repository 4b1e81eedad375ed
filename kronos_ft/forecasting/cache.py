"""Key/value caches for forecasting: a prefix that all paths of a series share, and what each path added.

Notable:
- The prefix's keys and values are stored once a series, however many paths there are: 32 paths read them in one matrix
  product instead of 32.
- Keys are stored as they are given: rotated by their absolute position in the transformer, where rotary attention needs
  relative positions only; unrotated in the dependency-aware layer, as the published forecasts use them.
- A single path has prefix and own bars in one piece, which a fused attention reads.
- Series of unequal length are padded on the right, where causal attention never looks from an earlier bar, and the
  padding is masked out for the paths. Positions are therefore those of each series alone.

Shapes: B series, S paths of each, R = B * S rows (a series' paths follow each other), H heads, C head size,
P bars of the prefix, N new bars, M bars a path may add.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..models.layers import Attend


class AttentionCache:
    """Keys and values of one attention layer.

    Args:
        num_paths (`int`): S, paths of each series.
        capacity (`int`): M, bars that a path may add.
        padding (`torch.BoolTensor` of shape `(B, P)`, *optional*): true where the prefix holds no bar.
    """

    def __init__(self, num_paths: int, capacity: int, padding: Tensor | None = None):
        self.num_paths = num_paths
        self.capacity = capacity
        self.padding = padding
        self.length = 0
        self.first = 0
        self._single = num_paths == 1 and padding is None
        self._prefix: tuple[Tensor, Tensor] | None = None
        self._added: tuple[Tensor, Tensor] | None = None

    def set_prefix(self, key: Tensor, value: Tensor) -> None:
        """Stores the prefix, `(B, H, P, C)` each."""
        self._prefix = key, value

    def fill(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Stores the prefix and mixes it causally."""
        self.set_prefix(key, value)
        return F.scaled_dot_product_attention(query, key, value, is_causal=True)

    def forget_before(self, first: int) -> None:
        """Bars before `first`, counted from the start of the prefix, are no longer looked at."""
        self.first = first

    def extend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Adds N bars to each path and mixes all that they may look at."""
        self.add(key, value)
        return self.look(query)

    def look(self, query: Tensor) -> Tensor:
        """Mixes the prefix and the path's own bars for queries of shape `(R, H, N, C)`.

        The queries belong to the last N bars that were added, and each looks at those up to its own.
        """
        prefix_bars = 0 if self._prefix is None else self._prefix[0].shape[2]
        if self._single and query.shape[2] == 1 and self._added is not None:
            held = (tensor[:, :, self.first : prefix_bars + self.length] for tensor in self._added)
            return F.scaled_dot_product_attention(query, *held)
        scores, values, own_first = [], [], max(self.first - prefix_bars, 0)
        query = query * query.shape[-1] ** -0.5
        if self.first < prefix_bars:
            keys, prefix_values = (tensor[:, :, self.first :] for tensor in self._prefix)
            found = self._by_series(query) @ keys.transpose(-1, -2)
            if self.padding is not None:
                found = found.masked_fill(self.padding[:, None, None, self.first :], float("-inf"))
            scores.append(self._by_path(found, query.shape[2]))
            values.append(prefix_values)
        if self.length > own_first:
            offset = prefix_bars if self._single else 0
            own = slice(offset + own_first, offset + self.length)
            keys, own_values = (tensor[:, :, own] for tensor in self._added)
            found = query @ keys.transpose(-1, -2)
            if query.shape[2] > 1:
                found = found + self._future(query.shape[2], self.length - own_first, query)
            scores.append(found)
            values.append(own_values)
        weights = torch.cat(scores, dim=-1).softmax(dim=-1)
        if len(values) == 1 and self.first >= prefix_bars:
            return weights @ values[0]
        shared = weights[..., : values[0].shape[2]]
        mixed = self._by_path(self._by_series(shared) @ values[0], query.shape[2])
        return mixed if len(values) == 1 else mixed + weights[..., values[0].shape[2] :] @ values[1]

    def add(self, key: Tensor, value: Tensor) -> None:
        """Stores N bars of each path, `(R, H, N, C)` each."""
        rows, heads, bars, size = key.shape
        offset = self._prefix[0].shape[2] if self._single and self._prefix is not None else 0
        if self._added is None:
            self._added = tuple(key.new_empty(rows, heads, offset + self.capacity, size) for _ in range(2))
            if offset:
                for store, prefix in zip(self._added, self._prefix, strict=True):
                    store[:, :, :offset] = prefix
        for store, new in zip(self._added, (key, value), strict=True):
            store[:, :, offset + self.length : offset + self.length + bars] = new
        self.length += bars

    def _by_series(self, x: Tensor) -> Tensor:
        """`(R, H, N, C)` -> `(B, H, S * N, C)`: the paths of a series become rows of one matrix."""
        return x.unflatten(0, (-1, self.num_paths)).transpose(1, 2).flatten(2, 3)

    def _by_path(self, x: Tensor, bars: int) -> Tensor:
        """The inverse of `_by_series`."""
        return x.unflatten(2, (self.num_paths, bars)).transpose(1, 2).flatten(0, 1)

    @staticmethod
    def _future(queries: int, keys: int, like: Tensor) -> Tensor:
        """Minus infinity where one of the last `queries` bars would look at a later one, `(N, keys)`."""
        mask = torch.full((queries, keys), float("-inf"), dtype=like.dtype, device=like.device)
        return mask.triu(keys - queries + 1)


class CacheStack:
    """The caches of all layers of a transformer.

    Args:
        num_layers (`int`): attention layers.
        num_paths, capacity, padding: as in [`AttentionCache`].
    """

    def __init__(self, num_layers: int, num_paths: int, capacity: int, padding: Tensor | None = None):
        self.layers = [AttentionCache(num_paths, capacity, padding) for _ in range(num_layers)]

    @property
    def fill(self) -> list[Attend]:
        """What fills the prefix, one for each layer."""
        return [layer.fill for layer in self.layers]

    @property
    def extend(self) -> list[Attend]:
        """What adds bars to the paths, one for each layer."""
        return [layer.extend for layer in self.layers]

    def forget_before(self, first: int) -> None:
        """As [`AttentionCache.forget_before`], for every layer."""
        for layer in self.layers:
            layer.forget_before(first)
