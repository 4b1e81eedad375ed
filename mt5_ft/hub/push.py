"""`mt5-ft push`: finds the model folder of a path with its tokenizer, and writes its card."""

from pathlib import Path

from ft_core.hub.card import NO_OPTIONS, CardFacts, CardOptions
from ft_core.hub.pushed_files import check_base, find_folder
from ft_core.hub.resolve import ADAPTER_CONFIG
from ft_core.io.formats import read_json
from ft_core.runs.folder import FINAL_MODEL

from ..models.loading import adapter_base, check_fit, load_tokenizer
from .card import mt5_card

TOKENIZERS = ("tokenizer.json", "spiece.model")
SAVE = (
    'python -c "from mt5_ft.models.loading import load_model, load_tokenizer; '
    "load_model('{folder}').save_pretrained('SAVED'); load_tokenizer('{folder}').save_pretrained('SAVED')\"; "
    "then push SAVED"
)


def check_complete(folder: Path) -> str:
    """Checks the configuration of a complete model, and that the weights fit it as loading requires.

    Returns:
        `str`: the prefix of the weights' names, such as `module.`, that loading removes; empty if there is none.

    Raises:
        ValueError: another kind of model, or tensors that are missing, unexpected or of another shape.
    """
    path = folder / "config.json"
    config = read_json(path, "push the folder of an mT5 model", dict)
    if not config.get("is_encoder_decoder"):
        raise ValueError(
            f"{folder} contains a {config.get('model_type')} model, not an encoder-decoder; push an mT5 model"
        )
    return check_fit(folder)


def describe_mt5(folder: Path, run: Path | None, options: CardOptions = NO_OPTIONS) -> CardFacts:
    """The content of the card of an mT5 model folder, without loading it.

    Raises:
        ValueError: another kind of model, weights that do not fit their configuration, adapters to a model that nobody
            else has, or options out of range.
    """
    adapters, save = (folder / ADAPTER_CONFIG).is_file(), SAVE.format(folder=folder)
    base = check_base(folder, adapter_base(folder), f"merge them first: {save}") if adapters else None
    if not adapters and (prefix := check_complete(folder)):
        raise ValueError(
            f"the names of the weights in {folder} begin with {prefix!r}, and transformers alone would not load them; "
            f"save the model without the prefix first: {save}"
        )
    return mt5_card(folder, run, options, base)


def mt5_model(path: Path, options: CardOptions = NO_OPTIONS) -> tuple[Path, CardFacts]:
    """The folder to push for a model folder or run folder, and its card.

    Raises:
        ValueError: no such folder, an unfinished run, another kind of model, weights that do not fit their
            configuration, a model without a tokenizer, or adapters to a model that nobody else has.
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
    """Raises ValueError unless a folder holds an encoder-decoder model that fits its configuration, and a tokenizer.

    Adapters alone may come without a tokenizer: their model has it.
    """
    if (folder / ADAPTER_CONFIG).is_file():
        return
    check_complete(folder)
    load_tokenizer(str(folder))
