"""What a report has to know of a kind of run: its main quantity, its terms, its settings and its own rules."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..training.curves import Panel
from .answers import Rule


@dataclass(frozen=True)
class Both:
    """A text in both languages."""

    en: str
    zh: str


@dataclass(frozen=True)
class StageView:
    """One kind of run, such as the tokenizer's.

    Attributes:
        stage (`str`): as recorded in `run.json`; empty for a Trainer of any kind.
        title, zh_title (`str`): its name; the Chinese one where it differs.
        signature (`str`): a logged term that only this kind has, by which a folder without a record is known.
        primary (`str`): the quantity that is read for success, logged in training and, with `eval_`, in evaluation.
        in_nats (`bool`): a cross-entropy: gaps are differences. Else an error: gaps are ratios.
        signed (`Sequence[str]`): terms with a rewarded part, which may fall below zero and say nothing by themselves.
        terms (`Sequence[str]`): terms of the table of losses, the primary first.
        panels (`Sequence` of [`~ft_core.training.curves.Panel`]): pictures.
        speed (`str`): the logged term of throughput.
        usual_rates (`tuple` of `float`): learning rates that such runs do well with, least and most.
        command (`str`): how such a run is started.
        rules (`Sequence` of [`Rule`]): its own rules, after those of every run.
        meanings ([`Both`], *optional*): what the terms of its table of losses mean.
        codes (`Sequence[str]`): terms of the table of code usage.
        zh_titles (`Mapping`): Chinese titles of its pictures.
        settings (`Callable`): its dataclasses, and its presets by name; called when the next run's file is written.
    """

    stage: str
    title: str
    primary: str
    terms: Sequence[str]
    panels: Sequence[Panel]
    signature: str = ""
    in_nats: bool = True
    signed: Sequence[str] = ()
    speed: str = ""
    usual_rates: tuple[float, float] = (1e-6, 1e-3)
    command: str = ""
    rules: Sequence[Rule] = ()
    meanings: Both | None = None
    codes: Sequence[str] = ()
    zh_titles: Mapping[str, str] = field(default_factory=dict)
    zh_title: str = ""
    settings: Callable[[], tuple[Sequence[type], Mapping[str, Mapping[str, object]]]] | None = field(default=None)

    @property
    def sense(self) -> str:
        """The key of the words on what the main quantity is: a Trainer's state does not say what its loss is."""
        return "sense_unknown" if not self.stage else "sense_nats" if self.in_nats else "sense_error"

    def default(self, name: str) -> float | None:
        """The number that a setting has when nobody sets it; None where it is not a number, or no setting."""
        for kind in self.settings()[0] if self.settings else ():
            known = kind.__dataclass_fields__.get(name)
            if known is not None and isinstance(known.default, int | float):
                return float(known.default)
        return None


# pictures of every kind of run
WEIGHT_NORM = Panel("weight norm", ("weight_norm",), log_scale=True)
ZH_TITLES = {"loss": "损失", "learning rate": "学习率", "gradient norm": "梯度范数", "weight norm": "权重范数"}

# which command reports on a stage that a record names
REPORTED_BY = {"tokenizer": "kronos-ft report", "predictor": "kronos-ft report", "mt5": "mt5-ft report"}

PLAIN = StageView(
    stage="",
    title="Trainer",
    primary="loss",
    in_nats=False,
    terms=("loss",),
    panels=(
        Panel("loss", ("loss",)),
        Panel("learning rate", ("learning_rate",)),
        Panel("gradient norm", ("grad_norm",), log_scale=True),
    ),
    zh_titles=ZH_TITLES,
)
