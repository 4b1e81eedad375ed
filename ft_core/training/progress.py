"""Training progress with remaining time: a bar on a terminal, bar and table in a notebook, else occasional lines."""

import sys
import time
from typing import TYPE_CHECKING

from tqdm.auto import tqdm
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..checkpoints.retention import metric_history
from ..io.console import note, shows_notes
from ..io.notebook import in_notebook, notebook_table
from ..io.progress_lines import LINE_SECONDS, span

if TYPE_CHECKING:
    from transformers.utils.notebook import NotebookTrainingTracker


class Progress(TrainerCallback):
    """Shows step, speed, remaining time and selected terms; one line for each evaluation.

    Args:
        terms: names of logged terms to show beside the step.
        evaluation_terms: names of evaluation terms to show, without their prefix.
    """

    def __init__(self, terms: tuple[str, ...], evaluation_terms: tuple[str, ...]):
        self.terms = terms
        self.evaluation_terms = evaluation_terms
        self._bar: tqdm | None = None
        self._table: NotebookTrainingTracker | None = None
        self._shown: dict[str, float] = {}
        self._started = self._last_line = 0.0
        self._first_step = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self._started = self._last_line = time.monotonic()
        self._first_step = state.global_step
        if not (state.is_local_process_zero and shows_notes()):
            return
        if in_notebook():
            self._table = notebook_table(state.max_steps)
        elif sys.stderr.isatty():
            self._bar = tqdm(total=state.max_steps, initial=state.global_step, unit="step", dynamic_ncols=True)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if self._table is not None:
            self._table.update(state.global_step, comment=self._terms_text())
        elif self._bar is not None:
            self._bar.update(1)
        elif state.is_world_process_zero and time.monotonic() - self._last_line >= LINE_SECONDS:
            self._last_line = time.monotonic()
            per_step = (self._last_line - self._started) / max(state.global_step - self._first_step, 1)
            left = span(per_step * (state.max_steps - state.global_step))
            terms = f", {self._terms_text()}" if self._shown else ""
            share = state.global_step / max(state.max_steps, 1)
            self._write(f"step {state.global_step}/{state.max_steps} ({share:.0%}), {left} left{terms}")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        self._shown.update({name: logs[name] for name in self.terms if name in (logs or {})})
        if self._bar is not None:
            self._bar.set_postfix({name: f"{value:.4g}" for name, value in self._shown.items()}, refresh=False)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        if not state.is_world_process_zero or not metrics:
            return
        found = {name: f"{metrics[f'eval_{name}']:.4g}" for name in self.evaluation_terms if f"eval_{name}" in metrics}
        if self._table is not None and found:
            self._table.write_line({"step": state.global_step, **dict.fromkeys(self.evaluation_terms, "-"), **found})
            self._table.update(state.global_step, force_update=True)
            return
        terms = ", ".join(f"{name} {value}" for name, value in found.items())
        history = [value for _, value in metric_history(state, args.metric_for_best_model or "")]
        choose = max if args.greater_is_better else min
        best = " (best so far)" if len(history) > 1 and history[-1] == choose(history) else ""
        if terms:
            self._write(f"validation at step {state.global_step}: {terms}{best}")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        if self._table is not None:
            self._table.update(state.global_step, force_update=True, comment=self._terms_text())
            self._table = None

    def _terms_text(self) -> str:
        return ", ".join(f"{name} {value:.4g}" for name, value in self._shown.items())

    def _write(self, line: str) -> None:
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            note(line)


def describe_trainer(trainer: Trainer) -> str:
    """A trainer in three lines: its model, its samples and steps, and its folder."""
    model, args, state = trainer.model, trainer.args, trainer.state
    parameters = sum(one.numel() for one in model.parameters())
    samples = [
        f"{len(one):,}" if hasattr(one, "__len__") else "no" for one in (trainer.train_dataset, trainer.eval_dataset)
    ]
    return (
        f"{type(trainer).__name__} of {type(model).__name__}: {parameters:,} parameters on {args.device}\n"
        f"{samples[0]} training and {samples[1]} validation samples; step {state.global_step} of "
        f"{max(state.max_steps, args.max_steps)}\noutput_dir {args.output_dir}"
    )
