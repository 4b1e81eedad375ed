"""What `mt5-ft pull` takes for an mT5 model."""

from pathlib import Path

from ..models.loading import ADAPTER_CONFIG, load_tokenizer
from .push import check_whole


def check_mt5_folder(folder: Path) -> None:
    """Raises ValueError unless a folder holds an encoder-decoder model, or adapters to one, and a tokenizer.

    Adapters alone may come without a tokenizer: their model has it.
    """
    if (folder / ADAPTER_CONFIG).is_file():
        return
    check_whole(folder)
    load_tokenizer(str(folder))
