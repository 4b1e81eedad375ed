"""The objective against its formula, written out bit by bit."""

import math

import pytest
import torch

from kronos_ft.models.configuration_kronos import KronosTokenizerConfig
from kronos_ft.training.losses import tokenizer_objective, tokenizer_terms

CONFIG = KronosTokenizerConfig.from_size("tiny")


def entropy(p):
    return -(p * math.log(p + 1e-8) + (1 - p) * math.log(1 - p + 1e-8))


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(1)
    target = torch.randn(3, 7, 6, generator=generator)
    unit = torch.nn.functional.normalize(torch.randn(3, 7, 10, generator=generator), dim=-1)
    return target + 0.3, target + 0.1 * torch.randn(3, 7, 6, generator=generator), unit, target


def test_formula(tensors):
    pre, full, unit, target = tensors
    terms = tokenizer_terms(pre, full, unit, target)
    found = tokenizer_objective(terms.per_window.mean(dim=0), terms.bit_means.mean(dim=0), CONFIG)

    bars = [unit[b, t].tolist() for b in range(3) for t in range(7)]
    probabilities = [[1 / (1 + math.exp(4 * u / math.sqrt(10))) for u in bar] for bar in bars]
    commitment = sum(sum(((1 if u > 0 else -1) / math.sqrt(10) - u) ** 2 for u in bar) for bar in bars) / 21
    sample = sum(sum(entropy(p) for p in bar) for bar in probabilities) / 21
    codebook = sum(entropy(sum(bar[d] for bar in probabilities) / 21) for d in range(10))
    bsq = 0.05 * commitment + 0.05 * (1.0 * sample - 1.1 * codebook)
    recon_all = ((full - target) ** 2).mean().item()
    expected = {
        "recon_pre": 0.09,
        "recon_all": recon_all,
        "commitment": commitment,
        "entropy_sample": sample,
        "entropy_codebook": codebook,
        "bsq": bsq,
        "loss": (0.09 + recon_all + bsq) / 2,
    }
    assert {name: value.item() for name, value in found.items()} == pytest.approx(expected, rel=1e-5)


def test_a_perfect_reconstruction_has_a_negative_loss():
    """The entropy reward: why the training loss passes zero."""
    torch.manual_seed(0)
    unit = torch.nn.functional.normalize(torch.randn(64, 50, 10), dim=-1)
    target = torch.randn(64, 50, 6)
    terms = tokenizer_terms(target, target, unit, target)
    found = tokenizer_objective(terms.per_window.mean(dim=0), terms.bit_means.mean(dim=0), CONFIG)
    assert found["recon_all"] == 0
    assert found["loss"] < 0


def test_half_precision_outputs_are_compared_in_fp32(tensors):
    pre, full, unit, target = tensors
    terms = tokenizer_terms(pre.bfloat16(), full.bfloat16(), unit, target)
    assert terms.per_window.dtype == torch.float32
    assert terms.per_window[:, 0].mean().item() == pytest.approx(0.09, rel=0.02)


def test_the_published_weights_multiply_their_terms(tensors):
    terms = tokenizer_terms(*tensors)
    means = terms.per_window.mean(dim=0), terms.bit_means.mean(dim=0)
    plain = tokenizer_objective(*means, CONFIG)
    heavy = KronosTokenizerConfig(**{**CONFIG.to_dict(), "beta": 1.05})
    assert tokenizer_objective(*means, heavy)["bsq"].item() == pytest.approx(
        plain["bsq"].item() + plain["commitment"].item(), rel=1e-5
    )
