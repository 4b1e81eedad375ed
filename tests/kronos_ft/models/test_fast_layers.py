"""Cheaper training: close to the exact step where it must be, equal to it in evaluation, and never ahead of time."""

import copy

import pytest
import torch
from torch.nn import functional as F

from kronos_ft.models.fast_layers import (
    Dropout,
    Linear,
    attend_causally,
    compile_blocks,
    drop,
    forget_compiled,
    keep_mask,
    speed_up,
)
from kronos_ft.models.layers import TransformerBlock


def loss_and_gradient(model, candles):
    output = model(candles)
    loss = F.mse_loss(output.reconstruction, candles) + F.mse_loss(output.reconstruction_pre, candles)
    loss.backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    return loss.detach(), gradient


@pytest.fixture
def candles(train_windows):
    return train_windows.__getitems__(range(16))["target"]


def test_products_in_half_precision_are_close_in_training(tiny_model, candles):
    fast = copy.deepcopy(tiny_model).train()
    speed_up(fast, torch.bfloat16, cheap=True)
    loss, gradient = loss_and_gradient(tiny_model.train(), candles)
    fast_loss, fast_gradient = loss_and_gradient(fast, candles)
    assert fast_loss != loss  # the products were in another precision
    assert fast_loss == pytest.approx(float(loss), rel=1e-2)
    assert F.cosine_similarity(gradient, fast_gradient, dim=0) > 0.995
    assert all(p.dtype == torch.float32 and (p.grad is None or p.grad.dtype == p.dtype) for p in fast.parameters())


def test_evaluation_is_exact(tiny_model, candles):
    fast = copy.deepcopy(tiny_model).eval()
    speed_up(fast, torch.bfloat16, cheap=True)
    expected, found = tiny_model.eval()(candles), fast(candles)
    assert torch.equal(found.reconstruction, expected.reconstruction)
    assert torch.equal(found.unit, expected.unit)


def test_predictor_evaluation_is_exact(tiny_predictor):
    s1, s2 = torch.randint(16, (2, 4, 12)).unbind(0)
    fast = copy.deepcopy(tiny_predictor).eval()
    speed_up(fast, torch.bfloat16, cheap=True)
    expected = tiny_predictor.eval()(s1, s2, s1_targets=s1)
    found = fast(s1, s2, s1_targets=s1)
    assert torch.equal(found.s1_logits, expected.s1_logits)
    assert torch.equal(found.s2_logits, expected.s2_logits)


def test_off_again(tiny_model, candles):
    plain = copy.deepcopy(tiny_model).train()
    speed_up(tiny_model.train(), torch.bfloat16, cheap=True)
    speed_up(tiny_model, None, cheap=False)
    assert torch.equal(tiny_model(candles).reconstruction, plain(candles).reconstruction)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.25])
def test_a_mask_keeps_the_right_share(p, dtype):
    torch.manual_seed(0)
    mask = keep_mask(torch.Size((400, 501)), p, dtype)
    assert mask.dtype == dtype
    values = mask.unique()
    assert len(values) == 2
    assert values[0] == 0
    assert float(values[1]) == pytest.approx(1 / (1 - p), rel=5e-3 if dtype == torch.bfloat16 else 1e-6)
    share = float((mask == 0).float().mean())
    assert share == pytest.approx(p, abs=5 * (p * (1 - p) / mask.numel()) ** 0.5)
    # neighbours in one random word are independent
    dropped = (mask == 0).float().flatten()[: 400 * 500].view(-1, 4)
    assert torch.corrcoef(dropped.T).fill_diagonal_(0).abs().max() < 0.02


def test_masks_follow_the_seed():
    torch.manual_seed(5)
    first = keep_mask(torch.Size((7, 9)), 0.3, torch.float32)
    second = keep_mask(torch.Size((7, 9)), 0.3, torch.float32)
    torch.manual_seed(5)
    assert torch.equal(keep_mask(torch.Size((7, 9)), 0.3, torch.float32), first)
    assert not torch.equal(first, second)


def test_dropout_drops_in_training_alone():
    layer = Dropout(0.5)
    layer.cheap = True
    x = torch.ones(1000)
    assert torch.equal(layer.eval()(x), x)
    assert 0 < int((layer.train()(x) == 0).sum()) < 1000
    assert torch.equal(drop(x, 0.0, True), x)
    assert torch.equal(drop(x, 1.0, True), torch.zeros(1000))


def test_plain_dropout_is_pytorchs():
    layer = Dropout(0.5)
    torch.manual_seed(1)
    found = layer(torch.ones(100))
    torch.manual_seed(1)
    assert torch.equal(found, F.dropout(torch.ones(100), 0.5))


@pytest.mark.parametrize("bars", [5, 300])
def test_explicit_attention_is_the_fused_one(bars):
    query, key, value = torch.randn(3, 2, 2, bars, 8).unbind(0)
    expected = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    halved = [x.to(torch.bfloat16) for x in (query, key, value)]
    found = attend_causally(*halved, 0.0, cheap=True)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=3e-2, rtol=3e-2)


def test_explicit_attention_with_dropout_has_the_right_mean():
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 1, 1, 6, 4).unbind(0)
    expected = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    mean = sum(attend_causally(query, key, value, 0.25, cheap=True) for _ in range(4000)) / 4000
    torch.testing.assert_close(mean, expected, atol=5e-2, rtol=0)


@pytest.mark.parametrize("dropout_p", [0.0, 0.2])
def test_attention_never_looks_ahead(dropout_p):
    query, key, value = torch.randn(3, 2, 2, 9, 8, dtype=torch.bfloat16).unbind(0)
    torch.manual_seed(3)
    before = attend_causally(query, key, value, dropout_p, cheap=True)
    key[:, :, 5:], value[:, :, 5:] = 7.0, -7.0
    torch.manual_seed(3)
    after = attend_causally(query, key, value, dropout_p, cheap=True)
    assert torch.equal(before[:, :, :5], after[:, :, :5])
    assert not torch.equal(before[:, :, 5:], after[:, :, 5:])


def test_cheap_draws_follow_the_probabilities(tiny_predictor):
    torch.manual_seed(0)
    logits = torch.tensor([0.0, 1.0, 2.0, -30.0]).expand(1, 40_000, 4)
    tiny_predictor.cheap = True
    drawn = tiny_predictor.sample_sibling(logits)
    shares = torch.bincount(drawn.flatten(), minlength=4) / drawn.numel()
    torch.testing.assert_close(shares, logits[0, 0].softmax(dim=-1), atol=0.01, rtol=0)
    assert drawn.shape == (1, 40_000)


def test_compiled_blocks_give_the_same_gradients(tiny_model, candles):
    compiled = copy.deepcopy(tiny_model).train()
    used = []

    def wrap(function):
        program = torch.compile(function, backend="aot_eager", dynamic=False)
        return lambda *args: used.append(1) or program(*args)

    blocks = compile_blocks(compiled, TransformerBlock, wrap)
    assert blocks == len(compiled.encoder) + len(compiled.decoder)
    loss, gradient = loss_and_gradient(tiny_model.train(), candles)
    compiled_loss, compiled_gradient = loss_and_gradient(compiled, candles)
    assert len(used) == blocks
    torch.testing.assert_close(compiled_loss, loss, rtol=1e-5, atol=0)
    torch.testing.assert_close(compiled_gradient, gradient, rtol=1e-4, atol=1e-6)
    compiled.eval()(candles)
    assert len(used) == blocks  # evaluation does without
    assert compiled.state_dict().keys() == tiny_model.state_dict().keys()
    forget_compiled(compiled)
    compiled.train()(candles)
    assert len(used) == blocks


def test_linear_keeps_its_weights():
    layer = Linear(4, 3)
    layer.products = torch.bfloat16
    x = torch.randn(2, 4)
    assert layer.train()(x).dtype == torch.bfloat16
    assert layer.weight.dtype == torch.float32
    assert layer.eval()(x).dtype == torch.float32
