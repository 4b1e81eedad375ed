"""SIGTERM and Ctrl-C: finish the step, save a checkpoint, exit with code 143 or 130.

A second signal stops the process immediately. With several processes, all of them stop after the same step, even if
only one received the signal. They agree on that step through the key-value store of the process group: one lookup a
step, and no work on the device.
"""

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import torch.distributed as dist
from accelerate.utils import gather_object
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from ..checkpoints.listing import PREFIX

PRUNED = "pruned"


logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def start_worker(start: Callable[[int], None] | None, number: int) -> None:
    """Initialises a data-loading worker so that the training process handles signals to the process group.

    The worker ignores SIGINT, and the first SIGTERM unless a SIGINT came before. The next SIGTERM ends it: it is the
    parent's, which would otherwise wait for the worker at its own end. All handlers are functions: Python drops a
    signal that is pending when its handler becomes SIG_IGN or SIG_DFL.
    """

    def ignore(number: int, frame: object) -> None:
        pass

    def end(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def ignore_once(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, ignore)
        signal.signal(signal.SIGTERM, end)

    signal.signal(signal.SIGINT, ignore_once)
    signal.signal(signal.SIGTERM, ignore_once)
    if start is not None:
        start(number)


class StoppedBySignal(SystemExit):
    """A run was stopped by a signal and has saved its state. The exit code is 128 plus the signal number."""

    def __init__(self, number: int):
        super().__init__(128 + number)
        self.number = number

    @property
    def name(self) -> str:
        """The signal's name."""
        return signal.Signals(self.number).name


class StopAtSignal(TrainerCallback):
    """Saves a checkpoint and stops after the step in which a signal arrived, inside the context [`listening`].

    Logging, evaluation and saving that are due at that step are done first. Otherwise only the checkpoint is written
    and nothing is logged, so that the log of a resumed run equals that of an uninterrupted one.
    """

    def __init__(self):
        self._received: int | None = None
        self._stopping: int | None = None
        self.is_extra = False  # whether the last save was made only because of the signal
        self._runs = 0
        self._restore: Callable[[], None] = lambda: None

    @property
    def is_stopping(self) -> bool:
        """Whether the run ends after the next save."""
        return self._stopping is not None

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Records the first signal; a second one has its default effect."""
        self._received = self._stopping = None
        self.is_extra = False
        self._runs += 1
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may handle signals
            return
        before = {number: signal.getsignal(number) for number in SIGNALS}

        def restore() -> None:
            for number, handler in before.items():
                if handler is not None:  # a handler that was not installed from Python cannot be restored
                    signal.signal(number, handler)

        def note(number: int, frame: object) -> None:
            restore()
            self._received = number
            logger.warning(
                f"{signal.Signals(number).name}: finishing this step, then saving; a second signal stops at once"
            )

        for number in SIGNALS:
            signal.signal(number, note)
        self._restore = restore
        try:
            yield
        finally:
            restore()

    def came_at_end(self) -> bool:
        """Whether any rank received a signal after the last step; restores the default handlers."""
        self._restore()
        several = dist.is_initialized() and dist.get_world_size() > 1
        numbers = gather_object([self._received]) if several else [self._received]
        self._stopping = next((number for number in numbers if number is not None), None)
        return self._stopping is not None

    def _agreed(self, step: int) -> int | None:
        """The signal to stop for after this step, the same answer on every rank.

        A rank publishes the number of the next step. No other rank can have finished that step, because its gradients
        need this rank.
        """
        if not dist.is_initialized() or dist.get_world_size() == 1:
            return self._received
        store = dist.distributed_c10d._get_default_store()
        key = f"kronos-ft/stop/{self._runs}"
        if self._received is not None and not store.check([key]):
            store.compare_set(key, "", f"{step + 1} {self._received}")
        if not store.check([key]):
            return None
        last, number = store.get(key).decode().split()
        return int(number) if step >= int(last) else None

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        number = self._agreed(state.global_step)
        if number is None:
            return
        self._stopping = number
        at_epoch_end = control.should_training_stop or abs(state.epoch - round(state.epoch)) < 1e-9
        by_epoch = IntervalStrategy.EPOCH in (args.eval_strategy, args.logging_strategy) or (
            args.save_strategy == SaveStrategy.EPOCH
        )
        # otherwise the logging, evaluation and saving at the end of the epoch would be lost
        if not (at_epoch_end and by_epoch):
            self._ask_to_save(control)

    def _ask_to_save(self, control: TrainerControl) -> None:
        self.is_extra = not control.should_save
        control.should_save = True

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if self._stopping is not None:
            self._ask_to_save(control)

    def decide_on_save(self, is_best: bool) -> bool:
        """Whether to save after an evaluation in a run that saves only its best checkpoint."""
        if self._stopping is None:
            return is_best
        self.is_extra = not is_best
        return True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        if self._stopping is None:
            return
        stopped = StoppedBySignal(self._stopping)
        if state.is_world_process_zero:
            step = f"step {state.global_step} of {state.max_steps}"
            is_saved = (Path(args.output_dir) / f"{PREFIX}{state.global_step}").is_dir()
            logger.warning(
                f"stopped by {stopped.name}: {step} is {'' if is_saved else 'NOT '}saved in {args.output_dir}; "
                f"continue with --resume{'' if is_saved else 'from the previous checkpoint'}"
            )
        raise stopped


class RunPruned(Exception):
    """Raised in a callback to prune a run that is worse than the other trials of its search."""
