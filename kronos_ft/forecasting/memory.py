"""Estimates the memory that a forecast needs, before it starts."""

import psutil
import torch

from ..models.modeling_kronos import Kronos, KronosTokenizer

GIB = 2**30
BYTES = 4
USABLE = 0.8  # share of the free memory to use; the rest is a reserve for other processes


def forecast_bytes(
    model: Kronos, tokenizer: KronosTokenizer, num_paths: int, horizon: int, context: int, recomputes: bool = False
) -> int:
    """Bytes for the paths of one series: caches of both networks, attention scores, logits, candles.

    With `recomputes` (the window overflows), the predictor also processes many bars of each path at once.
    """
    caches = 2 * (model.config.n_layers + 1) * model.config.d_model
    decoder = 2 * len(tokenizer.decoder) * tokenizer.config.d_model + 4 * tokenizer.config.ff_dim
    scores = 2 * tokenizer.config.n_heads * (context + horizon)  # the decoder sees all bars of a path at once
    logits = 8 * 2 ** max(model.config.s1_bits, model.config.s2_bits)
    per_path = horizon * (caches + decoder + scores + 8 * tokenizer.config.d_in) + logits
    if recomputes:
        per_path += horizon * (3 * model.config.n_heads * (context + horizon) + 4 * model.config.ff_dim)
    shared = context * (caches + decoder + 4 * model.config.ff_dim)
    return BYTES * (num_paths * per_path + shared)


def free_bytes(device: torch.device) -> int:
    """Free memory of a CUDA device, otherwise of the machine."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


def fitting_paths(
    model: Kronos,
    tokenizer: KronosTokenizer,
    device: torch.device,
    horizon: int,
    context: int,
    recomputes: bool = False,
) -> int:
    """Number of paths of one series that fit into free memory."""
    shared = forecast_bytes(model, tokenizer, 0, horizon, context, recomputes)
    per_path = forecast_bytes(model, tokenizer, 1, horizon, context, recomputes) - shared
    return max(int((USABLE * free_bytes(device) - shared) / per_path), 0)


def check_memory(
    model: Kronos,
    tokenizer: KronosTokenizer,
    device: torch.device,
    num_paths: int,
    horizon: int,
    context: int,
    recomputes: bool = False,
) -> int:
    """Returns how many paths fit into free memory at once.

    Raises:
        ValueError: the paths of one series do not fit.
    """
    fitting = fitting_paths(model, tokenizer, device, horizon, context, recomputes)
    if num_paths <= fitting:
        return fitting
    needed = forecast_bytes(model, tokenizer, num_paths, horizon, context, recomputes)
    raise ValueError(
        f"num_paths={num_paths} over {horizon} bars need about {needed / GIB:.1f} GiB, but only "
        f"{USABLE * free_bytes(device) / GIB:.1f} GiB are available; "
        + (f"use at most {fitting} paths" if fitting else "not even one path fits: shorten the horizon")
    )
