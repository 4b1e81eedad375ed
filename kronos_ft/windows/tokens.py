"""Windows as tokens of a frozen tokenizer, computed once and cached on disk.

Notable:
- Tokens are computed in fp32, independently of the run's precision: autocast would change some bits.
- The name of a cache file contains the hashes of the tokenizer's weights and of the windows (candles, positions,
  normalisation), so outdated tokens are never used. The content is hashed too: a damaged file is computed again.
- The cache is a safetensors file, written atomically. It may be deleted at any time.

Shapes: B windows, L bars of a window, F = 6 features.
"""

import copy
import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import Dataset

from ft_core.io.files import write_file
from ft_core.runs.processes import process_group

from ..data.candle_table import own_cache
from ..models.identity import weights_hash
from ..models.modeling_kronos import KronosTokenizer
from .dataset import WindowDataset

logger = logging.getLogger(__name__)

BATCH = 256
INT16_BITS = 15  # an index of this many bits fits into a signed 16-bit integer


def cache_folder(setting: str | bool) -> Path | None:
    """Folder of cached tokens: a given folder, the user's cache ([`own_cache`]) for `true`, or None for `false`."""
    value = str(setting).lower()
    if value in ("false", "no", "off", "0"):
        return None
    if value in ("true", "yes", "on", "1"):
        return own_cache() / "tokens"
    return Path(setting)


def freeze(tokenizer: KronosTokenizer) -> KronosTokenizer:
    """A frozen copy: fp32, evaluation mode, no gradients."""
    return copy.deepcopy(tokenizer).float().eval().requires_grad_(False)


def tokenise(tokenizer: KronosTokenizer, candles: Tensor) -> tuple[Tensor, Tensor]:
    """Coarse and fine tokens of normalised candles, computed in fp32 even under autocast.

    Args:
        tokenizer ([`KronosTokenizer`]): from [`freeze`].
        candles (`torch.Tensor` of shape `(B, L, F)`): on the tokenizer's device.

    Returns:
        two `torch.LongTensor` of shape `(B, L)`.
    """
    with torch.autocast(candles.device.type, enabled=False):
        return tokenizer.encode(candles.float(), half=True)


class TokenWindowDataset(Dataset):
    """The windows of a [`WindowDataset`] as tokens, all computed in advance.

    Each item is a dict of `s1`, `s2` `(L,)` int64, the coarse and fine tokens, and `stamps` `(L, 5)` int64. A list of
    indices gives a batch.

    With several processes on a CPU, create the training arguments first: they start the process group, in which one
    process writes the cache and the others read it.

    Args:
        windows ([`WindowDataset`]): windows without augmentation.
        tokenizer ([`KronosTokenizer`]): runs on its device; not modified.
        cache (`Path`, *optional*): cache folder; without it, tokens are computed each time.
        progress (`Callable`, *optional*): called with (done, total) during the computation.

    Raises:
        ValueError: augmented windows, whose tokens differ in each epoch; pass them to [`KronosTrainer`] directly.
    """

    def __init__(
        self,
        windows: WindowDataset,
        tokenizer: KronosTokenizer,
        cache: str | Path | None = None,
        progress: Callable[[int, int], None] | None = None,
    ):
        if windows.augmented:
            raise ValueError(
                "tokens of augmented windows cannot be cached, since they differ in each epoch; pass the WindowDataset "
                "to the trainer, or turn augmentation off"
            )
        self.windows = windows
        self._progress = progress
        if cache is None:
            self.s1, self.s2 = self._make(tokenizer)
            return
        names = {"tokenizer": weights_hash(tokenizer), "windows": windows.fingerprint()}
        folder = Path(cache) / f"{names['tokenizer'][:16]}-{names['windows'][:16]}"
        with process_group().local_main_process_first():
            self.s1, self.s2 = self._load_or_make(folder / f"{windows.split}.safetensors", names, tokenizer)

    # Attributes of the windows

    split = property(lambda self: self.windows.split)
    shape = property(lambda self: self.windows.shape)
    symbols = property(lambda self: self.windows.symbols)
    bounds = property(lambda self: self.windows.bounds)
    windows_per_symbol = property(lambda self: self.windows.windows_per_symbol)

    def __len__(self) -> int:
        return len(self.windows)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: values[0] for name, values in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """A batch: `s1` and `s2` of shape `(B, L)`, `stamps` of shape `(B, L, 5)`."""
        rows = torch.as_tensor(indices) % len(self)
        return {
            "s1": self.s1[rows].long(),
            "s2": self.s2[rows].long(),
            "stamps": self.windows.stamps_of(rows.numpy()),
            "window": rows,
        }

    def name_of(self, window: int) -> str:
        """Symbol and time of the first bar of a window."""
        return self.windows.name_of(window)

    def fingerprint(self) -> str:
        """SHA-256 of the windows and of their tokens."""
        return hashlib.sha256(f"{self.windows.fingerprint()}{_content_hash((self.s1, self.s2))}".encode()).hexdigest()

    # Tokens

    @torch.no_grad()
    def _make(self, tokenizer: KronosTokenizer) -> tuple[Tensor, Tensor]:
        frozen = freeze(tokenizer)
        shape = (len(self), self.shape.length)
        halves = [
            torch.empty(shape, dtype=torch.int16 if bits <= INT16_BITS else torch.int32)
            for bits in (frozen.config.s1_bits, frozen.config.s2_bits)
        ]
        for first in range(0, len(self), BATCH):
            rows = range(first, min(first + BATCH, len(self)))
            found = tokenise(frozen, self.windows.__getitems__(rows)["target"].to(frozen.device))
            for half, values in zip(halves, found, strict=True):
                half[rows.start : rows.stop] = values.to(half.device, half.dtype)
            if self._progress is not None:
                self._progress(rows.stop, len(self))
        return halves[0], halves[1]

    def _load_or_make(self, path: Path, names: dict[str, str], tokenizer: KronosTokenizer) -> tuple[Tensor, Tensor]:
        if path.is_file():
            try:
                return self._load(path, names)
            except (SafetensorError, OSError, ValueError) as error:
                logger.warning(
                    f"cached tokens {path} are unusable ({' '.join(str(error).split())}): computing them again"
                )
        halves = self._make(tokenizer)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            metadata = {**names, "content": _content_hash(halves)}
            write_file(path, lambda file: save_file(dict(zip(("s1", "s2"), halves, strict=True)), file, metadata))
        except OSError as error:
            logger.warning(
                f"cannot cache tokens in {path.parent} ({error.strerror or error}): the next run computes them again"
            )
        return halves

    def _load(self, path: Path, names: dict[str, str]) -> tuple[Tensor, Tensor]:
        """Reads cached tokens; raises ValueError if they are damaged or of another tokenizer or other windows."""
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            for name, value in names.items():
                if metadata.get(name) != value:
                    raise ValueError(f"computed with another {name.removesuffix('s')}")
            halves = file.get_tensor("s1"), file.get_tensor("s2")
        shape = (len(self), self.shape.length)
        if any(tuple(half.shape) != shape for half in halves) or metadata.get("content") != _content_hash(halves):
            raise ValueError("damaged")
        return halves


def _content_hash(halves: Sequence[Tensor]) -> str:
    digest = hashlib.sha256()
    for half in halves:
        digest.update(half.numpy().tobytes())
    return digest.hexdigest()
