"""Blocks as forecasts run them: the numbers of the model's own."""

import copy

import pytest
import torch
from torch import nn

from kronos_ft.forecasting.cache import CacheStack, fill_blocks, normalise, rotate, run_blocks
from kronos_ft.models.layers import RMSNorm, apply_rotary

ROWS, BARS = 3, 17


@pytest.fixture
def embedded(networks):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(ROWS, BARS, networks[0].config.d_model, generator=generator)


def caches(model):
    return CacheStack(len(model.transformer), 1, 4)


@pytest.fixture
def model(networks):
    return copy.deepcopy(networks[0])


@torch.no_grad()
def test_hidden_states_are_those_of_the_model(model, embedded):
    rotary = model.rotary(BARS)
    found = normalise(run_blocks(model.transformer, embedded, rotary, caches(model).fill), model.norm)
    torch.testing.assert_close(found, model.transform(embedded, rotary), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_what_stands_in_place_of_a_projection_is_used(model, embedded):
    class Doubled(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return 2 * self.inner(x)

    attention = model.transformer[0].self_attn
    attention.v_proj = Doubled(attention.v_proj)
    rotary = model.rotary(BARS)
    found = normalise(run_blocks(model.transformer, embedded, rotary, caches(model).fill), model.norm)
    torch.testing.assert_close(found, model.transform(embedded, rotary), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_filling_keeps_the_keys_and_values_of_every_block(model, embedded):
    rotary = model.rotary(BARS)
    filled, run = caches(model), caches(model)
    fill_blocks(model.transformer, embedded, rotary, filled.fill)
    run_blocks(model.transformer, embedded, rotary, run.fill)
    for one, other in zip(filled.layers, run.layers, strict=True):
        for found, expected in zip(one._own_part(), other._own_part(), strict=True):
            assert torch.equal(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_norm_and_rotation_are_those_of_the_layers(networks, dtype):
    generator = torch.Generator().manual_seed(1)
    x = (3 * torch.randn(2, 4, 5, 8, generator=generator)).to(dtype)
    norm = RMSNorm(8)
    norm.weight.data = torch.rand(8, generator=generator).to(dtype)
    cos, sin = torch.randn(2, 5, 8, generator=generator)
    tolerance = {"rtol": 1e-6, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 1e-2, "atol": 1e-2}
    torch.testing.assert_close(normalise(x, norm), norm(x), **tolerance)
    torch.testing.assert_close(rotate(x, cos, sin), apply_rotary(x, cos, sin), **tolerance)
