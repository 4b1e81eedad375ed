"""How fast a run is made: which precision its matrix products have, and whether its blocks are compiled.

Notable:
- What is chosen depends on the device and on settings alone, or is kept with the checkpoint, so that a run that is
  resumed ends with the same bits.
- Compiling takes from seconds (programs found in the cache) to minutes. It is done where the steps to come save more
  than that, before the first step, and told while it lasts.
- `speed exact` is the plain path that parity tests use: fp32 products, PyTorch's own random draws, nothing compiled.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging

from ft_core.files import write_json
from ft_core.loss_meter import LossMeter
from ft_core.progress import span
from ft_core.run_folder import RUN_FILE
from ft_core.run_record import read_record

from ..data.candle_table import own_cache
from ..models.fast_layers import compile_blocks, forget_compiled
from ..models.layers import TransformerBlock

if TYPE_CHECKING:
    from .window_trainer import WindowTrainer

logger = logging.get_logger(__name__)

SPEED_VARIABLE = "KRONOS_FT_SPEED"
SPEEDS = ("auto", "exact")
PRODUCTS = ("auto", "fp32", "bf16")
COMPILE = ("auto", "yes", "no")
DTYPES = {"fp32": None, "bf16": torch.bfloat16}
TIMES_FILE = "compile_seconds.json"
UNKNOWN_SECONDS = 90.0  # of compiling, where it has not been measured on this machine
LEAST_STEPS = 50  # below, not even a timed step pays
MARGIN = 1.3
# share of a step that compiled blocks save, as measured (docs/performance.md); a predictor's dropout leaves none
GAINS = {"tokenizer": {"fp32": 0.13, "bf16": 0.35}, "predictor": {"fp32": 0.0, "bf16": 0.0}}


def has_native_bf16(device_type: str) -> bool:
    """Whether a device computes products in bf16 by itself; emulated ones are up to 25 times slower than fp32."""
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device_type != "cpu":
        return False
    return any(getattr(torch.cpu, f"_is_{name}_supported", bool)() for name in ("avx512_bf16", "amx_tile"))


def choose_products(wanted: str, speed: str, mixed_precision: bool, device_type: str) -> str:
    """`auto` becomes bf16 where it is native and nothing else makes products in half precision, else fp32.

    Raises:
        ValueError: an unknown word, or bf16 products beside another precision or with `speed exact`.
    """
    if speed not in SPEEDS:
        raise ValueError(f"speed={speed!r} is not known; use one of {', '.join(SPEEDS)}")
    if wanted not in PRODUCTS:
        raise ValueError(f"products={wanted!r} is not known; use one of {', '.join(PRODUCTS)}")
    if wanted == "bf16" and (speed == "exact" or mixed_precision):
        other = "speed exact" if speed == "exact" else "mixed precision"
        raise ValueError(f"products=bf16 and {other} exclude each other; choose one")
    if wanted != "auto":
        return wanted
    return "bf16" if speed == "auto" and not mixed_precision and has_native_bf16(device_type) else "fp32"


def choose_compile(wanted: object, speed: str) -> str:
    """One of auto, yes and no; raises ValueError for another word, or for yes with `speed exact`."""
    word = {"true": "yes", "false": "no"}.get(str(wanted).lower(), str(wanted).lower())
    if word not in COMPILE:
        raise ValueError(f"compile_blocks={wanted!r} is not known; use one of {', '.join(COMPILE)}")
    if word == "yes" and speed == "exact":
        raise ValueError("compile_blocks=yes and speed exact exclude each other; choose one")
    return "no" if speed == "exact" else word


def pays(steps: int, step_seconds: float, gain: float, compile_seconds: float) -> bool:
    """Whether compiling saves clearly more than it takes."""
    return steps * step_seconds * gain > MARGIN * compile_seconds


class CompileTimes:
    """What compiling took on this machine, kept in the cache folder for the next run.

    Args:
        key: model, shapes, precision and versions.
    """

    def __init__(self, key: str, folder: Path | None = None):
        self.key = key
        self.path = (folder or own_cache()) / TIMES_FILE

    def _read(self) -> dict[str, float]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            return {str(key): float(value) for key, value in found.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def expected(self) -> float:
        """Seconds that compiling will take: as the last time, or as the slowest of other models."""
        found = self._read()
        return found.get(self.key, max(found.values(), default=UNKNOWN_SECONDS))

    def note(self, seconds: float) -> None:
        """Keeps what it took; a cache that cannot be written is no fault."""
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, {**self._read(), self.key: round(seconds, 1)})


@contextlib.contextmanager
def _without_trace(trainer: "WindowTrainer") -> Iterator[None]:
    """Random states, loss sums and gradients are afterwards as they were."""
    device = trainer.args.device
    meter, trainer.meter = trainer.meter, LossMeter()
    devices = [device.index or 0] if device.type == "cuda" else []
    was_training = trainer.model.training
    try:
        with torch.random.fork_rng(devices=devices):
            trainer.model.train()
            yield
    finally:
        trainer.model.train(was_training)
        trainer.meter = meter


def timed_step(trainer: "WindowTrainer") -> float:
    """Seconds of one forward and backward pass of the bare model over a micro-batch; nothing is changed by it."""
    with _without_trace(trainer):
        size = min(trainer.args.per_device_train_batch_size, len(trainer.train_dataset))
        batch = trainer._prepare_inputs(trainer.train_dataset.__getitems__(range(size)))
        weights = [parameter for parameter in trainer.model.parameters() if parameter.requires_grad]
        started = time.perf_counter()
        with trainer.accelerator.autocast():
            loss = trainer.compute_loss(trainer.model, batch)
        # gradients by name: those of parameters would wake the hooks of distributed training
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
        next(g for g in gradients if g is not None).sum().item()
        return time.perf_counter() - started


class CompileBlocks(TrainerCallback):
    """Compiles the blocks of a trainer's model before its first step, where that pays or is asked for.

    To be the first of all callbacks: the run's record says what was decided, and progress begins after it.
    """

    def __init__(self, trainer: "WindowTrainer"):
        self._trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        trainer = self._trainer
        forget_compiled(trainer.model)
        trainer.compiled = False
        if args.compile_blocks != "no":
            times = CompileTimes(trainer.compile_key())
            wanted = self._wanted(args, state, times)
            if args.world_size > 1:  # each process has timed it by itself
                wanted = broadcast_object_list([wanted])[0]
            started = time.perf_counter()
            trainer.compiled = wanted and self._compile(times, state.is_world_process_zero)
            if wanted:
                trainer.recorder.facts["compile_seconds"] = round(time.perf_counter() - started, 1)
        trainer.recorder.facts["compiled"] = trainer.compiled

    def _wanted(self, args: TrainingArguments, state: TrainerState, times: CompileTimes) -> bool:
        trainer = self._trainer
        if args.compile_blocks == "yes":
            return True
        before = trainer.compiled_before
        if before is None and args.resume and (Path(args.output_dir) / RUN_FILE).is_file():
            before = read_record(Path(args.output_dir)).get("compiled")  # killed before its first checkpoint
        if before is not None:  # or a resumed run would end with other bits
            return before
        steps = state.max_steps - state.global_step
        gain = GAINS[trainer.stage].get(args.products, 0.0) if args.device.type == "cpu" else 0.0
        if steps < LEAST_STEPS or gain == 0:
            return False
        step = timed_step(trainer) * args.gradient_accumulation_steps
        return pays(steps, step, gain, times.expected())

    def _compile(self, times: CompileTimes, tells: bool) -> bool:
        """Compiles; False where it cannot be done here."""
        trainer = self._trainer
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(own_cache() / "inductor"))
        if tells:
            sys.stderr.write(f"compiling the model's blocks: about {span(times.expected())} ...\n")
            sys.stderr.flush()
        started = time.perf_counter()
        compile_blocks(trainer.model, TransformerBlock, partial(torch.compile, dynamic=False))
        try:
            timed_step(trainer)
        except Exception as error:  # whatever compilers say
            forget_compiled(trainer.model)
            if "out of memory" in str(error).lower():
                raise
            first = str(error).strip().partition("\n")[0][:160]
            logger.warning(f"the model's blocks are not compiled ({first}); going on without, a little slower")
            return False
        seconds = time.perf_counter() - started
        times.note(seconds)
        if tells:
            sys.stderr.write(f"compiled in {span(seconds)}; kept for the next run\n")
            sys.stderr.flush()
        return True
