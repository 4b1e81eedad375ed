"""The identity of a model: a hash of its configuration and weights."""

import hashlib
import json

from transformers import PreTrainedModel


def weights_hash(model: PreTrainedModel) -> str:
    """SHA-256 of a Kronos model's configuration and fp32 weights; does not depend on its folder."""
    config = {}
    for key in model.config.published_keys():
        value = getattr(model.config, key)
        config[key] = [float(one) for one in value] if isinstance(value, list | tuple) else float(value)
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        value = value.float() if value.is_floating_point() else value
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def predictor_hashes(predictor: object) -> list[str]:
    """[`weights_hash`] of all networks that make a forecast: model, tokenizer, and those of a head's sampled paths."""
    sampler = getattr(predictor, "sampler", None)
    networks = [predictor.model, predictor.tokenizer, *([sampler.model, sampler.tokenizer] if sampler else [])]
    return [weights_hash(one) for one in networks if one is not None]


def tokenizer_facts(tokenizer: PreTrainedModel) -> dict[str, str | None]:
    """Name and hash of a tokenizer, as a predictor's folder records them.

    The name is None if the weights are not those that were loaded by this name.
    """
    digest = weights_hash(tokenizer)
    return {
        "tokenizer": tokenizer.name_or_path if tokenizer.loaded_hash == digest else None,
        "tokenizer_sha256": digest,
    }
