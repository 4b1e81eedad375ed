"""Windows as tokens of a frozen tokenizer, computed once and cached on disk.

Notable:
- Tokens are computed in fp32, independently of the run's precision: autocast would change some bits.
- The name of a cache file contains the hashes of the tokenizer's weights and of the windows (candles, positions,
  normalisation), so outdated tokens are never used. The content is hashed too: a damaged file is computed again.
- The cache is a memory-mapped file that all processes of a machine fill together, see [`TokenFile`]. It may be deleted
  at any time.

Shapes: B windows, L bars of a window, F = 6 features.
"""

import copy
import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import gather_object
from safetensors import SafetensorError
from torch import Tensor
from torch.utils.data import Dataset

from ft_core.io.cache_folder import own_cache
from ft_core.runs.processes import process_group

from ..models.identity import tokenizer_facts
from ..models.modeling_kronos import KronosTokenizer
from .dataset import WindowDataset
from .token_file import TokenFile, content_hash

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

    With several processes on a CPU, create the training arguments first: they start the process group, in which the
    processes of a machine fill the cache together.

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
        self.windows, self.tokenizer_facts = windows, tokenizer_facts(tokenizer)
        self._progress = progress
        if cache is None:
            self.s1, self.s2 = self._make(tokenizer)
            return
        names = {"tokenizer": self.tokenizer_facts["tokenizer_sha256"], "windows": windows.fingerprint()}
        folder = Path(cache) / f"{names['tokenizer'][:16]}-{names['windows'][:16]}"
        dtypes = [_dtype(bits) for bits in (tokenizer.config.s1_bits, tokenizer.config.s2_bits)]
        shape, machine = (len(self), self.shape.length), int(os.environ.get("GROUP_RANK") or 0)
        file = TokenFile(folder / f"{windows.split}.safetensors", names, shape, dtypes, machine)
        self.s1, self.s2 = self._load_or_make(file, tokenizer)

    _items = "s1 and s2 (L,), stamps (L, 5)"

    # Attributes of the windows

    split = property(lambda self: self.windows.split)
    shape = property(lambda self: self.windows.shape)
    symbols = property(lambda self: self.windows.symbols)
    bounds = property(lambda self: self.windows.bounds)
    windows_per_symbol = property(lambda self: self.windows.windows_per_symbol)

    def __len__(self) -> int:
        return len(self.windows)

    def __repr__(self) -> str:
        heading = repr(self.windows).partition("\n")[0].removeprefix("WindowDataset")
        return f"{type(self).__name__}{heading}\n{self.shape.words()}; {self._items}"

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
        tokens = content_hash((self.s1.numpy(), self.s2.numpy()))
        return hashlib.sha256(f"{self.windows.fingerprint()}{tokens}".encode()).hexdigest()

    # Tokens

    def _make(self, tokenizer: KronosTokenizer) -> tuple[Tensor, Tensor]:
        """All tokens, in memory."""
        found = self._tokens_of(freeze(tokenizer), range(len(self)), self._progress)
        return torch.from_numpy(found[0]), torch.from_numpy(found[1])

    @torch.no_grad()
    def _tokens_of(
        self, frozen: KronosTokenizer, rows: range, progress: Callable[[int, int], None] | None = None
    ) -> list[np.ndarray]:
        """Both halves of the tokens of some windows, `(rows, L)`."""
        bits = frozen.config.s1_bits, frozen.config.s2_bits
        halves = [np.empty((len(rows), self.shape.length), _dtype(one)) for one in bits]
        for first in range(0, len(rows), BATCH):
            batch = rows[first : first + BATCH]
            found = tokenise(frozen, self.windows.__getitems__(batch)["target"].to(frozen.device))
            for half, values in zip(halves, found, strict=True):
                half[first : first + len(batch)] = values.cpu().numpy()
            if progress is not None:
                progress(first + len(batch), len(rows))
        return halves

    def _load_or_make(self, file: TokenFile, tokenizer: KronosTokenizer) -> tuple[Tensor, Tensor]:
        """Tokens of the file. All processes wait for each other equally often, whatever each of them finds."""
        group, found = process_group(), self._read(file)
        if all(gather_object([found is not None])):
            return found
        if found is None and group.is_local_main_process:
            try:
                file.begin()
            except OSError as error:
                logger.warning(
                    f"cannot cache tokens in {file.path.parent} ({error.strerror or error}): the next run computes "
                    "them again"
                )
        parts = dict(gather_object([(file.machine, file.part)] if group.is_local_main_process else []))
        part = parts.get(file.machine)
        missing = [] if part is None else file.missing(part)
        group.wait_for_everyone()  # nobody fills a block before all know what is missing
        place, processes = group.local_process_index, int(os.environ.get("LOCAL_WORLD_SIZE") or 1)
        if part is not None and place < processes:
            frozen = freeze(tokenizer)
            work = lambda rows: self._tokens_of(frozen, rows)  # noqa: E731
            file.fill(part, missing[place::processes], work, place, self._progress)
        group.wait_for_everyone()
        if file.part is not None:
            file.finish()
        group.wait_for_everyone()
        return found or self._read(file) or self._make(tokenizer)

    def _read(self, file: TokenFile) -> tuple[Tensor, Tensor] | None:
        """The tokens of the file; None without a file, or if it is damaged, with a warning."""
        try:
            return file.read() if file.path.is_file() else None
        except (SafetensorError, OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            logger.warning(f"cached tokens {file.path} are unusable ({reason}): computing them again")
            return None


def _dtype(bits: int) -> str:
    return "int16" if bits <= INT16_BITS else "int32"
