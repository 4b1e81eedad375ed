"""Kronos tokenizer: a causal transformer autoencoder with a binary spherical bottleneck (arXiv 2508.02739).

Notable:
- State-dict keys, configuration keys, bit order and numerics are those of the published model.
- One decoder reconstructs twice, from the coarse s1 bits alone and from the full code; both go through it as one batch.
- Weights stay fp32 under mixed precision; the unit vector that the loss terms read is always fp32.

Shapes: B batch, T bars, F features of a bar, D model width, K = s1_bits + s2_bits.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.utils import ModelOutput

from .configuration_kronos import KronosTokenizerConfig
from .layers import RMSNorm, TransformerBlock, rotary_table
from .pretrained import KronosPreTrainedModel
from .quantizer import BinarySphericalQuantizer, QuantizerOutput, bits_to_index, index_to_bits, split_index


@dataclass
class KronosTokenizerOutput(ModelOutput):
    """Output of [`KronosTokenizer`].

    Attributes:
        reconstruction_pre (`torch.Tensor` of shape `(batch_size, seq_len, d_in)`): from the s1 bits alone.
        reconstruction (`torch.Tensor` of shape `(batch_size, seq_len, d_in)`): from the full code.
        quantized (`torch.Tensor` of shape `(batch_size, seq_len, codebook_dim)`): codes, +-1 / sqrt(codebook_dim).
        unit (`torch.Tensor` of shape `(batch_size, seq_len, codebook_dim)`): the unit vector before its signs are
            taken, fp32.
    """

    reconstruction_pre: Tensor | None = None
    reconstruction: Tensor | None = None
    quantized: Tensor | None = None
    unit: Tensor | None = None


class KronosTokenizer(KronosPreTrainedModel):
    """Turns normalised candles into hierarchical tokens and back.

    Example:

    ```python
    tokenizer = KronosTokenizer.from_pretrained("NeoQuasar/Kronos-Tokenizer-base")
    s1, s2 = tokenizer.encode(candles, half=True)  # (B, T, 6) -> two (B, T)
    restored = tokenizer.decode((s1, s2), half=True)  # (B, T, 6)
    ```

    Source: shiyu-coder/Kronos, `KronosTokenizer`. A new model has PyTorch's default initialisation, as upstream's.
    """

    config_class = KronosTokenizerConfig
    main_input_name = "candles"

    def __init__(self, config: KronosTokenizerConfig):
        super().__init__(config)
        self.embed = nn.Linear(config.d_in, config.d_model)
        self.head = nn.Linear(config.d_model, config.d_in)
        self.encoder = self._blocks(config, config.n_enc_layers - 1)
        self.decoder = self._blocks(config, config.n_dec_layers - 1)
        self.quant_embed = nn.Linear(config.d_model, config.codebook_dim)
        self.post_quant_embed_pre = nn.Linear(config.s1_bits, config.d_model)
        self.post_quant_embed = nn.Linear(config.codebook_dim, config.d_model)
        self.tokenizer = BinarySphericalQuantizer(config.codebook_dim, config.group_size)
        self.post_init()

    @staticmethod
    def _blocks(config: KronosTokenizerConfig, count: int) -> nn.ModuleList:
        return nn.ModuleList(
            TransformerBlock(
                config.d_model,
                config.n_heads,
                config.ff_dim,
                config.ffn_dropout_p,
                config.attn_dropout_p,
                config.resid_dropout_p,
            )
            for _ in range(count)
        )

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            module.reset_parameters()
        elif isinstance(module, RMSNorm):
            nn.init.ones_(module.weight)

    def _rotary(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return rotary_table(x.shape[1], self.config.d_model // self.config.n_heads, x.device)

    def quantize(self, candles: Tensor) -> QuantizerOutput:
        """Codes of candles of shape `(batch_size, seq_len, d_in)`."""
        hidden = self.embed(candles)
        rotary = self._rotary(hidden)
        for block in self.encoder:
            hidden = block(hidden, rotary)
        return self.tokenizer(self.quant_embed(hidden))

    def reconstruct(self, hidden: Tensor) -> Tensor:
        """Candles from embedded codes of shape `(batch_size, seq_len, d_model)`."""
        rotary = self._rotary(hidden)
        for block in self.decoder:
            hidden = block(hidden, rotary)
        return self.head(hidden)

    def forward(self, candles: Tensor) -> KronosTokenizerOutput:
        """Reconstructs normalised candles from the coarse bits and from the full code.

        Args:
            candles (`torch.Tensor` of shape `(batch_size, seq_len, d_in)`): open, high, low, close, volume, amount,
                normalised per window and clipped.
        """
        codes = self.quantize(candles)
        coarse = self.post_quant_embed_pre(codes.quantized[..., : self.config.s1_bits])
        full = self.post_quant_embed(codes.quantized)
        reconstruction_pre, reconstruction = self.reconstruct(torch.cat((coarse, full))).chunk(2)
        return KronosTokenizerOutput(
            reconstruction_pre=reconstruction_pre,
            reconstruction=reconstruction,
            quantized=codes.quantized,
            unit=codes.unit,
        )

    @torch.no_grad()
    def encode(self, candles: Tensor, half: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Token indices of candles.

        Args:
            candles (`torch.Tensor` of shape `(batch_size, seq_len, d_in)`): normalised candles.
            half (`bool`): return the coarse and the fine index instead of the whole one.

        Returns:
            `torch.LongTensor` of shape `(batch_size, seq_len)`, the coarse index in its low bits; or with `half` the
            pair (s1, s2) of that shape.
        """
        index = bits_to_index(self.quantize(candles).quantized)
        return split_index(index, self.config.s1_bits) if half else index

    @torch.no_grad()
    def decode(self, index: Tensor | tuple[Tensor, Tensor], half: bool = False) -> Tensor:
        """Normalised candles of token indices; the inverse of [`~KronosTokenizer.encode`].

        Upstream decodes halves as if s1_bits equalled s2_bits and is silently wrong otherwise; this does not.

        Args:
            index (`torch.LongTensor` of shape `(batch_size, seq_len)`, or a pair of them with `half`): token indices.
            half (`bool`): `index` is the pair (s1, s2).

        Returns:
            `torch.Tensor` of shape `(batch_size, seq_len, d_in)`.
        """
        if half:
            s1, s2 = index
            bits = torch.cat((index_to_bits(s1, self.config.s1_bits), index_to_bits(s2, self.config.s2_bits)), dim=-1)
        else:
            bits = index_to_bits(index, self.config.codebook_dim)
        codes = (bits * self.config.codebook_dim**-0.5).to(self.post_quant_embed.weight.dtype)
        return self.reconstruct(self.post_quant_embed(codes))
