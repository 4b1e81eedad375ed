"""Named sizes of the models, and the repositories of the published ones. Imports nothing heavy."""

from collections.abc import Mapping
from pathlib import Path


def _predictor_size(
    layers: int, width: int, heads: int, ff: int, dropouts: tuple[float, ...]
) -> dict[str, int | float]:
    names = ("attn_dropout_p", "ffn_dropout_p", "resid_dropout_p", "token_dropout_p")
    return {
        "n_layers": layers,
        "d_model": width,
        "n_heads": heads,
        "ff_dim": ff,
        **dict(zip(names, dropouts, strict=True)),
    }


PREDICTOR_SIZES: dict[str, dict[str, float]] = {
    "mini": _predictor_size(4, 256, 4, 512, (0.0, 0.2, 0.2, 0.0)),
    "small": _predictor_size(8, 512, 8, 1024, (0.1, 0.25, 0.25, 0.1)),
    "base": _predictor_size(12, 832, 16, 2048, (0.0, 0.2, 0.2, 0.0)),
    "large": _predictor_size(18, 1664, 32, 3072, (0.0, 0.2, 0.2, 0.0)),
    "tiny": {**_predictor_size(2, 32, 2, 64, (0.0, 0.0, 0.0, 0.0)), "s1_bits": 5, "s2_bits": 5},
}


PUBLISHED_PREDICTORS: dict[str, str] = {
    "mini": "NeoQuasar/Kronos-mini",
    "small": "NeoQuasar/Kronos-small",
    "base": "NeoQuasar/Kronos-base",
}


TOKENIZER_OF_PUBLISHED = {"mini": "2k", "small": "base", "base": "base"}
PREDICTOR_CONTEXT: dict[str, int] = {"mini": 2048, "small": 512, "base": 512, "large": 512, "tiny": 512}


# 'base' is the default configuration; '2k', the tokenizer for 2,048 bars of context, differs only in group_size.
TOKENIZER_SIZES: dict[str, dict[str, int]] = {
    "base": {},
    "2k": {"group_size": 5},
    "tiny": {
        "d_model": 32,
        "n_heads": 2,
        "ff_dim": 64,
        "n_enc_layers": 2,
        "n_dec_layers": 2,
        "s1_bits": 5,
        "s2_bits": 5,
        "group_size": 5,
    },
}


PUBLISHED_TOKENIZERS: dict[str, str] = {
    "base": "NeoQuasar/Kronos-Tokenizer-base",
    "2k": "NeoQuasar/Kronos-Tokenizer-2k",
}


# What the published weights have seen, by the author (github.com/shiyu-coder/Kronos, issue 204): training on data to
# February 2024, validation to May 2024. Bars from this day (UTC) on are new to them.
TRAINED_UNTIL: dict[str, str] = dict.fromkeys(PUBLISHED_PREDICTORS.values(), "2024-06-01")


def size_of(name: str, published: Mapping[str, str]) -> str:
    """The size of a published repository, else the name itself."""
    return {repository: size for size, repository in published.items()}.get(name, name)


def named_place(name: str, published: Mapping[str, str]) -> str:
    """The repository of a named size, else the name itself. A local folder of the same name takes precedence."""
    return name if Path(name).is_dir() else published.get(name, name)
