"""Binary spherical quantisation (BSQ, arXiv 2406.07548) as the Kronos tokenizer uses it.

Notable:
- A code is the signs of a unit vector, scaled by 1 / sqrt(D); zero counts as -1.
- Indices take the least significant bit first, and s1 is the LOW bits of the whole index.
- The entropy terms are per bit. Upstream also computes a grouped assignment, code statistics and an `indices` metric
  that nothing reads; they are left out.

Shapes: B batch, T bars, D = s1_bits + s2_bits.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ENTROPY_EPS = 1e-8


@dataclass
class QuantizerOutput:
    """What [`BinarySphericalQuantizer`] returns.

    Attributes:
        quantized (`torch.Tensor` of shape `(batch_size, seq_len, codebook_dim)`):
            Codes, each entry +-1 / sqrt(codebook_dim); the gradient passes straight through to the unit vector.
        unit (`torch.Tensor` of shape `(batch_size, seq_len, codebook_dim)`):
            The encoder's output on the unit sphere, fp32: what the loss terms are computed from.
    """

    quantized: Tensor
    unit: Tensor


def bits_to_index(bits: Tensor) -> Tensor:
    """Index of a code: bit j is `bits[..., j] >= 0`, least significant first.

    Args:
        bits (`torch.Tensor` of shape `(..., n_bits)`): codes, only their signs matter.

    Returns:
        `torch.LongTensor` of shape `(...)`.
    """
    weights = 1 << torch.arange(bits.shape[-1], device=bits.device)
    return ((bits >= 0).long() * weights).sum(dim=-1)


def index_to_bits(index: Tensor, n_bits: int) -> Tensor:
    """Inverse of [`bits_to_index`]: fp32 +-1 of shape `(..., n_bits)`."""
    positions = torch.arange(n_bits, device=index.device)
    return ((index.unsqueeze(-1) >> positions) & 1).float() * 2 - 1


def join_indices(s1: Tensor, s2: Tensor, s1_bits: int) -> Tensor:
    """Whole index from the coarse and the fine one: `s1 + (s2 << s1_bits)`."""
    return s1 + (s2 << s1_bits)


def split_index(index: Tensor, s1_bits: int) -> tuple[Tensor, Tensor]:
    """Coarse and fine index of a whole one. Upstream's embedding splits it the other way round, which is a fault."""
    return index & ((1 << s1_bits) - 1), index >> s1_bits


def bit_probabilities(unit: Tensor) -> Tensor:
    """Soft assignment of each bit, `sigmoid(-4 u / sqrt(D))`, same shape as `unit`."""
    return torch.sigmoid(-4.0 * unit / unit.shape[-1] ** 0.5)


def binary_entropy(p: Tensor) -> Tensor:
    """`-(p ln(p + 1e-8) + (1 - p) ln(1 - p + 1e-8))` element-wise, in nats."""
    return -(p * torch.log(p + ENTROPY_EPS) + (1 - p) * torch.log(1 - p + ENTROPY_EPS))


class BinarySphericalQuantizer(nn.Module):
    """Projects to the unit sphere and takes signs.

    The buffers `bsq.basis` and `bsq.group_basis` are part of the published state dict; nothing here reads them.

    Args:
        codebook_dim (`int`): D, bits of a code.
        group_size (`int`): bits of a group, for the published buffer.
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
