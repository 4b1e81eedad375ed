"""Configuration of the Kronos models: the published `config.json` keys, with validation.

Notable:
- The published `config.json` has no `model_type`; every key here has the published name and meaning.
- As upstream, `n_enc_layers` and `n_dec_layers` are the number of blocks plus one.
- `group_size` does not affect the loss: upstream computes a grouped assignment and then overwrites it.
- `rotate_sibling` is a key of this library; published folders do not have it, which means false.
"""

from typing import ClassVar

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .sizes import PREDICTOR_SIZES, TOKENIZER_SIZES


def _check_bits(config: PreTrainedConfig) -> None:
    for name in ("s1_bits", "s2_bits"):
        if getattr(config, name) > 20:
            raise ValueError(f"{name}={getattr(config, name)} exceeds 20 bits (2^20 codes); use fewer bits")


@strict
class KronosTokenizerConfig(PreTrainedConfig):
    r"""Configuration of a [`KronosTokenizer`].

    Args:
        d_in (`int`): Features of a bar: open, high, low, close, volume, amount.
        d_model (`int`): Width of the encoder and decoder.
        n_heads (`int`): Attention heads; must divide `d_model` into even head sizes.
        ff_dim (`int`): Width of the feed-forward layer.
        n_enc_layers (`int`): Encoder blocks plus one (4 means 3 blocks).
        n_dec_layers (`int`): Decoder blocks plus one.
        ffn_dropout_p, attn_dropout_p, resid_dropout_p (`float`): Dropout probabilities.
        s1_bits (`int`): Bits of the coarse index, the low bits of a code.
        s2_bits (`int`): Bits of the fine index.
        beta (`float`): Weight of the commitment term.
        gamma0 (`float`): Weight of the per-sample entropy.
        gamma (`float`): Weight of the codebook entropy (subtracted from the loss).
        zeta (`float`): Common weight of both entropy terms.
        group_size (`int`): Bits per group; must divide `s1_bits + s2_bits`. Only for compatibility with published code.

    Raises:
        ValueError: a value is out of range or contradicts another.

    Source: shiyu-coder/Kronos `config.json`; binary spherical quantisation, arXiv 2406.07548.
    """

    model_type = "kronos_tokenizer"
    optional_keys: ClassVar[tuple[str, ...]] = ()

    d_in: int = 6
    d_model: int = 256
    n_heads: int = 4
    ff_dim: int = 512
    n_enc_layers: int = 4
    n_dec_layers: int = 4
    ffn_dropout_p: int | float = 0.0
    attn_dropout_p: int | float = 0.0
    resid_dropout_p: int | float = 0.0
    s1_bits: int = 10
    s2_bits: int = 10
    beta: int | float = 0.05
    gamma0: int | float = 1.0
    gamma: int | float = 1.1
    zeta: int | float = 0.05
    group_size: int = 4

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        for name in ("d_in", "d_model", "n_heads", "ff_dim", "n_enc_layers", "n_dec_layers", "s1_bits", "s2_bits"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1; correct the configuration")
        if self.d_model % (2 * self.n_heads):
            raise ValueError(
                f"d_model={self.d_model} is not a multiple of 2 x n_heads={self.n_heads}, but rotary attention needs "
                "an even head size; change one of the two"
            )
        _check_bits(self)
        if self.group_size < 1 or self.codebook_dim % self.group_size:
            divisors = [d for d in range(1, self.codebook_dim + 1) if self.codebook_dim % d == 0]
            raise ValueError(
                f"group_size={self.group_size} does not divide s1_bits + s2_bits = {self.codebook_dim}; "
                f"use one of {divisors}"
            )

    @property
    def codebook_dim(self) -> int:
        """Bits of a whole code, `s1_bits + s2_bits`."""
        return self.s1_bits + self.s2_bits

    @classmethod
    def published_keys(cls) -> tuple[str, ...]:
        """The keys of a published `config.json`, in its order."""
        return (
            "d_in", "d_model", "n_heads", "ff_dim", "n_enc_layers", "n_dec_layers", "ffn_dropout_p", "attn_dropout_p",
            "resid_dropout_p", "s1_bits", "s2_bits", "beta", "gamma0", "gamma", "zeta", "group_size",
        )  # fmt: skip

    @classmethod
    def from_size(cls, size: str) -> "KronosTokenizerConfig":
        """The configuration of a size: `base` and `2k` as published, `tiny` for tests.

        Raises:
            ValueError: unknown size.
        """
        if size not in TOKENIZER_SIZES:
            raise ValueError(f"size={size!r} is not a tokenizer size; use one of {sorted(TOKENIZER_SIZES)}")
        return cls(**TOKENIZER_SIZES[size])


@strict
class KronosConfig(PreTrainedConfig):
    r"""Configuration of a [`Kronos`] predictor.

    Args:
        s1_bits, s2_bits (`int`): Bits of the coarse and the fine index, as in the tokenizer.
        n_layers (`int`): Number of transformer blocks.
        d_model (`int`): Width.
        n_heads (`int`): Attention heads; must divide `d_model` into even head sizes. The dependency-aware layer always
            has 4 heads.
        ff_dim (`int`): Width of the feed-forward layer.
        ffn_dropout_p, attn_dropout_p, resid_dropout_p (`float`): Dropout probabilities of the blocks.
        token_dropout_p (`float`): Dropout probability of the embedded tokens.
        learn_te (`bool`): Whether the calendar embeddings are learned (True) or fixed sinusoids (False).
        rotate_sibling (`bool`): Whether the dependency-aware layer rotates query and keys when forecasting, as in
            training. False for published weights (as upstream); models trained with the true s1 forecast better with
            True.

    Raises:
        ValueError: a value is out of range or contradicts another.

    Source: shiyu-coder/Kronos `config.json`, arXiv 2508.02739.
    """

    model_type = "kronos"
    optional_keys: ClassVar[tuple[str, ...]] = ("rotate_sibling",)

    s1_bits: int = 10
    s2_bits: int = 10
    n_layers: int = 8
    d_model: int = 512
    n_heads: int = 8
    ff_dim: int = 1024
    ffn_dropout_p: int | float = 0.25
    attn_dropout_p: int | float = 0.1
    resid_dropout_p: int | float = 0.25
    token_dropout_p: int | float = 0.1
    learn_te: bool = True
    rotate_sibling: bool = False

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        for name in ("s1_bits", "s2_bits", "n_layers", "d_model", "n_heads", "ff_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1; correct the configuration")
        for heads, name in ((self.n_heads, f"2 x n_heads={self.n_heads}"), (DEPENDENCY_HEADS, "8")):
            if self.d_model % (2 * heads):
                raise ValueError(
                    f"d_model={self.d_model} is not a multiple of {name}, but rotary attention needs an even head size "
                    f"in the blocks and in the {DEPENDENCY_HEADS} heads of the dependency-aware layer; change d_model"
                )
        _check_bits(self)

    @property
    def codebook_dim(self) -> int:
        """Bits of a whole code, `s1_bits + s2_bits`."""
        return self.s1_bits + self.s2_bits

    @classmethod
    def published_keys(cls) -> tuple[str, ...]:
        """The keys of a published `config.json`, in its order."""
        return (
            "s1_bits", "s2_bits", "n_layers", "d_model", "n_heads", "ff_dim", "ffn_dropout_p", "attn_dropout_p",
            "resid_dropout_p", "token_dropout_p", "learn_te",
        )  # fmt: skip

    @classmethod
    def from_size(cls, size: str) -> "KronosConfig":
        """The configuration of a size: mini, small, base, large as published, `tiny` for tests.

        Raises:
            ValueError: unknown size.
        """
        if size not in PREDICTOR_SIZES:
            raise ValueError(f"size={size!r} is not a predictor size; use one of {sorted(PREDICTOR_SIZES)}")
        return cls(**PREDICTOR_SIZES[size])


DEPENDENCY_HEADS = 4  # fixed upstream for every width


def check_bits(predictor: KronosConfig, tokenizer: KronosTokenizerConfig) -> None:
    """Raises ValueError if a predictor does not match the codes of a tokenizer."""
    for name in ("s1_bits", "s2_bits"):
        theirs, ours = getattr(tokenizer, name), getattr(predictor, name)
        if theirs != ours:
            raise ValueError(
                f"the tokenizer has {name}={theirs} but the predictor {name}={ours}; pass the tokenizer that the "
                "predictor was trained with"
            )
