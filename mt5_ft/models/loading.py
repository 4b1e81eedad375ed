"""Loads an mT5 model and its tokenizer with the faults of the stack mended, and makes a small one for tests and demos.

Notable:
- lm_head stays untied: MT5Config insists on tied embeddings while the published weights are not, and tying again would
  overwrite lm_head.
- Byte fallback is kept: the tokenizer class drops it, so that rare characters and emoji would become `<unk>`.
- Under fp16 the feed-forward output `wo` runs in fp32, where mT5 overflows.
"""

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    MT5Config,
    MT5ForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

from ft_core.hub import hub_answers

ADAPTER_CONFIG = "adapter_config.json"
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


class ModelUnreachable(ConnectionError):
    """The Hub gave no usable answer and the cache does not hold the model."""


class Fp32Linear(nn.Linear):
    """A linear layer that computes in fp32 inside an autocast region."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(x.float(), self.weight.float(), None if self.bias is None else self.bias.float())


def keep_feed_forward_in_fp32(model: nn.Module) -> int:
    """Replaces each feed-forward output `wo` by one that computes in fp32; returns how many there are."""
    count = 0
    for module in model.modules():
        output = getattr(module, "wo", None)
        if isinstance(output, nn.Linear):
            replacement = Fp32Linear(output.in_features, output.out_features, output.bias is not None, device="meta")
            replacement.weight, replacement.bias = output.weight, output.bias
            module.wo = replacement
            count += 1
    return count


def untie(model: PreTrainedModel) -> PreTrainedModel:
    """Gives a new model an output layer of its own, and checks that a loaded one has it."""
    if model.lm_head.weight is model.shared.weight:
        model.lm_head.weight = nn.Parameter(model.shared.weight.detach().clone())
    model.config.tie_word_embeddings = False
    return model


def _pickles_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix in PICKLE_SUFFIXES)


def _check_folder(folder: Path) -> None:
    if any(folder.glob("*.safetensors")):
        return
    pickles = [name for name in _pickles_of(folder) if name != "training_args.bin"]
    if pickles:
        raise ValueError(
            f"{folder} holds only pickled weights ({pickles[0]}), which are never loaded; save it again as safetensors"
        )
    raise ValueError(f"model folder {folder} has no *.safetensors; pass a folder that holds a saved model")


def _may_download(name: str) -> bool:
    return not Path(name).is_dir() and hub_answers()


def _check_name(name: str) -> None:
    if not Path(name).is_dir() and (Path(name).is_absolute() or name.startswith(("./", "../"))):
        raise ValueError(f"model folder {name} does not exist; correct the path")


def _explain(name: str, error: Exception) -> Exception:
    """One line for what transformers says about a name it cannot load."""
    text = " ".join(str(error).split())
    if Path(name).exists():
        return ValueError(f"{name} cannot be loaded ({text[:200]}); pass the folder of an mT5 model")
    if "safetensors" in text and "not found" in text.lower():
        return ValueError(f"{name} holds no safetensors; pickled weights are never loaded, so pass another model")
    if "is not a local folder and is not a valid model identifier" in text:
        return ValueError(
            f"model={name!r} is neither a folder nor a repository on the Hub that you may read; correct it"
        )
    return ModelUnreachable(f"could not reach the Hub for {name} and the local cache does not hold it; pass a folder")


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or Hub repository, with byte fallback where its vocabulary has bytes.

    Raises:
        ValueError: no tokenizer there.
        ModelUnreachable: the Hub cannot be reached.
    """
    _check_name(name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=not _may_download(name))
    except (OSError, ValueError, ImportError) as error:
        raise _explain(name, error) from error
    return with_byte_fallback(tokenizer)


def with_byte_fallback(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The same tokenizer with byte fallback switched on, or unchanged when its vocabulary has no bytes."""
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = (
        {piece for piece, _ in backend["model"].get("vocab", [])} if backend["model"]["type"] == "Unigram" else ()
    )
    if "<0x00>" not in vocabulary or backend["model"].get("byte_fallback"):
        return tokenizer
    backend["model"]["byte_fallback"] = True
    # the metaspace decoder drops every space of the first token it sees, so it must come before the tokens are fused
    backend["decoder"] = {
        "type": "Sequence",
        "decoders": [backend["decoder"], {"type": "ByteFallback"}, {"type": "Fuse"}],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        path.write_text(json.dumps(backend, ensure_ascii=False), encoding="utf-8")
        return PreTrainedTokenizerFast(
            tokenizer_file=str(path),
            eos_token="</s>",
            unk_token="<unk>",
            pad_token="<pad>",
            additional_special_tokens=[f"<extra_id_{i}>" for i in range(100) if f"<extra_id_{i}>" in vocabulary],
            model_max_length=tokenizer.model_max_length,
        )


def load_model(name: str, tokenizer: PreTrainedTokenizerBase | None = None) -> PreTrainedModel:
    """An encoder-decoder model of a folder or Hub repository, fp32 and untied; adapters are put on their base.

    Raises:
        ValueError: no model, another kind of model, pickled weights, or fewer embeddings than the tokenizer has pieces.
        ModelUnreachable: the Hub cannot be reached.
    """
    folder = Path(name)
    if folder.is_dir():
        _check_folder(folder)
    _check_name(name)
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # transformers warns that the embeddings are not tied, which is right for mT5
    try:
        if (folder / ADAPTER_CONFIG).is_file():
            from peft import AutoPeftModelForSeq2SeqLM

            model = AutoPeftModelForSeq2SeqLM.from_pretrained(name).merge_and_unload()
        else:
            local = not _may_download(name)
            config = AutoConfig.from_pretrained(name, local_files_only=local)
            if not config.is_encoder_decoder:
                raise ValueError(f"{name} is a {config.model_type} model, not encoder-decoder; pass an mT5 model")
            model = AutoModelForSeq2SeqLM.from_pretrained(
                name, use_safetensors=True, dtype=torch.float32, local_files_only=local
            )
    except ValueError as error:
        raise error if "not encoder-decoder" in str(error) else _explain(name, error) from error
    except OSError as error:
        raise _explain(name, error) from error
    finally:
        logging.set_verbosity(verbosity)
    embeddings = model.get_input_embeddings().weight.shape[0]
    if tokenizer is not None and len(tokenizer) > embeddings:
        raise ValueError(
            f"the tokenizer has {len(tokenizer)} pieces but {name} embeds {embeddings}; pass that model's tokenizer"
        )
    return untie(model) if hasattr(model, "shared") else model


def train_tokenizer(texts: Iterable[str], vocab_size: int = 3000) -> PreTrainedTokenizerBase:
    """A SentencePiece unigram tokenizer with byte fallback and mT5's special pieces, trained on texts.

    Args:
        texts: lines of text.
        vocab_size (`int`): pieces before the 100 sentinels; fewer when the texts do not support as many.
    """
    import sentencepiece

    with tempfile.TemporaryDirectory() as folder:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(line for text in texts for line in text.splitlines()),
            model_prefix=f"{folder}/spiece",
            vocab_size=vocab_size,
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
    """A small mT5 from random weights that learns in minutes on a CPU.

    Args:
        vocab_size (`int`): pieces of its tokenizer; embeddings are padded to a multiple of 64.
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
    with torch.no_grad():  # unscaled, the first loss is 60 nats and most of a short run is spent coming down
        model.lm_head.weight.mul_(config.d_model**-0.5)
    return model
