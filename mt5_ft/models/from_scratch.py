"""A small mT5 from random weights, with a vocabulary trained on the given texts: for experiments without a network."""

import tempfile
from collections.abc import Iterable

import torch
from transformers import AutoTokenizer, MT5Config, MT5ForConditionalGeneration, PreTrainedTokenizerBase

from .loading import untie, with_byte_fallback

LONGEST_LINE = 4192  # bytes; SentencePiece silently skips longer lines
OTHER_PIECES = 300  # 256 bytes, the special pieces, and a margin


def _parts(line: str) -> list[str]:
    """Splits a line that is too long for SentencePiece."""
    if len(line.encode("utf-8", "surrogatepass")) <= LONGEST_LINE:
        return [line]
    return [line[first : first + LONGEST_LINE // 4] for first in range(0, len(line), LONGEST_LINE // 4)]


def train_tokenizer(texts: Iterable[str], vocab_size: int = 3000) -> PreTrainedTokenizerBase:
    """Trains a SentencePiece unigram tokenizer with byte fallback and mT5's special pieces.

    Args:
        texts: lines of text.
        vocab_size (`int`): pieces without the 100 sentinels; fewer for short texts, more if the texts have more
            characters.
    """
    import sentencepiece

    lines = [part for text in texts for line in text.splitlines() for part in _parts(line)]
    characters = len(set().union(*lines))
    with tempfile.TemporaryDirectory() as folder:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_prefix=f"{folder}/spiece",
            vocab_size=max(vocab_size, characters + OTHER_PIECES),
            hard_vocab_limit=False,
            model_type="unigram",
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            byte_fallback=True,
            character_coverage=0.9995,
            num_threads=1,
            minloglevel=2,
        )
        MT5Config().save_pretrained(folder)
        return with_byte_fallback(AutoTokenizer.from_pretrained(folder))


def small_model(vocab_size: int, seed: int = 0) -> MT5ForConditionalGeneration:
    """A small mT5 from random weights that trains in minutes on a CPU.

    Args:
        vocab_size (`int`): pieces of the tokenizer; the embeddings are padded to a multiple of 64.
        seed (`int`): seed of the weights.
    """
    torch.manual_seed(seed)
    config = MT5Config(
        vocab_size=-(-vocab_size // 64) * 64,
        d_model=128,
        d_kv=32,
        d_ff=256,
        num_layers=3,
        num_decoder_layers=3,
        num_heads=4,
        decoder_start_token_id=0,
        dropout_rate=0.05,
    )
    model = untie(MT5ForConditionalGeneration(config))
    with torch.no_grad():  # without this scaling, the initial loss is 60 nats, too high for a short run
        model.lm_head.weight.mul_(config.d_model**-0.5)
    return model
