"""Trainer of the Kronos tokenizer: `compute_loss` with the binary spherical quantisation objective.

How to read a training curve: the loss contains a REWARD for using many codes (the codebook entropy, with a minus sign).
The loss becomes negative while reconstruction is still poor, and it can fall while reconstruction gets worse. The
reconstruction error is `recon_all`, and `eval_recon_all` on held-out windows. The published scripts call the latter
validation loss; it selects the best checkpoint.
"""

import torch
from torch import Tensor, nn
from transformers import TrainingArguments

from ft_core.training.curves import Panel
from ft_core.training.guarded_steps import poison_if_not_finite

from ..models.modeling_kronos import KronosTokenizer, KronosTokenizerOutput
from ..models.quantizer import bits_to_index, split_index
from .arguments import KronosTokenizerArguments
from .losses import TOKENIZER_TERMS, TokenizerTerms, tokenizer_objective, tokenizer_terms
from .window_trainer import WindowTrainer


def code_usage(histogram: Tensor) -> tuple[float, float]:
    """Share of codes that occur, and perplexity: the number of equally frequent codes of the same entropy.

    Args:
        histogram (`torch.Tensor` of shape `(num_codes,)`): how often each code occurred.
    """
    share = float((histogram > 0).double().mean())
    p = histogram.double() / histogram.sum().clamp(min=1)
    return share, float(torch.exp(-(p * torch.log(p.clamp(min=1e-300))).sum()))


class KronosTokenizerTrainer(WindowTrainer):
    """Fine-tunes a [`KronosTokenizer`] on windows of candles.

    loss = (recon_pre + recon_all + bsq) / 2, see `kronos_ft.training.losses`.

    Logged at each logging step (means over all windows since the last one, exact over accumulation and ranks) and, with
    the prefix `eval_`, at each evaluation (over the whole split): loss, recon_pre, recon_all, bsq, commitment,
    entropy_sample, entropy_codebook, code_usage_s1, code_usage_s2 (share of codes used), code_perplexity_s1,
    code_perplexity_s2. The codebook entropy is a statistic of a batch: in training it is that of each micro-batch, as
    it is optimised; in evaluation that of the whole split, so that it does not depend on the evaluation batch.

    Example:

    ```python
    trainer = KronosTokenizerTrainer(model, KronosTokenizerArguments(output_dir="runs/btc"), train, validation)
    trainer.train()
    ```
    """

    progress_terms = ("loss", "recon_all", "bars_per_second")
    evaluation_terms = ("recon_all", "recon_pre", "loss", "code_usage_s1")
    stage = "tokenizer"
    title = "Kronos tokenizer"
    summary_terms = (
        *("loss", "recon_pre", "recon_all", "bsq", "commitment", "entropy_sample", "entropy_codebook"),
        *("code_usage_s1", "code_usage_s2"),
    )
    panels = (
        Panel("reconstruction: mean squared error, normalised units", ("recon_all", "recon_pre"), log_scale=True),
        Panel("objective: can be negative (entropy reward of the codebook)", ("loss", "bsq")),
        Panel("entropies, nats", ("entropy_sample", "entropy_codebook")),
        Panel("code usage: perplexity", ("code_perplexity_s1", "code_perplexity_s2")),
        Panel("learning rate", ("learning_rate",)),
        Panel("gradient norm", ("grad_norm",), log_scale=True),
    )

    arguments_class = KronosTokenizerArguments
    model_class = KronosTokenizer

    def prepare_model(self, model: KronosTokenizer, args: TrainingArguments) -> nn.Module:
        """Keeps the configuration, which has the weights of the objective's terms."""
        self.objective_config = model.config
        return super().prepare_model(model, args)

    def _terms(self, model: nn.Module, inputs: dict[str, Tensor]) -> tuple[TokenizerTerms, KronosTokenizerOutput]:
        output = model(candles=inputs["candles"])
        terms = tokenizer_terms(output.reconstruction_pre, output.reconstruction, output.unit, inputs["target"])
        return terms, output

    def _histograms(self, index: Tensor) -> dict[str, Tensor]:
        """How often each coarse and fine code occurs in whole indices of shape `(B, T)`."""
        counts = {}
        bits = (self.objective_config.s1_bits, self.objective_config.s2_bits)
        for name, half, n_bits in zip(("codes_s1", "codes_s2"), split_index(index, bits[0]), bits, strict=True):
            flat = half.flatten()
            histogram = torch.zeros(2**n_bits, device=flat.device)
            counts[name] = histogram.index_add_(0, flat, torch.ones_like(flat, dtype=histogram.dtype))
        return counts

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, KronosTokenizerOutput]:
        """The objective of one micro-batch; its terms are added to the meter on the device."""
        terms, output = self._terms(model, inputs)
        objective = tokenizer_objective(
            terms.per_window.mean(dim=0), terms.bit_means.mean(dim=0), self.objective_config
        )
        self.meter.add_means(objective, weight=len(inputs["target"]))
        self.meter.add_sums(self._histograms(bits_to_index(output.quantized.detach())))
        loss = poison_if_not_finite(objective["loss"])
        return (loss, output) if return_outputs else loss

    def sample_terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss and terms of each window; the codebook entropy is that of the window's bars."""
        terms, _ = self._terms(self.accelerator.unwrap_model(self.model), batch)
        rows = [
            tokenizer_objective(window, bits, self.objective_config)
            for window, bits in zip(terms.per_window, terms.bit_means, strict=True)
        ]
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

        Predictions are the reconstructed bars, labels the normalised ones.
        """
        inputs = self._prepare_inputs(inputs)
        with self.compute_loss_context_manager():
            terms, output = self._terms(model, inputs)
        index = bits_to_index(output.quantized)
        per_window, bit_means, index = self.accelerator.gather_for_metrics((terms.per_window, terms.bit_means, index))
        self.eval_meter.add_means(
            {"per_window": per_window.mean(dim=0), "bit_mean": bit_means.mean(dim=0)}, weight=len(per_window)
        )
        self.eval_meter.add_sums(self._histograms(index))
        loss = per_window[:, TOKENIZER_TERMS.index("recon_all")].mean()
        if prediction_loss_only:
            return loss, None, None
        return loss, output.reconstruction, inputs["target"]

    def logged_terms(self, sums: dict[str, Tensor], weight: float) -> dict[str, float]:
        """The objective's terms and the code usage from the reduced sums of either meter."""
        histograms = {name: sums.pop(f"codes_{name}") for name in ("s1", "s2")}
        means = {name: total / weight for name, total in sums.items()}
        if "per_window" in means:
            means = tokenizer_objective(means["per_window"], means["bit_mean"], self.objective_config)
        terms = {name: float(value) for name, value in means.items()}
        for name, histogram in histograms.items():
            terms[f"code_usage_{name}"], terms[f"code_perplexity_{name}"] = code_usage(histogram)
        return terms
