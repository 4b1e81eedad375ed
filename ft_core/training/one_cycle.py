"""Checks and builds a one-cycle learning-rate schedule for a Trainer (arXiv 1708.07120)."""

from dataclasses import dataclass

from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR


@dataclass(frozen=True)
class OneCycle:
    """Settings of a one-cycle schedule.

    Attributes:
        max_lr (`float`): the peak learning rate.
        pct_start (`float`): share of the steps spent rising.
        div_factor (`float`): the run starts at `max_lr / div_factor`.
        final_div_factor (`float`): it ends at `max_lr / div_factor / final_div_factor`.
        cycle_momentum (`bool`): also cycle AdamW's beta1 between 0.85 and 0.95, as PyTorch does by default, which
            overwrites the configured beta1.
    """

    max_lr: float
    pct_start: float
    div_factor: float
    final_div_factor: float
    cycle_momentum: bool = False

    def __post_init__(self):
        if not self.max_lr > 0:
            raise ValueError(f"learning_rate={self.max_lr} is not positive; it is the peak of the one-cycle schedule")
        if not 0 < self.pct_start < 1:
            raise ValueError(f"pct_start={self.pct_start} is outside (0, 1); it is the share of warm-up steps")
        for name in ("div_factor", "final_div_factor"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"{name}={getattr(self, name)} is below 1; it divides the learning rate")


class ResumableOneCycleLR(OneCycleLR):
    """`OneCycleLR` that refuses to load a state of another length instead of failing at its end."""

    def load_state_dict(self, state_dict: dict) -> None:
        """Restores a saved schedule.

        Raises:
            ValueError: when the saved schedule has another number of steps.
        """
        if state_dict["total_steps"] != self.total_steps:
            raise ValueError(
                f"this run has {self.total_steps} optimizer steps but the checkpoint's one-cycle schedule has "
                f"{state_dict['total_steps']}; resume with the same epochs, max_steps, batch size and data"
            )
        super().load_state_dict(state_dict)


def build_one_cycle(optimizer: Optimizer, settings: OneCycle, total_steps: int) -> ResumableOneCycleLR:
    """A schedule over `total_steps` optimizer steps.

    Raises:
        ValueError: when there is no step to schedule.
    """
    if total_steps < 1:
        raise ValueError(f"a schedule over {total_steps} steps is empty; train for at least one step")
    base = optimizer.param_groups[0]["lr"] or settings.max_lr
    pct_start = settings.pct_start
    if abs(pct_start * total_steps - 1) < 1e-9:
        pct_start = (1 + 1e-6) / total_steps  # PyTorch divides by pct_start * total_steps - 1
    return ResumableOneCycleLR(
        optimizer,
        # a group with its own learning rate keeps its ratio to the others
        max_lr=[
            settings.max_lr if group["lr"] == base else settings.max_lr * group["lr"] / base
            for group in optimizer.param_groups
        ],
        total_steps=total_steps,
        pct_start=pct_start,
        div_factor=settings.div_factor,
        final_div_factor=settings.final_div_factor,
        cycle_momentum=settings.cycle_momentum,
    )
