"""The terms against a computation by hand, bar by bar."""

import math

import pytest
import torch

from kronos_ft.training.losses import PREDICTOR_TERMS, predictor_objective, predictor_terms


@pytest.fixture
def logits_and_tokens():
    generator = torch.Generator().manual_seed(1)
    s1_logits, s2_logits = torch.randn(3, 7, 8, generator=generator), torch.randn(3, 7, 4, generator=generator)
    s1, s2 = (torch.randint(codes, (3, 7), generator=generator) for codes in (8, 4))
    return s1_logits, s2_logits, s1, s2


def by_hand(logits, tokens):
    """Mean cross-entropy and accuracy of one window in plain Python."""
    losses, hits = [], []
    for row, token in zip(logits.tolist(), tokens.tolist(), strict=True):
        losses.append(math.log(sum(math.exp(value) for value in row)) - row[token])
        hits.append(row.index(max(row)) == token)
    return sum(losses) / len(losses), sum(hits) / len(hits)


def test_terms_of_each_window(logits_and_tokens):
    s1_logits, s2_logits, s1, s2 = logits_and_tokens
    found = predictor_terms(*logits_and_tokens)
    assert PREDICTOR_TERMS == ("ce_s1", "ce_s2", "accuracy_s1", "accuracy_s2")
    for window in range(3):
        coarse, fine = by_hand(s1_logits[window], s1[window]), by_hand(s2_logits[window], s2[window])
        expected = [coarse[0], fine[0], coarse[1], fine[1]]
        assert found[window].tolist() == pytest.approx(expected, rel=1e-5)


def test_loss_is_the_mean_of_both_halves(logits_and_tokens):
    means = predictor_terms(*logits_and_tokens).mean(dim=0)
    objective = predictor_objective(means)
    assert list(objective) == ["loss", *PREDICTOR_TERMS]
    assert objective["loss"].item() == pytest.approx((means[0] + means[1]).item() / 2, rel=1e-6)


def test_half_precision_logits_are_compared_in_fp32(logits_and_tokens):
    s1_logits, s2_logits, s1, s2 = logits_and_tokens
    large = s1_logits * 100
    found = predictor_terms(large.bfloat16(), s2_logits.bfloat16(), s1, s2)
    assert found.dtype == torch.float32
    assert torch.equal(found, predictor_terms(large.bfloat16().float(), s2_logits.bfloat16().float(), s1, s2))


def test_accuracies_carry_no_gradient(logits_and_tokens):
    s1_logits, s2_logits, s1, s2 = logits_and_tokens
    terms = predictor_terms(s1_logits.requires_grad_(), s2_logits, s1, s2)
    (gradient,) = torch.autograd.grad(terms.sum(), s1_logits)
    (expected,) = torch.autograd.grad(predictor_terms(s1_logits, s2_logits, s1, s2)[:, 0].sum(), s1_logits)
    assert torch.equal(gradient, expected)
