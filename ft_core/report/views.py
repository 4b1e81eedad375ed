"""What a report has to know about a kind of run: its main quantity, its terms, its settings and its own rules."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..training.curves import Panel
from .catalogue import COMMON
from .reading import History, Record


@dataclass(frozen=True)
class StageView:
    """One kind of run, such as training of the tokenizer."""

    stage: str  # as recorded in `run.json`; empty for any Trainer
    primary: str  # the quantity that a run is judged by, logged in training and, with `eval_`, in evaluation
    terms: Sequence[str]  # of the table of losses, the primary first
    panels: Sequence[Panel]  # its charts
    package: str = COMMON  # the report package whose catalogue has the texts of this kind
    signature: str = ""  # a logged term that only this kind has, by which a folder without a record is recognised
    in_nats: bool = True  # the primary is a cross-entropy, compared by differences; else an error, compared by ratios
    signed: Sequence[str] = ()  # terms that contain a reward, which may be negative
    speed: str = ""  # the logged term of throughput
    usual_rates: tuple[float, float] = (1e-6, 1e-3)  # the usual learning rates for fine-tuning published weights
    untrained_rates: tuple[float, float, float] = (1e-5, 1e-3, 1e-2)  # from random weights: lowest, advised, highest
    sense: str = ""  # phrase that describes the primary term; if empty, `in_nats` chooses it
    command: str = ""  # how such a run is started
    rules: Sequence["Rule"] = ()  # noqa: F821 - its own, after those of every run
    codes: Sequence[str] = ()  # terms of the table of code usage
    settings: Callable[[], tuple[Sequence[type], Mapping[str, Mapping[str, object]]]] | None = None  # and presets

    def default(self, name: str) -> float | None:
        """The default of a setting that is a number, else None."""
        for kind in self.settings()[0] if self.settings else ():
            known = kind.__dataclass_fields__.get(name)
            if known is not None and isinstance(known.default, int | float):
                return float(known.default)
        return None


WEIGHT_NORM = Panel("weight norm", ("weight_norm",), log_scale=True)
# which command reports on a stage that a record names
REPORTED_BY = {
    "tokenizer": "kronos-ft report",
    "predictor": "kronos-ft report",
    "quantiles": "kronos-ft report",
    "mt5": "mt5-ft report",
}
PLAIN = StageView(
    stage="",
    primary="loss",
    in_nats=False,
    terms=("loss",),
    panels=(
        Panel("loss", ("loss",)),
        Panel("learning rate", ("learning_rate",)),
        Panel("gradient norm", ("grad_norm",), log_scale=True),
    ),
)


def view_of(run: Path, views: Sequence[StageView], record: Record, history: History) -> StageView:
    """The kind of a run: by the recorded stage, else by a term that only one kind logs, else that of any Trainer.

    Raises:
        ValueError: a stage that another program reports on.
    """
    stage = record.text("stage") or record.text("observed", "stage") or history.state.text("stage")
    for view in views:
        if view.stage == stage:
            return view
    if views and stage in REPORTED_BY:  # its rules and quantities are not known here
        raise ValueError(f"run={run} is of the stage {stage}; report on it with {REPORTED_BY[stage]}")
    terms = history.terms
    return next((view for view in views if {view.signature, f"eval_{view.signature}"} & terms), PLAIN)
