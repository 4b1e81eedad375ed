"""Loss, hits and gradients equal those of F.cross_entropy, whatever the chunks and the padding."""

import pytest
import torch
from hypothesis import given, strategies as st
from torch.nn import functional as F

from mt5_ft.models import linear_cross_entropy as module
from mt5_ft.models.linear_cross_entropy import IGNORED, linear_cross_entropy


def inputs(rows, length, size, pieces, padded=0.4, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(rows, length, size, generator=generator, dtype=dtype).requires_grad_()
    weight = torch.randn(pieces, size, generator=generator, dtype=dtype).requires_grad_()
    labels = torch.randint(pieces, (rows, length), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < padded] = IGNORED
    return hidden, weight, labels


def reference(hidden, weight, labels):
    """Loss, losses of rows, hits and tokens from the logits of all tokens."""
    logits = hidden @ weight.T
    losses = F.cross_entropy(logits.transpose(1, 2).float(), labels, ignore_index=IGNORED, reduction="none")
    hits = (logits.argmax(-1) == labels).sum(1)
    return losses.sum(), losses.sum(1), hits, (labels != IGNORED).sum(1)


def assert_equal(hidden, weight, labels, **settings):
    expected = reference(hidden, weight, labels)
    found = linear_cross_entropy(hidden, weight, labels, **settings)
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)
    gradients = torch.autograd.grad(0.37 * expected[0], (hidden, weight))
    for one, two in zip(torch.autograd.grad(0.37 * found.total, (hidden, weight)), gradients, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("chunk_size", [None, 1, 3, 7, 1000])
@pytest.mark.parametrize("shape", [(4, 9, 16, 103), (1, 1, 8, 5), (3, 5, 4, 1), (2, 40, 32, 640)])
def test_loss_and_gradients_are_those_of_cross_entropy(shape, chunk_size):
    assert_equal(*inputs(*shape, padded=0.4 if shape[1] > 1 else 0), chunk_size=chunk_size)


@given(
    rows=st.integers(1, 4), length=st.integers(1, 6), size=st.integers(1, 8), pieces=st.integers(1, 50),
    padded=st.sampled_from([0.0, 0.5, 1.0]), seed=st.integers(0, 1000), chunk=st.integers(1, 30),
)  # fmt: skip
def test_any_shape_and_padding(rows, length, size, pieces, padded, seed, chunk):
    assert_equal(*inputs(rows, length, size, pieces, padded, seed), chunk_size=chunk)


def test_padded_rows_count_nothing():
    hidden, weight, labels = inputs(3, 4, 8, 20, padded=0)
    labels[1] = IGNORED
    found = linear_cross_entropy(hidden, weight, labels)
    assert found.tokens.tolist() == [4, 0, 4]
    assert (found.losses[1], found.correct[1]) == (0, 0)
    found.total.backward()
    assert not hidden.grad[1].any()
    assert hidden.grad[0].any()


def test_a_batch_of_padding_has_gradients_of_zero():
    """None in place of zeros would leave other processes waiting."""
    hidden, weight, labels = inputs(2, 3, 8, 20, padded=1)
    linear_cross_entropy(hidden, weight, labels).total.backward()
    assert (hidden.grad == 0).all()
    assert (weight.grad == 0).all()


def test_gradients_in_double_against_finite_differences():
    hidden, weight, labels = inputs(2, 4, 5, 11, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda a, b: linear_cross_entropy(a, b, labels, 3).total, (hidden, weight))


def test_every_backward_through_one_graph_gives_the_same():
    hidden, weight, labels = inputs(2, 4, 5, 11)
    total = linear_cross_entropy(hidden, weight, labels, 3).total
    passes = [torch.autograd.grad(total, (hidden, weight), torch.tensor(2.0), retain_graph=True) for _ in range(3)]
    for again in passes[1:]:
        for one, two in zip(passes[0], again, strict=True):
            assert torch.equal(one, two)


def test_what_needs_no_gradient_gets_none(monkeypatch):
    hidden, weight, labels = inputs(2, 4, 5, 11)
    expected = torch.autograd.grad(reference(hidden, weight, labels)[0], hidden)[0]
    monkeypatch.setattr(module, "_add_product", None)  # adapters leave the weight as it is
    weight.requires_grad_(False)
    linear_cross_entropy(hidden, weight, labels).total.backward()
    torch.testing.assert_close(hidden.grad, expected, rtol=1e-5, atol=1e-5)
    weight.requires_grad_()
    with torch.no_grad():
        assert not linear_cross_entropy(hidden, weight, labels).total.requires_grad


def test_only_the_sum_has_a_gradient():
    found = linear_cross_entropy(*inputs(2, 4, 5, 11))
    assert [value.requires_grad for value in found] == [True, False, False, False]


def test_bf16_products_are_added_up_in_fp32(monkeypatch):
    """As near to fp32 as the whole logits under autocast are."""
    monkeypatch.setattr(module, "PIECES_AT_ONCE", 64)
    hidden, weight, labels = inputs(4, 60, 32, 300)
    exact = torch.autograd.grad(reference(hidden, weight, labels)[0], (hidden, weight))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        whole, found = reference(hidden, weight, labels)[0], linear_cross_entropy(hidden, weight, labels, 7)
    assert found.total.dtype == found.losses.dtype == torch.float32
    torch.testing.assert_close(found.total, whole, rtol=1e-5, atol=0)
    theirs = torch.autograd.grad(whole, (hidden, weight))
    for one, two, truth in zip(torch.autograd.grad(found.total, (hidden, weight)), theirs, exact, strict=True):
        assert one.dtype == torch.float32
        assert (one - truth).norm() <= 1.1 * (two - truth).norm()


def test_extreme_logits():
    """A target whose probability underflows has a finite loss; a logit that is none has none."""
    hidden, weight = torch.tensor([[[1.0]]]), torch.tensor([[-500.0], [500.0], [0.0]])
    assert linear_cross_entropy(hidden, weight, torch.tensor([[0]])).total == 1000
    assert linear_cross_entropy(hidden, weight * float("inf"), torch.tensor([[0]])).total.isnan()


def test_the_logits_of_all_tokens_are_never_in_memory(monkeypatch):
    monkeypatch.setattr(module, "LOGITS_IN_MEMORY", 4 * 300)
    sizes, real = [], torch.mm
    monkeypatch.setattr(torch, "mm", lambda *words, out: sizes.append(out.numel()) or real(*words, out=out))
    linear_cross_entropy(*inputs(4, 60, 8, 300))
    assert max(sizes) == 4 * 300
    assert len(sizes) > 10


def test_agrees_with_the_function_of_torch():
    hidden, weight, labels = inputs(3, 10, 8, 50)
    theirs = F.linear_cross_entropy(hidden.flatten(0, 1), weight, labels.flatten(), reduction="sum")
    torch.testing.assert_close(linear_cross_entropy(hidden, weight, labels).total, theirs, rtol=1e-5, atol=1e-5)


def test_what_is_refused():
    hidden, weight, labels = inputs(2, 4, 5, 11)
    with pytest.raises(ValueError, match="chunk_size=0 is below 1"):
        linear_cross_entropy(hidden, weight, labels, 0)
    with pytest.raises(ValueError, match=r"labels \(2, 3\) do not fit; pass"):
        linear_cross_entropy(hidden, weight, labels[:, :3])
