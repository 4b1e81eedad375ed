"""Precision of matrix products: from settings and device to one of `exact`, `fp32`, `bf16`.

`exact` is plain fp32 with PyTorch's random numbers, `fp32` uses faster random numbers on a CPU, `bf16` computes matrix
products in bf16. A resumed run keeps its numerics.
"""

import logging
from typing import TYPE_CHECKING

import torch
from accelerate.utils import gather_object
from torch import nn
from transformers import TrainingArguments

from ..models.fast_layers import speed_up

if TYPE_CHECKING:
    pass


logger = logging.getLogger(__name__)


SPEED_VARIABLE = "KRONOS_FT_SPEED"


SPEEDS = ("auto", "exact")


PRODUCTS = ("auto", "fp32", "bf16")


COMPILE = ("auto", "yes", "no")


def has_native_bf16(device_type: str) -> bool:
    """Whether a device has native bf16 products; emulated ones are up to 25 times slower than fp32."""
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device_type != "cpu":
        return False
    return any(getattr(torch.cpu, f"_is_{name}_supported", bool)() for name in ("avx512_bf16", "amx_tile"))


def choose_numerics(products: str, speed: str, mixed_precision: bool, device_type: str) -> str:
    """Returns exact, fp32 or bf16; `auto` is bf16 if it is native and no mixed precision is set.

    Raises:
        ValueError: an unknown value, or bf16 products together with mixed precision or with `speed exact`.
    """
    if speed not in SPEEDS:
        raise ValueError(f"speed={speed!r} is not known; use one of {', '.join(SPEEDS)}")
    if products not in PRODUCTS:
        raise ValueError(f"products={products!r} is not known; use one of {', '.join(PRODUCTS)}")
    if products == "bf16" and (speed == "exact" or mixed_precision):
        other = "speed exact" if speed == "exact" else "mixed precision"
        raise ValueError(f"products=bf16 and {other} exclude each other; choose one")
    if speed == "exact":
        return "exact"
    native = has_native_bf16(device_type)
    if products == "bf16" and not native:
        logger.warning(f"products=bf16: this {device_type} emulates bf16, up to 25 times slower; use fp32 or auto")
    return "bf16" if products == "bf16" or (products == "auto" and native and not mixed_precision) else "fp32"


def set_numerics(model: nn.Module, numerics: str) -> None:
    """Sets the numerics of a model: exact, fp32 or bf16."""
    speed_up(model, torch.bfloat16 if numerics == "bf16" else None, cheap=numerics != "exact")


def check_same_numerics(args: TrainingArguments) -> None:
    """Raises ValueError on every rank if the processes of a run would compute in different precisions."""
    found = gather_object([args.numerics]) if args.world_size > 1 else [args.numerics]
    if len(set(found)) > 1:
        raise ValueError(
            f"the processes of this run would use different numerics ({', '.join(found)}), because their machines "
            "differ; pass --products fp32, or --exact"
        )


def choose_compile(wanted: object, speed: str) -> str:
    """Returns auto, yes or no; raises ValueError for another value, or for yes with `speed exact`."""
    word = {"true": "yes", "false": "no"}.get(str(wanted).lower(), str(wanted).lower())
    if word not in COMPILE:
        raise ValueError(f"compile_blocks={wanted!r} is not known; use one of {', '.join(COMPILE)}")
    if word == "yes" and speed == "exact":
        raise ValueError("compile_blocks=yes and speed exact exclude each other; choose one")
    return "no" if speed == "exact" else word


def may_compile(args: TrainingArguments) -> bool:
    """Whether the settings allow compiled blocks."""
    return choose_compile(args.compile_blocks, args.speed) != "no" and args.numerics != "exact"


def adopt_recorded(args: TrainingArguments, recorded: dict) -> None:
    """Keeps the numerics of a resumed run, unless others are set explicitly.

    Args:
        args: settings of the resuming run; `numerics` is changed in place.
        recorded (`dict`): settings in the run record; without `numerics` (earlier versions) the run was exact.
    """
    before = recorded.get("numerics") or "exact"
    if before == args.numerics or args.speed != "auto" or args.products != "auto":
        return
    slow = before == "bf16" and not has_native_bf16(args.device.type)
    logger.warning(
        f"continuing with {before} numerics, as at the start of the run; this device would use {args.numerics}"
        + (" and emulates bf16, which is much slower: pass --products fp32 --resume_force to avoid it" if slow else "")
    )
    args.numerics = before
