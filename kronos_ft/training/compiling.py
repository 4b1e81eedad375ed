"""Whether and when the blocks of a model are compiled.

Compiling takes seconds (programs found in the cache) to minutes. It happens before the first step, where the remaining
steps save more than it costs. The decision depends on measured times, so two runs may decide differently and then
differ in the last bits. A resumed run keeps its decision; `compile_blocks` sets it explicitly.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ft_core.io.cache_folder import own_cache
from ft_core.io.console import note
from ft_core.io.files import write_json
from ft_core.io.formats import read_json
from ft_core.io.progress_lines import span
from ft_core.runs.record_schema import find_record
from ft_core.training.loss_meter import LossMeter

from ..models.fast_layers import compile_blocks, forget_compiled
from ..models.layers import TransformerBlock
from .numerics import choose_compile, logger, may_compile

TIMES_FILE = "compile_seconds.json"
UNKNOWN_SECONDS, UNKNOWN_WARM_SECONDS = 90.0, 15.0  # assumed compile time, until one is measured on this machine
LEAST_STEPS = 50  # for shorter runs even the timing of a step costs more than it saves
MARGIN = 1.3
# share of a step that compiled blocks save (docs/performance.md); none for a predictor, because of its dropout
GAINS = {"tokenizer": {"fp32": 0.18, "bf16": 0.35}, "predictor": {}, "quantiles": {}}


class CompilableTrainer(Protocol):
    """What this file needs of a [`~kronos_ft.training.window_trainer.WindowTrainer`], in addition to a Trainer."""

    stage: str
    compiled: bool
    compiled_before: bool | None
    meter: LossMeter
    recorder: Any
    args: Any
    model: Any
    accelerator: Any
    train_dataset: Any

    def compile_key(self) -> str: ...

    def planned_steps(self) -> int: ...

    def compute_loss(self, model: torch.nn.Module, inputs: dict[str, Tensor]) -> Tensor: ...


def pays(steps: int, step_seconds: float, gain: float, compile_seconds: float) -> bool:
    """Whether compiling saves clearly more time than it costs."""
    return steps * step_seconds * gain > MARGIN * compile_seconds


class CompileTimes:
    """Compile times on this machine, cached for the next run.

    Args:
        key: model, shapes, precision and versions.
    """

    def __init__(self, key: str, folder: Path | None = None):
        self.key = key
        self.folder = folder or own_cache()
        self.path = self.folder / TIMES_FILE

    @property
    def programs(self) -> Path:
        """Where the compiler keeps its programs."""
        return self.folder / "inductor"

    def _read(self) -> dict[str, dict[str, float]]:
        try:
            return read_json(self.path, "remove it", dict[str, dict[str, float]])
        except ValueError:
            return {}

    def expected(self) -> float:
        """Expected compile time in seconds: with cached programs, or the longest measured without them."""
        found = self._read()
        warm = found.get(self.key, {}).get("warm")
        if self.key in found and self.programs.is_dir() and any(self.programs.iterdir()):
            return warm if warm is not None else UNKNOWN_WARM_SECONDS
        return max((times["cold"] for times in found.values() if "cold" in times), default=UNKNOWN_SECONDS)

    def note(self, seconds: float, cold: bool) -> None:
        """Stores the compile time; a cache that cannot be written is not an error."""
        found = self._read()
        found.setdefault(self.key, {})["cold" if cold else "warm"] = round(seconds, 1)
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, found)


@contextlib.contextmanager
def _without_trace(trainer: "CompilableTrainer") -> Iterator[None]:
    """Restores random states, loss sums and gradients."""
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


def timed_step(trainer: "CompilableTrainer", passes: int = 2) -> float:
    """Seconds of the last of a few forward and backward passes of the unwrapped model, which is not changed."""
    seconds = 0.0
    with _without_trace(trainer):
        size = min(trainer.args.per_device_train_batch_size, len(trainer.train_dataset))
        batch = trainer._prepare_inputs(trainer.train_dataset.__getitems__(range(size)))
        weights = [parameter for parameter in trainer.model.parameters() if parameter.requires_grad]
        for _ in range(passes):
            started = time.perf_counter()
            with trainer.accelerator.autocast():
                loss = trainer.compute_loss(trainer.model, batch)
            # not loss.backward(): that would trigger the hooks of distributed training
            gradients = torch.autograd.grad(loss, weights, allow_unused=True)
            next(g for g in gradients if g is not None).sum().item()
            seconds = time.perf_counter() - started
    return seconds


def programs_made() -> tuple[int, int]:
    """Number of programs that this process has compiled, and how many of them were not in the cache."""
    from torch._dynamo.utils import counters  # takes a second to import

    return counters["stats"]["unique_graphs"], counters["inductor"]["fxgraph_cache_miss"]


def is_compiler_fault(error: BaseException) -> bool:
    """Whether an error comes from the compiler and not from the model or its memory."""
    if "out of memory" in str(error).lower():
        return False
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))


def planned_compile(trainer: "CompilableTrainer", steps: int, micro_seconds: float) -> tuple[float, str]:
    """Seconds that a run of so many steps would spend on compiling (0 if it would not compile), and the reason.

    Args:
        trainer: of the run.
        steps (`int`): of the run.
        micro_seconds (`float`): seconds of a micro-batch.
    """
    if not may_compile(trainer.args):
        return 0.0, f"compile_blocks {choose_compile(trainer.args.compile_blocks, trainer.args.speed)}"
    times = CompileTimes(trainer.compile_key())
    wanted, why = CompileBlocks(trainer).decide(trainer.args, steps, times, micro_seconds)
    return times.expected() if wanted else 0.0, why


class CompileBlocks(TrainerCallback):
    """Compiles the blocks of the model before the first step, if it saves time or is requested.

    It must be the first callback: the run record contains the decision, and progress starts after it.
    """

    def __init__(self, trainer: "CompilableTrainer"):
        self._trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        trainer = self._trainer
        forget_compiled(trainer.model)
        trainer.compiled = False
        why = f"compile_blocks {args.compile_blocks}"
        if may_compile(args):
            times = CompileTimes(trainer.compile_key())
            wanted, why = self.decide(args, state.max_steps - state.global_step, times)
            if args.world_size > 1:  # each process has measured its own time
                wanted, why = broadcast_object_list([wanted, why])
            if wanted:
                started = time.perf_counter()
                trainer.compiled = self._compile(times, state.is_world_process_zero)
                trainer.recorder.facts["compile_seconds"] = round(time.perf_counter() - started, 1)
        trainer.recorder.facts["compiled"] = trainer.compiled
        if state.is_world_process_zero and args.speed != "exact":
            blocks = "compiled" if trainer.compiled else "not compiled"
            note(f"speed: {args.numerics} numerics on {args.device.type}, blocks {blocks} ({why})")

    def decide(
        self, args: TrainingArguments, steps: int, times: CompileTimes, micro_seconds: float | None = None
    ) -> tuple[bool, str]:
        """Whether to compile for the given number of remaining steps, and the reason."""
        trainer = self._trainer
        word = choose_compile(args.compile_blocks, args.speed)
        if word == "yes":
            return True, "as asked"
        before = trainer.compiled_before
        if before is None and args.resume:
            before = find_record(Path(args.output_dir)).get("compiled")  # killed before its first checkpoint
        if before is not None:  # otherwise a resumed run would differ in the last bits
            return before, "as before"
        gain = GAINS[trainer.stage].get(args.numerics, 0.0) if args.device.type == "cpu" else 0.0
        if gain == 0:
            return False, f"no known gain for the stage {trainer.stage} on {args.device.type}"
        if steps < LEAST_STEPS:
            return False, f"fewer than {LEAST_STEPS} steps"
        step = (micro_seconds or timed_step(trainer)) * args.gradient_accumulation_steps
        expected = times.expected()
        why = f"{steps} steps of {step:.2g} s save {span(steps * step * gain)}, compiling costs {span(expected)}"
        return pays(steps, step, gain, expected), why

    def _compile(self, times: CompileTimes, is_main: bool) -> bool:
        """Compiles the blocks; returns False if that fails on any rank."""
        trainer = self._trainer
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(times.programs))
        if is_main:
            note(f"compiling the model's blocks: about {span(times.expected())} ...")
        started, (made, missed) = time.perf_counter(), programs_made()
        fault = None
        try:
            torch._dynamo.reset()  # the compiler's own limit is eight shapes a function
            program = torch.compile(TransformerBlock.compute, dynamic=False)
            compile_blocks(trainer.model, TransformerBlock, self._guarded(program))
            timed_step(trainer, passes=1)
        except Exception as error:  # compilers raise any type
            if "out of memory" in str(error).lower():
                raise
            fault = str(error).strip().partition("\n")[0][:160] or type(error).__name__
        now_made, now_missed = programs_made()
        if fault is None and now_made == made:
            fault = "nothing was compiled"
        faults = gather_object([fault]) if trainer.args.world_size > 1 else [fault]
        if any(faults):
            self._give_up(next(filter(None, faults)))
            return False
        seconds = time.perf_counter() - started
        if is_main:
            times.note(seconds, cold=now_missed > missed)
            note(f"compiled in {span(seconds)}; cached for the next run")
        return True

    def _guarded(self, program: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Wraps a compiled program; falls back to eager execution once compiling for a new shape fails."""

        def run(block: TransformerBlock, *inputs: object) -> Tensor:
            try:
                return program(block, *inputs)
            except Exception as error:
                if not is_compiler_fault(error):
                    raise
                if self._trainer.compiled:  # during training; before it, `_compile` logs the failure
                    self._give_up(str(error).strip().partition("\n")[0][:160])
                    self._trainer.compiled = False
                    return block.compute(*inputs)
                raise

        return run

    def _give_up(self, reason: str) -> None:
        forget_compiled(self._trainer.model)
        bits = "; the run was compiled before, so results differ in the last bits" * bool(
            self._trainer.compiled_before or self._trainer.compiled
        )
        logger.warning(f"the blocks are not compiled ({reason}); training continues a little slower{bits}")
