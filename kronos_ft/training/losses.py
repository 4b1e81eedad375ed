"""Loss terms of tokenizer, predictor and quantile head: pure functions of model outputs.

Tokenizer:

loss      = (recon_pre + recon_all + bsq) / 2
recon_pre = mean squared error of the reconstruction from the s1 bits alone
recon_all = mean squared error of the reconstruction from the full code (the published 'validation loss')
bsq       = beta * commitment + zeta * (gamma0 * entropy_sample - gamma * entropy_codebook)

The codebook entropy is REWARDED: it enters with a minus sign and reaches D ln 2 = 13.9 nats for D = 20 bits, so near
convergence bsq is about -0.07 and the whole loss goes below zero. A falling or negative loss therefore says nothing
about reconstruction by itself; read recon_all.

Shapes: B windows, T bars, F features, D bits of a code.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..models.configuration_kronos import KronosTokenizerConfig
from ..models.quantizer import binary_entropy, bit_probabilities

PREDICTOR_TERMS = ("ce_s1", "ce_s2", "accuracy_s1", "accuracy_s2")


TOKENIZER_TERMS = ("recon_pre", "recon_all", "commitment", "entropy_sample")


@dataclass
class TokenizerTerms:
    """Terms of the tokenizer's objective for each window, so that sums over any partition of the data are exact.

    Attributes:
        per_window (`torch.Tensor` of shape `(batch_size, 4)`):
            recon_pre, recon_all, commitment, entropy_sample, in the order of `TOKENIZER_TERMS`.
        bit_means (`torch.Tensor` of shape `(batch_size, codebook_dim)`):
            Mean over bars of each bit's probability. The codebook entropy is a function of their mean over all
            windows, not a mean over windows.
    """

    per_window: Tensor
    bit_means: Tensor


def tokenizer_terms(reconstruction_pre: Tensor, reconstruction: Tensor, unit: Tensor, target: Tensor) -> TokenizerTerms:
    """Computes every loss term for each window, in fp32.

    Args:
        reconstruction_pre (`torch.Tensor` of shape `(batch_size, seq_len, d_in)`): from the s1 bits alone.
        reconstruction (`torch.Tensor` of shape `(batch_size, seq_len, d_in)`): from the full code.
        unit (`torch.Tensor` of shape `(batch_size, seq_len, codebook_dim)`): the encoder's output on the sphere.
        target (`torch.Tensor` of shape `(batch_size, seq_len, d_in)`): the clean, normalised window.
    """
    target = target.float()
    signs = torch.where(unit.detach() > 0, 1.0, -1.0) * unit.shape[-1] ** -0.5
    probabilities = bit_probabilities(unit)
    per_window = torch.stack(
        (
            (reconstruction_pre.float() - target).square().mean(dim=(1, 2)),
            (reconstruction.float() - target).square().mean(dim=(1, 2)),
            (signs - unit).square().sum(dim=-1).mean(dim=1),
            binary_entropy(probabilities).sum(dim=-1).mean(dim=1),
        ),
        dim=1,
    )
    return TokenizerTerms(per_window=per_window, bit_means=probabilities.mean(dim=1))


def tokenizer_objective(per_window_mean: Tensor, bit_mean: Tensor, config: KronosTokenizerConfig) -> dict[str, Tensor]:
    """The objective and its parts from means over windows.

    Args:
        per_window_mean (`torch.Tensor` of shape `(4,)`): mean of [`TokenizerTerms.per_window`] over windows.
        bit_mean (`torch.Tensor` of shape `(codebook_dim,)`): mean of [`TokenizerTerms.bit_means`] over windows.
        config ([`KronosTokenizerConfig`]): the weights beta, gamma0, gamma and zeta.

    Returns:
        `dict` of scalars: loss, recon_pre, recon_all, bsq, commitment, entropy_sample, entropy_codebook.
    """
    recon_pre, recon_all, commitment, entropy_sample = per_window_mean.unbind()
    entropy_codebook = binary_entropy(bit_mean).sum()
    bsq = config.beta * commitment + config.zeta * (config.gamma0 * entropy_sample - config.gamma * entropy_codebook)
    return {
        "loss": (recon_pre + recon_all + bsq) / 2,
        "recon_pre": recon_pre,
        "recon_all": recon_all,
        "bsq": bsq,
        "commitment": commitment,
        "entropy_sample": entropy_sample,
        "entropy_codebook": entropy_codebook,
    }


def token_cross_entropy(logits: Tensor, tokens: Tensor) -> Tensor:
    """Cross-entropy of each token in nats, computed in fp32.

    Args:
        logits (`torch.Tensor` of shape `(B, T, num_codes)`): before softmax.
        tokens (`torch.LongTensor` of shape `(B, T)`): the targets.

    Returns:
        `torch.Tensor` of shape `(B, T)`.
    """
    return F.cross_entropy(logits.float().flatten(0, 1), tokens.flatten(), reduction="none").view(tokens.shape)


def predictor_terms(s1_logits: Tensor, s2_logits: Tensor, s1: Tensor, s2: Tensor) -> Tensor:
    """The loss terms of each window, so that means over any partition of the data are exact.

    Args:
        s1_logits, s2_logits (`torch.Tensor` of shape `(B, T, num_codes)`): logits of the bars to predict.
        s1, s2 (`torch.LongTensor` of shape `(B, T)`): their tokens.

    Returns:
        `torch.Tensor` of shape `(B, 4)`, in the order of `PREDICTOR_TERMS`; the accuracies carry no gradient.
    """
    columns = [token_cross_entropy(s1_logits, s1).mean(dim=1), token_cross_entropy(s2_logits, s2).mean(dim=1)]
    for logits, tokens in ((s1_logits, s1), (s2_logits, s2)):
        columns.append((logits.detach().argmax(dim=-1) == tokens).float().mean(dim=1))
    return torch.stack(columns, dim=1)


def predictor_objective(means: Tensor) -> dict[str, Tensor]:
    """The loss and its parts from means over windows of shape `(4,)`."""
    parts = dict(zip(PREDICTOR_TERMS, means.unbind(), strict=True))
    return {"loss": (parts["ce_s1"] + parts["ce_s2"]) / 2, **parts}


QUANTILE_TERMS = ("close", "high", "low", "volatility", "volume")


def quantile_terms(quantiles: Tensor, targets: Tensor, levels: Sequence[float]) -> Tensor:
    """Pinball loss of each target and coverage of the close, with the number of defined outcomes, for each window.

    pinball = mean over levels a of max(a (y - q_a), (a - 1) (y - q_a)), Koenker and Bassett (1978).

    Args:
        quantiles (`torch.Tensor` of shape `(B, H, K, Q)`): standardised.
        targets (`torch.Tensor` of shape `(B, H, K)`): outcomes, NaN where not defined.
        levels (`Sequence` of Q `float`): of the quantiles.

    Returns:
        `torch.Tensor` of shape `(B, 2 K + 2)`: sums of the pinball loss over horizons by target, numbers of outcomes by
        target, and of the close the number of outcomes inside the central 90 % interval, and of those looked at.
    """
    known = ~targets.isnan()
    truth = torch.where(known, targets, 0.0).float()
    errors = truth[..., None] - quantiles.float()
    weights = torch.tensor(levels, device=errors.device, dtype=errors.dtype)
    pinball = torch.maximum(weights * errors, (weights - 1) * errors).mean(dim=-1)
    losses = torch.where(known, pinball, 0.0).sum(dim=1)
    low, high = (min(range(len(levels)), key=lambda i, at=at: abs(levels[i] - at)) for at in (0.05, 0.95))
    close, bounds = truth[..., 0], quantiles.detach()[..., 0, :]
    inside = (close >= bounds[..., low]) & (close <= bounds[..., high]) & known[..., 0]
    counts = torch.stack((inside.sum(dim=1), known[..., 0].sum(dim=1)), dim=1)
    return torch.cat((losses, known.sum(dim=1), counts), dim=1).float()


def quantile_objective(sums: Tensor) -> dict[str, Tensor]:
    """The loss, mean pinball of the targets, and its parts from sums of [`quantile_terms`] over windows, `(2 K + 2,)`.

    A target without any outcome counts as 0.
    """
    count = len(QUANTILE_TERMS)
    parts = sums[:count] / sums[count : 2 * count].clamp(min=1)
    found = {f"pinball_{name}": part for name, part in zip(QUANTILE_TERMS, parts.unbind(), strict=True)}
    return {"loss": parts.mean(), **found, "coverage_90": sums[-2] / sums[-1].clamp(min=1)}
