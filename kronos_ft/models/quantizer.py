"""Binary spherical quantisation (BSQ, arXiv 2406.07548) of the Kronos tokenizer.

Notable:
- A code contains the signs of a unit vector, scaled by 1 / sqrt(D); zero counts as -1.
- Indices are little-endian (least significant bit first); s1 is the LOW bits of the joint index.
- The entropy terms are per bit. Upstream's grouped assignment, code statistics and `indices` metric are unused and
  omitted.

Shapes: B batch, T bars, D = s1_bits + s2_bits.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ENTROPY_EPS = 1e-8


@dataclass
class QuantizerOutput:
    """Output of [`BinarySphericalQuantizer`].

    Attributes:
        quantized (`torch.Tensor` of shape `(batch_size, seq_len, codebook_dim)`):
            Codes, each entry +-1 / sqrt(codebook_dim); straight-through gradient to the unit vector.
        unit (`torch.Tensor` of shape `(batch_size, seq_len, codebook_dim)`):
            The encoder's output on the unit sphere, fp32; input of the loss terms.
    """

    quantized: Tensor
    unit: Tensor


def bits_to_index(bits: Tensor) -> Tensor:
    """Index of a code: bit j is `bits[..., j] >= 0`, least significant bit first.

    Args:
        bits (`torch.Tensor` of shape `(..., n_bits)`): codes; only the signs are used.

    Returns:
        `torch.LongTensor` of shape `(...)`.
    """
    weights = 1 << torch.arange(bits.shape[-1], device=bits.device)
    return ((bits >= 0).long() * weights).sum(dim=-1)


def index_to_bits(index: Tensor, n_bits: int) -> Tensor:
    """Inverse of [`bits_to_index`]: fp32 +-1 of shape `(..., n_bits)`."""
    positions = torch.arange(n_bits, device=index.device)
    return ((index.unsqueeze(-1) >> positions) & 1).float() * 2 - 1


def split_index(index: Tensor, s1_bits: int) -> tuple[Tensor, Tensor]:
    """Splits a joint index into coarse and fine index. (Upstream's embedding swaps the two, which is a bug.)"""
    return index & ((1 << s1_bits) - 1), index >> s1_bits


def bit_probabilities(unit: Tensor) -> Tensor:
    """Soft assignment of each bit, `sigmoid(-4 u / sqrt(D))`, same shape as `unit`."""
    return torch.sigmoid(-4.0 * unit / unit.shape[-1] ** 0.5)


def binary_entropy(p: Tensor) -> Tensor:
    """`-(p ln(p + 1e-8) + (1 - p) ln(1 - p + 1e-8))` element-wise, in nats."""
    return -(p * torch.log(p + ENTROPY_EPS) + (1 - p) * torch.log(1 - p + ENTROPY_EPS))


class BinarySphericalQuantizer(nn.Module):
    """Projects to the unit sphere and takes the signs.

    The unused buffers `bsq.basis` and `bsq.group_basis` are part of the published state dict.

    Args:
        codebook_dim (`int`): D, bits per code.
        group_size (`int`): bits per group, for the published buffer.
    """

    def __init__(self, codebook_dim: int, group_size: int):
        super().__init__()
        self.codebook_dim = codebook_dim
        self.bsq = nn.Module()
        self.bsq.register_buffer("basis", 2 ** torch.arange(codebook_dim - 1, -1, -1))
        self.bsq.register_buffer("group_basis", 2 ** torch.arange(group_size - 1, -1, -1))

    def forward(self, z: Tensor) -> QuantizerOutput:
        unit = F.normalize(z.float(), dim=-1)
        signs = torch.where(unit > 0, 1.0, -1.0)
        quantized = (unit + (signs - unit).detach()) * self.codebook_dim**-0.5
        return QuantizerOutput(quantized=quantized.type_as(z), unit=unit)
