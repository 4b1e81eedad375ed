"""Muon for the weight matrices of repeated blocks and AdamW for all other parameters, as one optimizer.

Notable:
- Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) orthogonalises the momentum of a matrix. Here its
  steps are scaled to the root mean square of AdamW's (Liu et al. 2025, arXiv 2502.16982), so that both take the same
  learning rate and weight decay.
- Embeddings, output heads, norms, biases and everything outside of the blocks are trained by AdamW.
- Both optimizers are PyTorch's own. They share one list of parameter groups and one state, so schedules, checkpoints
  and resumes treat them as a single optimizer.
"""

from collections.abc import Callable

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer
from transformers import TrainingArguments

MUON = "muon"
ALGORITHM = "algorithm"  # key of a parameter group: which of both trains it


def block_matrices(model: nn.Module) -> set[str]:
    """Names of the trainable weights of the linear layers inside repeated blocks (the items of a `ModuleList`).

    Low-rank adapters are excluded: the steps of Muon assume that all directions of a matrix are free.
    """
    found = set()
    for outer, blocks in model.named_modules():
        if not isinstance(blocks, nn.ModuleList):
            continue
        for inner, layer in blocks.named_modules(prefix=outer):
            if isinstance(layer, nn.Linear) and layer.weight.requires_grad and "lora_" not in inner:
                found.add(f"{inner}.weight")
    return found


class MuonWithAdamW(Optimizer):
    """Trains some parameter groups with Muon and the others with AdamW.

    Args:
        adamw (`list` of `dict`): parameter groups for AdamW, each with `params` and `weight_decay`.
        matrices (`list` of `nn.Parameter`): matrices for Muon.
        args ([`~transformers.TrainingArguments`]): learning rate, weight decay, betas and epsilon; Muon's momentum is
            PyTorch's default, 0.95.
        learning_rate (`float`, *optional*): of Muon; by default that of AdamW.

    Raises:
        ValueError: no matrices.
    """

    def __init__(
        self,
        adamw: list[dict],
        matrices: list[nn.Parameter],
        args: TrainingArguments,
        learning_rate: float | None = None,
    ):
        if not matrices:
            raise ValueError(
                "optim=muon trains the weight matrices of repeated blocks, but none is trainable here (low-rank "
                "adapters are excluded); use optim adamw_torch"
            )
        plain = AdamW(
            [{**group, ALGORITHM: "adamw"} for group in adamw if group["params"]],
            lr=args.learning_rate,
            betas=(args.adam_beta1, args.adam_beta2),
            eps=args.adam_epsilon,
        )
        muon = Muon(
            [{"params": matrices, ALGORITHM: MUON}],
            lr=learning_rate or args.learning_rate,
            weight_decay=args.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        )
        self.parts = {"adamw": plain, MUON: muon}
        # the first group has the learning rate that schedules read
        super().__init__([*plain.param_groups, *muon.param_groups], {})

    def _share(self) -> None:
        """Gives both parts this optimizer's groups and state, which a checkpoint or a schedule may have replaced."""
        for name, part in self.parts.items():
            part.param_groups = [group for group in self.param_groups if group[ALGORITHM] == name]
            part.state = self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of both; parameters without a gradient are left as they are."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._share()
        for part in self.parts.values():
            part.step()
        return loss


def build_muon(
    model: nn.Module, decayed: list[str], args: TrainingArguments, learning_rate: float | None = None
) -> MuonWithAdamW:
    """The optimizer of a model.

    Args:
        model (`nn.Module`): its trainable parameters are trained.
        decayed (`list` of `str`): names of the parameters with weight decay; Muon always decays its matrices.
        args ([`~transformers.TrainingArguments`]): settings.
        learning_rate (`float`, *optional*): of Muon; by default `args.learning_rate`.

    Raises:
        ValueError: the model has no trainable matrices of blocks.
    """
    matrices, named = block_matrices(model), dict(model.named_parameters())
    others = {name: one for name, one in named.items() if one.requires_grad and name not in matrices}
    groups = [
        {"params": [one for name, one in others.items() if (name in decayed) is decays], "weight_decay": decay}
        for decays, decay in ((True, args.weight_decay), (False, 0.0))
    ]
    return MuonWithAdamW(groups, [one for name, one in named.items() if name in matrices], args, learning_rate)
