"""Loads the starting model of a run, with adapters if requested."""

import copy
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed

from ft_core.checkpoints.listing import find_newest_complete
from ft_core.hub.resolve import ADAPTER_CONFIG, HubUnreachable, Start, pin
from ft_core.io.console import note

from ..data.records import Record
from ..models.from_scratch import small_model, train_tokenizer
from ..models.loading import find_model, load_model, load_tokenizer
from ..training.arguments import MT5Arguments, MT5ModelArguments
from .trimming import Trimming

# enough for 3,000 pieces; 3 million characters of distinct text would take 90 seconds instead of 13
VOCABULARY_RECORDS = 4000
VOCABULARY_CHARACTERS = 1_000_000
WITHOUT_HUB = "or train a small model from random weights (--model small --from_scratch)"


def resolve_model(settings: MT5ModelArguments, args: MT5Arguments) -> Start:
    """The folder and the commit of the model; a run that is resumed takes the commit that it recorded.

    Raises:
        ValueError: no such folder, repository or revision, or no mT5 model in safetensors format.
        HubUnreachable: the Hub cannot be reached and the cache does not hold the model.
    """
    if settings.from_scratch:
        return Start(copy.copy(settings), None)
    run = Path(args.output_dir) if args.resume else None
    try:
        return pin(settings, settings.model, lambda revision: find_model(settings.model, revision, True), run)
    except HubUnreachable as error:
        raise HubUnreachable(f"{error}; {WITHOUT_HUB}") from None


def start_tokenizer(start: Start, args: MT5Arguments, train: Sequence[Record]) -> PreTrainedTokenizerBase:
    """The model's tokenizer, or one of the training records; a resumed run takes that of its checkpoint.

    Raises:
        ValueError: a tokenizer that cannot be used.
    """
    if start.folder is not None:
        return load_tokenizer(str(start.folder))
    checkpoint = find_newest_complete(Path(args.output_dir))[0] if args.resume else None
    if checkpoint is not None:
        return load_tokenizer(str(checkpoint))
    texts = vocabulary_sample(train)
    note(f"training a vocabulary on {sum(map(len, texts)):,} characters of {len(texts):,} records")
    return train_tokenizer(texts)


def vocabulary_sample(train: Sequence[Record]) -> list[str]:
    """Texts to train a vocabulary on: evenly spaced records, each cut to an equal share of `VOCABULARY_CHARACTERS`.

    A share that short records leave is given to longer ones.
    """
    every = -(-len(train) // VOCABULARY_RECORDS)
    texts = [f"{record.source}\n{record.target}" for record in train[::every]]
    left, limit = VOCABULARY_CHARACTERS, 0
    for position, length in enumerate(sorted(map(len, texts))):
        limit = left // (len(texts) - position)
        if length > limit:
            break
        left -= length
    else:
        return texts
    return [text[:limit] for text in texts]


def start_model(
    start: Start, args: MT5Arguments, tokenizer: PreTrainedTokenizerBase, trimming: Trimming | None = None
) -> PreTrainedModel:
    """The model to train, the same for the same seed.

    Args:
        start ([`~ft_core.hub.resolve.Start`]): the resolved model.
        args: the run's settings.
        tokenizer: the one that is trained with.
        trimming ([`Trimming`], *optional*): how the vocabulary is trimmed.

    Raises:
        ValueError: a model that cannot be used, or new adapters on top of others that would be lost.
    """
    settings, folder = start.settings, start.folder
    if folder is not None and settings.lora and not settings.lora_merge and (folder / ADAPTER_CONFIG).is_file():
        raise ValueError(
            f"model={settings.model} contains adapters, which are lost if only the new adapters are saved; set "
            "lora_merge true too (final/ is then a complete model), or start from a merged model"
        )
    set_seed(args.seed)
    if folder is None:
        return small_model(len(tokenizer), args.seed)
    model = load_model(str(folder), tokenizer if trimming is None else trimming.full)
    if trimming is not None:
        trimming.apply(model)
    return _with_adapters(model, settings) if settings.lora else model


def _with_adapters(model: PreTrainedModel, settings: MT5ModelArguments) -> PreTrainedModel:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        task_type="SEQ_2_SEQ_LM",
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=["q", "v"],
    )
    origin = model.hub_origin  # adapters fit the weights of that commit alone
    adapted = get_peft_model(model, config, revision=origin.commit if origin else None)
    # nothing trains the tables; by default peft asks the Hub for the base's, and saves those of a trimmed vocabulary
    adapted.save_pretrained = partial(adapted.save_pretrained, save_embedding_layers=False)
    return adapted
