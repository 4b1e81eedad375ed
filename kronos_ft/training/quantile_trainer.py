"""Trainer of the quantile head: pinball loss of close, high, low, volatility and volume over all horizons.

How to read a training curve: `loss` is the mean pinball loss in units of the context's volatility. Its value at step 0
is that of the volatility-scaled cone, which the untrained head equals; the fall below it is what the head has learnt.
The fall is small, because most of a return cannot be forecast. `coverage_90` should be near 0.9.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import TrainingArguments

from ft_core.training.curves import Panel
from ft_core.training.guarded_steps import poison_if_not_finite
from ft_core.training.muon import ALGORITHM, MUON

from ..models.modeling_quantiles import KronosForQuantiles, KronosQuantilesOutput
from ..models.pairing import write_pairing
from .losses import QUANTILE_TERMS, quantile_objective, quantile_terms
from .quantile_arguments import KronosQuantileArguments
from .window_trainer import WindowTrainer


class KronosQuantileTrainer(WindowTrainer):
    """Trains a [`KronosForQuantiles`] on [`QuantileWindowDataset`]s.

    loss = mean over close, high, low, volatility and volume of the pinball loss, see `kronos_ft.training.losses`.

    Logged at each logging step (over all windows since the last one, exact over accumulation and ranks) and, with the
    prefix `eval_`, at each evaluation: loss, pinball_close, pinball_high, pinball_low, pinball_volatility,
    pinball_volume, coverage_90 (share of closes inside the central 90 % interval).

    Args:
        model ([`KronosForQuantiles`]): with its cone fitted ([`~KronosForQuantiles.fit_cone`]).
        args ([`KronosQuantileArguments`]): settings.
        train_dataset, eval_dataset ([`QuantileWindowDataset`]): windows.
        callbacks (*optional*): further callbacks; the list is not changed.

    Example:

    ```python
    train = QuantileWindowDataset(WindowDataset(series, "train", WindowShape(90, 24)), tokenizer)
    model = KronosForQuantiles.on_body(predictor, KronosQuantilesConfig.on_body(predictor.config, horizon=24))
    model.fit_cone(*train.outcomes(range(len(train))))
    KronosQuantileTrainer(model, KronosQuantileArguments(output_dir="runs/btc"), train, validation).train()
    ```
    """

    progress_terms = ("loss", "pinball_close", "coverage_90", "bars_per_second")
    evaluation_terms = ("loss", "pinball_close", "pinball_volatility", "coverage_90")
    decisive_settings = (*WindowTrainer.decisive_settings, "body_learning_rate")
    stage = "quantiles"
    title = "Kronos quantile head"
    summary_terms = ("loss", *(f"pinball_{name}" for name in QUANTILE_TERMS), "coverage_90")
    panels = (
        Panel("pinball loss, units of the context's volatility", ("loss", "pinball_close")),
        Panel("pinball loss: high, low", ("pinball_high", "pinball_low")),
        Panel("pinball loss, log ratios: volatility, volume", ("pinball_volatility", "pinball_volume")),
        Panel("coverage of the 90 % interval of the close", ("coverage_90",)),
        Panel("learning rate", ("learning_rate",)),
        Panel("gradient norm", ("grad_norm",), log_scale=True),
    )

    arguments_class = KronosQuantileArguments
    model_class = KronosForQuantiles

    def prepare_model(self, model: KronosForQuantiles, args: TrainingArguments) -> nn.Module:
        """Keeps the levels of the quantiles."""
        self.levels = model.config.quantile_levels
        return super().prepare_model(model, args)

    def create_optimizer(self, *args, **kwargs) -> torch.optim.Optimizer:
        """The parent's optimizer; parameters of the body are groups of their own, with their own learning rate.

        An optimizer of your own is left as it is.
        """
        optimizer = super().create_optimizer(*args, **kwargs)
        if self.has_own_optimizer:
            return optimizer
        body = getattr(self.accelerator.unwrap_model(self.model), "body", None)
        own = set() if body is None else {id(parameter) for parameter in body.parameters()}
        groups = []
        for group in optimizer.param_groups:
            for of_body in (False, True):
                parameters = [one for one in group["params"] if (id(one) in own) is of_body]
                if parameters:
                    rate = self.args.body_learning_rate if of_body else group["lr"]
                    if group.get(ALGORITHM) == MUON and self.args.muon_learning_rate is not None:
                        rate = self.args.muon_learning_rate
                    groups.append({**group, "params": parameters, "lr": rate})
        # the first group is the head's, whose rate schedules read
        optimizer.param_groups[:] = sorted(groups, key=lambda group: id(group["params"][0]) in own)
        return optimizer

    def _terms(self, model: nn.Module, inputs: dict[str, Tensor]) -> tuple[Tensor, KronosQuantilesOutput]:
        names = {"s1": "s1_ids", "s2": "s2_ids", "stamps": "stamp", "features": "features", "states": "states"}
        output = model(**{name: inputs[key] for key, name in names.items() if key in inputs})
        return quantile_terms(output.quantiles, inputs["targets"], self.levels), output

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, KronosQuantilesOutput]:
        """The loss of one micro-batch; its terms are added to the meter on the device."""
        per_window, output = self._terms(model, inputs)
        sums = per_window.sum(dim=0)
        self.meter.add_means({}, weight=len(per_window))
        self.meter.add_sums({"sums": sums})
        loss = poison_if_not_finite(quantile_objective(sums)["loss"])
        return (loss, output) if return_outputs else loss

    def sample_terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss and its parts of each window."""
        per_window, _ = self._terms(self.accelerator.unwrap_model(self.model), batch)
        rows = [quantile_objective(row) for row in per_window]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    @torch.no_grad()
    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Adds the terms of a batch, gathered over ranks, to the evaluation meter; each window counts once.

        Predictions are the standardised quantiles, labels the standardised targets.
        """
        inputs = self._prepare_inputs(inputs)
        with self.compute_loss_context_manager():
            per_window, output = self._terms(model, inputs)
        per_window = self.accelerator.gather_for_metrics(per_window)
        sums = per_window.sum(dim=0)
        self.eval_meter.add_means({}, weight=len(per_window))
        self.eval_meter.add_sums({"sums": sums})
        loss = quantile_objective(sums)["loss"]
        return (loss, None, None) if prediction_loss_only else (loss, output.quantiles, inputs["targets"])

    def logged_terms(self, sums: dict[str, Tensor], weight: float) -> dict[str, float]:
        """The loss and its parts from the reduced sums of either meter."""
        return {name: float(value) for name, value in quantile_objective(sums["sums"]).items()}

    def write_origin(self, folder: Path) -> None:
        """Writes name and hash of the tokenizer that the head was trained with, and its window."""
        config = self.accelerator.unwrap_model(self.model_wrapped).config
        facts = self.recorder.facts
        descends_from = facts.get("descends_from")
        given = getattr(self.train_dataset, "tokenizer_facts", {})
        write_pairing(folder, given | facts.get("model", {}), config.lookback, config.horizon, descends_from)

    def write_model(self, folder: Path, state_dict: dict[str, Tensor]) -> None:
        """Writes the model and the hash of the tokenizer it was trained with."""
        self.write_origin(folder)
        super().write_model(folder, state_dict)
