"""Means are weighted, sums are summed, and nothing is lost over many additions."""

import torch

from ft_core.training.loss_meter import LossMeter


def test_means_are_weighted_by_samples():
    meter = LossMeter()
    meter.add_means({"a": torch.tensor(1.0), "b": torch.tensor([2.0, 4.0])}, weight=3)
    meter.add_means({"a": torch.tensor(5.0), "b": torch.tensor([6.0, 8.0])}, weight=1)
    sums, weight = meter.reduce()
    assert weight == 4
    assert (sums["a"] / weight).item() == 2.0
    assert (sums["b"] / weight).tolist() == [3.0, 5.0]
    assert meter.is_empty


def test_histograms_add_up():
    meter = LossMeter()
    for _ in range(3):
        meter.add_sums({"codes": torch.tensor([[1.0, 0.0], [2.0, 1.0]])})
    assert meter.reduce()[0]["codes"].tolist() == [[3.0, 0.0], [6.0, 3.0]]


def test_long_sums_stay_exact():
    meter = LossMeter()
    for _ in range(20_000):
        meter.add_means({"a": torch.tensor(0.1)}, weight=1)
    sums, weight = meter.reduce()
    assert abs(sums["a"].item() / weight - torch.tensor(0.1).double().item()) < 1e-12


def test_gradients_are_not_kept():
    meter = LossMeter()
    value = torch.tensor(2.0, requires_grad=True)
    meter.add_means({"a": value * 3}, weight=2)
    assert not meter.reduce()[0]["a"].requires_grad
