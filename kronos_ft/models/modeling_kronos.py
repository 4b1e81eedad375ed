"""The Kronos models (arXiv 2508.02739): a tokenizer, which is a causal transformer autoencoder with a binary spherical
bottleneck, and a predictor of its tokens.

Notable:
- State-dict keys, configuration keys, bit order and numerics equal those of the published models.
- One decoder reconstructs from the coarse s1 bits and from the full code; both go through it as one batch.
- Weights stay fp32 under mixed precision; the unit vector in the loss terms is always fp32.
- The predictor predicts the fine token given the coarse token. In training, this is the TRUE coarse token. The
  published scripts use a token sampled from the model; then the target fine token does not belong to it, and the model
  learns to ignore the coarse token.

Shapes: B batch, T bars, F features of a bar, D model width, K = s1_bits + s2_bits.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel
from transformers.utils import ModelOutput

from .configuration_kronos import DEPENDENCY_HEADS, KronosConfig, KronosTokenizerConfig
from .fast_layers import Dropout, RMSNorm, attend_causally
from .layers import (
    Attend,
    DependencyAwareLayer,
    DualHead,
    HierarchicalEmbedding,
    SinusoidalEmbedding,
    TemporalEmbedding,
    TransformerBlock,
    rotary_table,
)
from .pretrained import KronosPreTrainedModel
from .quantizer import BinarySphericalQuantizer, QuantizerOutput, bits_to_index, index_to_bits, split_index


@dataclass
class KronosTokenizerOutput(ModelOutput):
    """Output of [`KronosTokenizer`].

    Attributes:
        reconstruction_pre (`torch.Tensor` of shape `(batch_size, seq_len, d_in)`): from the s1 bits only.
        reconstruction (`torch.Tensor` of shape `(batch_size, seq_len, d_in)`): from the full code.
        quantized (`torch.Tensor` of shape `(batch_size, seq_len, codebook_dim)`): codes, +-1 / sqrt(codebook_dim).
        unit (`torch.Tensor` of shape `(batch_size, seq_len, codebook_dim)`): the unit vector before quantisation, fp32.
    """

    reconstruction_pre: Tensor | None = None
    reconstruction: Tensor | None = None
    quantized: Tensor | None = None
    unit: Tensor | None = None


class KronosTokenizer(KronosPreTrainedModel):
    """Encodes normalised candles to hierarchical tokens, and decodes tokens to candles.

    Example:

    ```python
    tokenizer = KronosTokenizer.from_pretrained("NeoQuasar/Kronos-Tokenizer-base")
    s1, s2 = tokenizer.encode(candles, half=True)  # (B, T, 6) -> two (B, T)
    restored = tokenizer.decode((s1, s2), half=True)  # (B, T, 6)
    ```

    Source: shiyu-coder/Kronos, `KronosTokenizer`. As upstream, a new model has PyTorch's default initialisation.
    """

    keeps_hash = True

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

    def _rotary(self, x: Tensor, positions: Tensor | None = None) -> tuple[Tensor, Tensor]:
        head_dim = self.config.d_model // self.config.n_heads
        return rotary_table(x.shape[1] if positions is None else positions, head_dim, x.device)

    def quantize(self, candles: Tensor) -> QuantizerOutput:
        """Codes of candles of shape `(batch_size, seq_len, d_in)`."""
        hidden = self.embed(candles)
        rotary = self._rotary(hidden)
        for block in self.encoder:
            hidden = block(hidden, rotary)
        return self.tokenizer(self.quant_embed(hidden))

    def reconstruct(
        self, hidden: Tensor, positions: Tensor | None = None, attend: list[Attend] | None = None
    ) -> Tensor:
        """Candles from embedded codes of shape `(batch_size, seq_len, d_model)`.

        Args:
            positions (`torch.LongTensor`, *optional*): positions of the codes, by default from 0.
            attend (*optional*): attention functions, one per block; causal attention by default.
        """
        rotary = self._rotary(hidden, positions)
        for position, block in enumerate(self.decoder):
            hidden = block(hidden, rotary, attend[position] if attend else None)
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
        """Encodes candles to token indices.

        Args:
            candles (`torch.Tensor` of shape `(batch_size, seq_len, d_in)`): normalised candles.
            half (`bool`): return the coarse and the fine index instead of the joint index.

        Returns:
            `torch.LongTensor` of shape `(batch_size, seq_len)`, with the coarse index in the low bits; with `half`, a
            pair (s1, s2) of this shape.
        """
        index = bits_to_index(self.quantize(candles).quantized)
        return split_index(index, self.config.s1_bits) if half else index

    @torch.no_grad()
    def decode(self, index: Tensor | tuple[Tensor, Tensor], half: bool = False) -> Tensor:
        """Decodes token indices to normalised candles; the inverse of [`~KronosTokenizer.encode`].

        Unlike upstream, decoding halves is also correct if s1_bits differs from s2_bits.

        Args:
            index (`torch.LongTensor` of shape `(batch_size, seq_len)`, or a pair of them with `half`): token indices.
            half (`bool`): `index` is the pair (s1, s2).

        Returns:
            `torch.Tensor` of shape `(batch_size, seq_len, d_in)`.
        """
        return self.reconstruct(self.embed_codes(index, half))

    def embed_codes(self, index: Tensor | tuple[Tensor, Tensor], half: bool = False) -> Tensor:
        """Decoder input for token indices, shape `(batch_size, seq_len, d_model)`."""
        if half:
            s1, s2 = index
            bits = torch.cat((index_to_bits(s1, self.config.s1_bits), index_to_bits(s2, self.config.s2_bits)), dim=-1)
        else:
            bits = index_to_bits(index, self.config.codebook_dim)
        return self.post_quant_embed((bits * self.config.codebook_dim**-0.5).to(self.post_quant_embed.weight.dtype))


@dataclass
class KronosOutput(ModelOutput):
    """Output of [`Kronos`].

    Attributes:
        s1_logits (`torch.Tensor` of shape `(batch_size, seq_len, 2^s1_bits)`): the next bar's coarse token.
        s2_logits (`torch.Tensor` of shape `(batch_size, seq_len, 2^s2_bits)`): its fine token, given the coarse token.
    """

    s1_logits: Tensor | None = None
    s2_logits: Tensor | None = None


class Kronos(KronosPreTrainedModel):
    """Predicts the tokens of the next bar: the coarse token, then the fine token given the coarse token.

    Example:

    ```python
    model = Kronos.from_pretrained("NeoQuasar/Kronos-small")
    output = model(s1[:, :-1], s2[:, :-1], stamp[:, :-1], s1_targets=s1[:, 1:])
    ```

    Source: shiyu-coder/Kronos, `Kronos`. Initialisation as upstream: Xavier normal weights and zero biases in linear
    layers, normal embeddings with standard deviation d_model^-0.5.
    """

    config_class = KronosConfig
    main_input_name = "s1_ids"
    cheap = False  # cheap samples in `sample_sibling`, see fast_layers

    def __init__(self, config: KronosConfig):
        super().__init__(config)
        self.token_drop = Dropout(config.token_dropout_p)
        self.embedding = HierarchicalEmbedding(config.s1_bits, config.s2_bits, config.d_model)
        self.time_emb = TemporalEmbedding(config.d_model, config.learn_te)
        self.transformer = nn.ModuleList(
            TransformerBlock(
                config.d_model,
                config.n_heads,
                config.ff_dim,
                config.ffn_dropout_p,
                config.attn_dropout_p,
                config.resid_dropout_p,
            )
            for _ in range(config.n_layers)
        )
        self.norm = RMSNorm(config.d_model)
        self.dep_layer = DependencyAwareLayer(config.d_model, DEPENDENCY_HEADS)
        self.head = DualHead(config.s1_bits, config.s2_bits, config.d_model)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, SinusoidalEmbedding):
            module.reset_parameters()
        elif isinstance(module, nn.Embedding):
            if module.weight.requires_grad:
                nn.init.normal_(module.weight, std=self.config.d_model**-0.5)
        elif isinstance(module, RMSNorm):
            nn.init.ones_(module.weight)

    def embed(self, s1_ids: Tensor, s2_ids: Tensor, stamp: Tensor | None) -> Tensor:
        """Embedded bars `(batch_size, seq_len, d_model)`: tokens plus, if `stamp` is given, calendar features."""
        embedded = self.embedding(s1_ids, s2_ids)
        return self.token_drop(embedded if stamp is None else embedded + self.time_emb(stamp))

    def transform(self, x: Tensor, rotary: tuple[Tensor, Tensor], attend: list[Attend] | None = None) -> Tensor:
        """Hidden states of embedded bars; `attend` replaces causal attention, one function per block."""
        for position, block in enumerate(self.transformer):
            x = block(x, rotary, attend[position] if attend else None)
        return self.norm(x)

    def rotary(self, positions: Tensor | int, n_heads: int | None = None) -> tuple[Tensor, Tensor]:
        """Rotary table of positions for attention with `n_heads` heads (default: as in the blocks)."""
        head_dim = self.config.d_model // (n_heads or self.config.n_heads)
        return rotary_table(positions, head_dim, self.head.proj_s1.weight.device)

    def sample_sibling(self, s1_logits: Tensor) -> Tensor:
        """Samples coarse tokens from logits, as in the published training scripts."""
        probabilities = s1_logits.detach().float().softmax(dim=-1).flatten(0, 1)
        if self.cheap and self.training and probabilities.device.type == "cpu":
            below = probabilities.cumsum(dim=-1)
            drawn = torch.rand(len(below), 1, device=below.device) * below[:, -1:]
            tokens = torch.searchsorted(below, drawn, right=True).clamp_(max=below.shape[-1] - 1)
        else:
            tokens = torch.multinomial(probabilities, 1)
        return tokens.view(s1_logits.shape[:2])

    def forward(
        self,
        s1_ids: Tensor,
        s2_ids: Tensor,
        stamp: Tensor | None = None,
        s1_targets: Tensor | None = None,
        causal: bool = True,
    ) -> KronosOutput:
        """Logits of the next bar at each position.

        Args:
            s1_ids, s2_ids (`torch.LongTensor` of shape `(batch_size, seq_len)`): tokens of bars 0 to T-1.
            stamp (`torch.LongTensor` of shape `(batch_size, seq_len, 5)`, *optional*): minute, hour, weekday, day and
                month of the same bars.
            s1_targets (`torch.LongTensor` of shape `(batch_size, seq_len)`, *optional*): true coarse tokens of bars 1
                to T, the condition of the fine tokens. By default they are sampled from the model's logits, as in the
                published scripts.
            causal (`bool`): False lets the fine token see the future, as in the published validation; only for
                comparison.
        """
        hidden = self.transform(self.embed(s1_ids, s2_ids, stamp), self.rotary(s1_ids.shape[1]))
        s1_logits = self.head.proj_s1(hidden)
        sibling = self.embedding.emb_s1(self.sample_sibling(s1_logits) if s1_targets is None else s1_targets)
        attend = self._attend_causally if causal else None
        mixed = self.dep_layer(sibling, hidden, self.rotary(s1_ids.shape[1], DEPENDENCY_HEADS), attend)
        return KronosOutput(s1_logits=s1_logits, s2_logits=self.head.proj_s2(mixed))

    def _attend_causally(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return attend_causally(query, key, value, 0.0, self.cheap and self.training)

    def decode_s1(self, s1_ids: Tensor, s2_ids: Tensor, stamp: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Coarse logits, and the hidden states `(batch_size, seq_len, d_model)` that they are computed from."""
        hidden = self.transform(self.embed(s1_ids, s2_ids, stamp), self.rotary(s1_ids.shape[1]))
        return self.head.proj_s1(hidden), hidden

    def decode_s2(self, context: Tensor, s1_ids: Tensor) -> Tensor:
        """Fine logits of the bar after `context`, given its coarse token.

        Upstream builds the rotary table for the single query, which has no effect; with `config.rotate_sibling`, query
        and keys are rotated as in training. As upstream, the result has logits for every position of `context`, but
        only the last position is the next bar.

        Args:
            context (`torch.Tensor` of shape `(batch_size, seq_len, d_model)`): hidden states of [`~Kronos.decode_s1`].
            s1_ids (`torch.LongTensor` of shape `(batch_size, 1)`): coarse tokens of the next bar.

        Returns:
            `torch.Tensor` of shape `(batch_size, seq_len, 2^s2_bits)`.

        Raises:
            ValueError: more than one coarse token per row.
        """
        if s1_ids.ndim != 2 or s1_ids.shape[1] != 1:
            raise ValueError(f"s1_ids of shape {tuple(s1_ids.shape)} must be (batch_size, 1): one token per row")
        rotary = self.rotary(context.shape[1], DEPENDENCY_HEADS) if self.config.rotate_sibling else None
        mixed = self.dep_layer.cross_attn(self.embedding.emb_s1(s1_ids), context, rotary)
        return self.head.proj_s2(self.dep_layer.norm(context + mixed))


for _model in (KronosTokenizer, Kronos):  # exist_ok: a module may be imported again, as by importlib.reload
    AutoConfig.register(_model.config_class.model_type, _model.config_class, exist_ok=True)
    AutoModel.register(_model.config_class, _model, exist_ok=True)
