"""Codes, indices and halves against whole-number arithmetic in Python, for any split of the bits."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from kronos_ft.models.configuration_kronos import KronosTokenizerConfig
from kronos_ft.models.modeling_kronos import KronosTokenizer
from kronos_ft.models.quantizer import BinarySphericalQuantizer, bits_to_index, index_to_bits, split_index
from tests.examples import examples

CODES = st.integers(1, 30).flatmap(
    lambda n_bits: st.lists(st.lists(st.booleans(), min_size=n_bits, max_size=n_bits), min_size=1, max_size=6)
)
SPLITS = st.tuples(st.integers(1, 15), st.integers(1, 15))


def index_by_hand(signs):
    return sum(2**position for position, sign in enumerate(signs) if sign)


@examples(100)
@given(CODES, st.floats(1e-3, 10))
def test_bits_and_index_by_brute_force(codes, size):
    signs = torch.tensor(codes)
    indices = bits_to_index(torch.where(signs, size, -size))
    assert indices.tolist() == [index_by_hand(code) for code in codes]
    assert torch.equal(index_to_bits(indices, signs.shape[1]) > 0, signs)
    assert torch.equal(index_to_bits(indices, signs.shape[1]).abs(), torch.ones(signs.shape))


@examples(100)
@given(SPLITS, st.data())
def test_halves_by_brute_force(split, data):
    s1_bits, s2_bits = split
    indices = data.draw(st.lists(st.integers(0, 2 ** (s1_bits + s2_bits) - 1), min_size=1, max_size=8))
    whole = torch.tensor(indices)
    s1, s2 = split_index(whole, s1_bits)
    assert s1.tolist() == [index % 2**s1_bits for index in indices]
    assert s2.tolist() == [index // 2**s1_bits for index in indices]
    assert torch.equal(s1 + (s2 << s1_bits), whole)
    halves = torch.cat((index_to_bits(s1, s1_bits), index_to_bits(s2, s2_bits)), dim=-1)
    assert torch.equal(halves, index_to_bits(whole, s1_bits + s2_bits))


@settings(max_examples=20)
@given(st.integers(1, 5), st.integers(1, 5))
def test_every_pair_of_halves_is_one_whole_index(s1_bits, s2_bits):
    s1, s2 = torch.meshgrid(torch.arange(2**s1_bits), torch.arange(2**s2_bits), indexing="ij")
    whole = s1 + (s2 << s1_bits)
    assert sorted(whole.flatten().tolist()) == list(range(2 ** (s1_bits + s2_bits)))


@settings(max_examples=60)
@given(st.integers(1, 20), st.integers(0, 2**32), st.floats(-12, 12), st.sampled_from(["float32", "bfloat16"]))
def test_a_code_is_the_signs_of_its_input_on_the_unit_sphere(n_bits, seed, level, kind):
    z = torch.from_numpy(np.random.default_rng(seed).normal(size=(2, 3, n_bits)) * 10**level).to(getattr(torch, kind))
    z[0, 0, 0] = 0.0
    output = BinarySphericalQuantizer(n_bits, group_size=1)(z)
    assert output.quantized.dtype == z.dtype
    assert torch.equal(output.quantized > 0, z > 0)
    torch.testing.assert_close(
        output.quantized.float().abs(),
        torch.full(z.shape, n_bits**-0.5),
        rtol=1e-2 if kind == "bfloat16" else 1e-5,
        atol=0,
    )
    assert bits_to_index(output.quantized).tolist() == [
        [index_by_hand(code) for code in row] for row in (z > 0).tolist()
    ]
    assert (output.unit.norm(dim=-1) < 1 + 1e-5).all()


@pytest.fixture(scope="module")
def tokenizers():
    """Tiny tokenizers of a few splits."""
    torch.manual_seed(0)
    config = {"d_model": 16, "n_heads": 2, "ff_dim": 16, "n_enc_layers": 2, "n_dec_layers": 2, "group_size": 1}
    splits = [(1, 1), (5, 5), (3, 8), (9, 2)]
    return [KronosTokenizer(KronosTokenizerConfig(**config, s1_bits=s1, s2_bits=s2)).eval() for s1, s2 in splits]


@settings(max_examples=40)
@given(which=st.integers(0, 3), seed=st.integers(0, 2**32), bars=st.integers(1, 12), scale=st.floats(-3, 1))
def test_tokens_of_any_candles_are_in_range_and_halves_decode_as_the_whole(tokenizers, which, seed, bars, scale):
    model = tokenizers[which]
    s1_bits, s2_bits = model.config.s1_bits, model.config.s2_bits
    candles = torch.from_numpy(np.random.default_rng(seed).normal(size=(2, bars, 6)) * 10**scale).float().clamp(-5, 5)
    whole, (s1, s2) = model.encode(candles), model.encode(candles, half=True)
    assert torch.equal(s1 + (s2 << s1_bits), whole)
    assert 0 <= s1.min() <= s1.max() < 2**s1_bits
    assert 0 <= s2.min() <= s2.max() < 2**s2_bits
    assert torch.equal(model.decode((s1, s2), half=True), model.decode(whole))
    with torch.no_grad():
        torch.testing.assert_close(model.decode(whole), model(candles).reconstruction, rtol=1e-4, atol=1e-5)
        signs = model.quantize(candles).quantized > 0
    assert whole.flatten().tolist() == [index_by_hand(code) for code in signs.flatten(0, 1).tolist()]
