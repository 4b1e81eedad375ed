"""Sums of loss terms, kept on the device until they are logged.

`compute_loss` adds and `log` reduces. In between nothing is copied to the host and there is no collective.
"""

import torch
from accelerate import Accelerator
from torch import Tensor


class LossMeter:
    """Weighted means of named scalars and plain sums of named tensors.

    Every rank must add the same names before a reduction; the order of the names does not matter.
    """

    def __init__(self):
        self._sums: dict[str, Tensor] = {}
        self._weight: float | Tensor = 0.0
        self._before: tuple[dict[str, Tensor], float | Tensor] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was added since the last reset."""
        return not self._sums

    @property
    def weight(self) -> float:
        """Sum of the weights added on this rank since the last reset."""
        return float(self._weight)

    def reset(self) -> None:
        """Resets all sums."""
        self._sums = {}
        self._weight = 0.0
        self._before = None

    # Optimizer steps

    def begin_step(self) -> None:
        """Stores the sums before an optimizer step."""
        self._before = dict(self._sums), self._weight

    def end_step(self, applied: bool | Tensor) -> None:
        """Restores the sums of [`begin_step`] if the step was not applied.

        Args:
            applied (`bool` or `torch.Tensor`): a tensor on the device decides there, without waiting for it.
        """
        if self._before is None:
            return
        (sums, weight), self._before = self._before, None
        if isinstance(applied, Tensor):
            self._sums = {
                name: torch.where(applied, value, sums.get(name, torch.zeros_like(value)))
                for name, value in self._sums.items()
            }
            self._weight = weight + applied.double() * (self._weight - weight)
        elif not applied:
            self._sums, self._weight = sums, weight

    # Adding

    def add_means(self, means: dict[str, Tensor], weight: float) -> None:
        """Adds means over `weight` samples; each value is a scalar tensor on the device."""
        self._weight = self._weight + weight
        for name, value in means.items():
            self._add(name, value.detach() * weight)

    def add_sums(self, sums: dict[str, Tensor]) -> None:
        """Adds tensors of any shape, such as histograms; they are summed, not averaged."""
        for name, value in sums.items():
            self._add(name, value.detach())

    def _add(self, name: str, value: Tensor) -> None:
        # MPS has no float64; elsewhere it keeps long sums exact
        value = value.to(torch.float32 if value.device.type == "mps" else torch.float64)
        self._sums[name] = self._sums[name] + value if name in self._sums else value

    # Reducing

    def reduce(self, accelerator: Accelerator | None = None) -> tuple[dict[str, Tensor], float]:
        """Sums over all ranks, as CPU tensors, and the sum of the weights; then resets.

        One collective whatever the number of names. Without an accelerator the sums of this rank are returned.
        """
        names = sorted(self._sums)
        first = self._sums[names[0]]
        weight = torch.as_tensor(self._weight, dtype=first.dtype, device=first.device).reshape(1)
        flat = torch.cat([weight, *(self._sums[name].reshape(-1) for name in names)])
        if accelerator is not None:
            flat = accelerator.reduce(flat, reduction="sum")
        flat = flat.cpu()
        parts = flat[1:].split([self._sums[name].numel() for name in names])
        reduced = {name: part.reshape(self._sums[name].shape) for name, part in zip(names, parts, strict=True)}
        self.reset()
        return reduced, float(flat[0])

    # Checkpoints

    def state(self) -> dict[str, object]:
        """The sums that are not reduced yet, on the CPU."""
        return {"weight": self.weight, "sums": {name: value.cpu() for name, value in self._sums.items()}}

    def load_state(self, state: dict | None, device: torch.device) -> None:
        """Restores a [`state`]; None is an empty one."""
        self.reset()
        if state:
            self._weight = state["weight"]
            self._sums = {name: value.to(device) for name, value in state["sums"].items()}
