"""SIGTERM and Ctrl-C: the step is finished, a checkpoint saved, and the process ends with 143 or 130.

A second signal stops at once, as without this library. With several processes all of them stop after the same step,
even when only one was signalled: the number of that step is agreed on through the process group's store, which costs
one look a step and no work on the device.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator

import torch.distributed as dist
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import IntervalStrategy, SaveStrategy
from transformers.utils import logging

logger = logging.get_logger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StoppedBySignal(SystemExit):
    """A run that was asked to stop, and has saved what it had done. Its code is 128 plus the signal's number."""

    def __init__(self, number: int):
        super().__init__(128 + number)
        self.number = number

    @property
    def name(self) -> str:
        """The signal's name."""
        return signal.Signals(self.number).name


class StopAtSignal(TrainerCallback):
    """Saves and stops after the step in which a signal came; [`listening`] must be open.

    What the run would log, evaluate and save at that step anyway comes first. Otherwise the checkpoint alone is written
    and nothing is logged, so that a resumed run logs what an uninterrupted one would have.
    """

    def __init__(self):
        self._received: int | None = None
        self._stopping: int | None = None
        self.is_extra = False  # whether the last save is one that the run would not have made
        self._runs = 0

    @property
    def is_stopping(self) -> bool:
        """Whether the next save is the last act of the run."""
        return self._stopping is not None

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Notes signals instead of dying of them; the second one has its usual effect."""
        self._received = self._stopping = None
        self.is_extra = False
        self._runs += 1
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may handle signals
            return
        before = {number: signal.getsignal(number) for number in SIGNALS}

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        def note(number: int, frame: object) -> None:
            restore()
            self._received = number
            logger.warning(
                f"{signal.Signals(number).name}: finishing this step, then saving; a second one stops at once"
            )

        for number in SIGNALS:
            signal.signal(number, note)
        try:
            yield
        finally:
            restore()

    def _agreed(self, step: int) -> int | None:
        """The signal to stop for after this step, the same answer on every rank.

        A rank publishes the step after the one at which it noticed: no other rank can have finished that one yet,
        because its gradients need this rank.
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
        at_epoch_end = abs(state.epoch - round(state.epoch)) < 1e-9
        by_epoch = IntervalStrategy.EPOCH in (args.eval_strategy, args.logging_strategy) or (
            args.save_strategy == SaveStrategy.EPOCH
        )
        if not (at_epoch_end and by_epoch):  # or what belongs to the epoch's end would never be done
            self._ask_to_save(control)

    def _ask_to_save(self, control: TrainerControl) -> None:
        self.is_extra = not control.should_save
        control.should_save = True

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if self._stopping is not None:
            self._ask_to_save(control)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        if self._stopping is None:
            return
        stopped = StoppedBySignal(self._stopping)
        if state.is_world_process_zero:
            logger.warning(
                f"stopped by {stopped.name}: step {state.global_step} of {state.max_steps} is saved in "
                f"{args.output_dir}; go on with --resume"
            )
        raise stopped
