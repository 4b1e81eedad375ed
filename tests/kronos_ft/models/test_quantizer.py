"""Codes, indices and bit order, by brute force and by property."""

import torch
from hypothesis import given, settings, strategies as st

from kronos_ft.models.quantizer import (
    BinarySphericalQuantizer,
    binary_entropy,
    bits_to_index,
    index_to_bits,
    split_index,
)


def test_least_significant_bit_first():
    assert bits_to_index(torch.tensor([1.0, -1.0, -1.0])).item() == 1
    assert bits_to_index(torch.tensor([-1.0, -1.0, 1.0])).item() == 4


def test_s1_is_the_low_bits():
    code = torch.tensor([1.0, 1.0, -1.0, -1.0, 1.0])
    s1, s2 = split_index(bits_to_index(code), 2)
    assert s1.item() == bits_to_index(code[:2]).item() == 3
    assert s2.item() == bits_to_index(code[2:]).item() == 4


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20), st.data())
def test_index_and_bits_are_inverse(n_bits, data):
    indices = torch.tensor(data.draw(st.lists(st.integers(0, 2**n_bits - 1), min_size=1, max_size=8)))
    bits = index_to_bits(indices, n_bits)
    assert set(bits.unique().tolist()) <= {-1.0, 1.0}
    assert torch.equal(bits_to_index(bits), indices)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10), st.integers(1, 10), st.data())
def test_split_and_join_are_inverse(s1_bits, s2_bits, data):
    index = torch.tensor(data.draw(st.integers(0, 2 ** (s1_bits + s2_bits) - 1)))
    s1, s2 = split_index(index, s1_bits)
    assert s1 < 2**s1_bits
    assert s2 < 2**s2_bits
    assert (s1 + (s2 << s1_bits)) == index


def test_signs_scale_zero_and_straight_through_gradient():
    quantizer = BinarySphericalQuantizer(4, group_size=2)
    z = torch.tensor([[[3.0, -1.0, 0.0, 2.0]]], requires_grad=True)
    output = quantizer(z)
    torch.testing.assert_close(output.quantized, torch.tensor([[[0.5, -0.5, -0.5, 0.5]]]))
    torch.testing.assert_close(output.unit.norm(), torch.tensor(1.0))
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0])
    (output.quantized * weights).sum().backward()
    through = z.detach().clone().requires_grad_(True)
    (torch.nn.functional.normalize(through, dim=-1) * 0.5 * weights).sum().backward()
    torch.testing.assert_close(z.grad, through.grad)


def test_unit_is_fp32_under_half_precision():
    output = BinarySphericalQuantizer(4, group_size=2)(torch.randn(1, 2, 4, dtype=torch.bfloat16))
    assert output.unit.dtype == torch.float32


def test_binary_entropy_at_the_ends_and_the_middle():
    entropy = binary_entropy(torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(entropy, torch.tensor([0.0, 0.693147, 0.0]), atol=1e-6, rtol=1e-5)
