"""`mt5-ft push`: finds the model folder of a path with its tokenizer, and writes its card."""

from pathlib import Path

from ft_core.hub.card import NO_OPTIONS, CardFacts, CardOptions
from ft_core.hub.pushed_files import check_base, find_folder
from ft_core.hub.resolve import ADAPTER_CONFIG
from ft_core.io.formats import read_json
from ft_core.runs.folder import FINAL_MODEL

from ..models.loading import adapter_base, load_tokenizer
from .card import mt5_card

TOKENIZERS = ("tokenizer.json", "spiece.model")
MERGE = (
    'merge them first: python -c "from mt5_ft.models.loading import load_model, load_tokenizer; '
    "load_model('{folder}').save_pretrained('MERGED'); load_tokenizer('{folder}').save_pretrained('MERGED')\"; "
    "then push MERGED"
)


def check_complete(folder: Path) -> None:
    """Raises ValueError unless a folder's configuration is that of an encoder-decoder model."""
    path = folder / "config.json"
    config = read_json(path, "push the folder of an mT5 model", dict)
    if not config.get("is_encoder_decoder"):
        raise ValueError(
            f"{folder} contains a {config.get('model_type')} model, not an encoder-decoder; push an mT5 model"
        )


def describe_mt5(folder: Path, run: Path | None, options: CardOptions = NO_OPTIONS) -> CardFacts:
    """The content of the card of an mT5 model folder, without loading it.

    Raises:
        ValueError: another kind of model, adapters to a model that nobody else has, or options out of range.
    """
    adapters = (folder / ADAPTER_CONFIG).is_file()
    base = check_base(folder, adapter_base(folder), MERGE.format(folder=folder)) if adapters else None
    if not adapters:
        check_complete(folder)
    return mt5_card(folder, run, options, base)


def mt5_model(path: Path, options: CardOptions = NO_OPTIONS) -> tuple[Path, CardFacts]:
    """The folder to push for a model folder or run folder, and its card.

    Raises:
        ValueError: no such folder, an unfinished run, another kind of model, one without a tokenizer, or adapters to a
            model that nobody else has.
    """
    folder, run = find_folder(path, FINAL_MODEL)
    card = describe_mt5(folder, run, options)
    if not any((folder / name).is_file() for name in TOKENIZERS):  # transformers would make an empty one
        raise ValueError(
            f"{folder} has no tokenizer ({' or '.join(TOKENIZERS)}); save the tokenizer of the model in the same folder"
        )
    load_tokenizer(str(folder))
    return folder, card


def check_mt5_folder(folder: Path) -> None:
    """Raises ValueError unless a folder holds an encoder-decoder model, or adapters to one, and a tokenizer.

    Adapters alone may come without a tokenizer: their model has it.
    """
    if (folder / ADAPTER_CONFIG).is_file():
        return
    check_complete(folder)
    load_tokenizer(str(folder))
