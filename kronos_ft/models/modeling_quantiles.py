"""A direct quantile head on a Kronos body: one forward pass gives the distribution of every horizon.

Notable:
- The head starts as a volatility-scaled cone: its last layer is zero, and the output is then the empirical quantiles of
  the standardised training targets. Training can only add what the context tells.
- Quantiles cannot cross: the median is shifted, and the gaps between levels are multiplied by positive factors.
- The outputs over horizons combine a few smooth functions of log(h), so that horizons share what they learn.
- With `use_body` false the head sees the context features alone: a quantile regression, the reference that tells
  whether the body adds anything.

Shapes: B batch, T bars, D model width, F features, H horizons, K targets, Q quantile levels.
"""

import math
from dataclasses import dataclass

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel
from transformers.utils import ModelOutput

from .adapters import inject_adapters
from .configuration_kronos import KronosConfig
from .modeling_kronos import Kronos
from .pretrained import KronosPreTrainedModel

QUANTILE_LEVELS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
NUM_TARGETS, SCALED_TARGETS = 5, 3  # close, high, low in units of volatility; volatility and volume as log ratios
LEAST_GAP = 1e-5  # between two quantiles of the cone
MOST_LOG_FACTOR = 2.0  # limit of each log factor on the gaps of the cone


@strict
class KronosQuantilesConfig(KronosConfig):
    r"""Configuration of a [`KronosForQuantiles`]: the keys of its body's [`KronosConfig`], and:

    Args:
        horizon (`int`): Number of horizons, 1 to H bars.
        lookback (`int`): Bars of context that it was trained with.
        num_features (`int`): Context features, see `kronos_ft.windows.quantile_windows`.
        quantile_levels (`list` of `float`): Levels of the quantiles, increasing, with 0.5.
        head_dim (`int`): Width of the head.
        head_dropout_p (`float`): Dropout probability of the head.
        horizon_functions (`int`): Number of smooth functions over horizons.
        use_body (`bool`): Whether the head sees the states of the body, or the context features alone.
        lora_r, lora_alpha, lora_dropout: Low-rank adapters of the body, saved with the model; rank 0 means none.

    Raises:
        ValueError: a value is out of range or contradicts another.
    """

    model_type = "kronos_quantiles"

    horizon: int = 24
    lookback: int = 90
    num_features: int = 18
    quantile_levels: list[float] | tuple[float, ...] = QUANTILE_LEVELS
    head_dim: int = 64
    head_dropout_p: int | float = 0.1
    horizon_functions: int = 4
    use_body: bool = True
    lora_r: int = 0
    lora_alpha: int = 32
    lora_dropout: int | float = 0.05

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        for name, least in (("horizon", 1), ("lookback", 2), ("num_features", 1), ("head_dim", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} must be at least {least}; correct the configuration")
        if not 1 <= self.horizon_functions <= 32:
            raise ValueError(f"horizon_functions={self.horizon_functions} must be from 1 to 32; use e.g. 4")
        self.quantile_levels = levels = [float(level) for level in self.quantile_levels]
        if levels != sorted(set(levels)) or 0.5 not in levels or not 0 < levels[0] <= levels[-1] < 1:
            raise ValueError(f"quantile_levels={levels} must increase inside (0, 1) and contain 0.5")

    @classmethod
    def published_keys(cls) -> tuple[str, ...]:
        """The keys that a `config.json` must have."""
        return (
            *super().published_keys(),
            *("horizon", "lookback", "num_features", "quantile_levels", "head_dim", "head_dropout_p"),
            *("horizon_functions", "use_body", "lora_r", "lora_alpha", "lora_dropout"),
        )

    @classmethod
    def on_body(cls, body: KronosConfig, **values: object) -> "KronosQuantilesConfig":
        """The configuration of a head on a body."""
        keys = (*KronosConfig.published_keys(), *KronosConfig.optional_keys)
        return cls(**{key: getattr(body, key) for key in keys}, **values)


@dataclass
class KronosQuantilesOutput(ModelOutput):
    """Output of [`KronosForQuantiles`].

    Attributes:
        quantiles (`torch.Tensor` of shape `(batch_size, horizon, num_targets, num_levels)`): standardised, see
            `kronos_ft.windows.quantile_windows.horizon_targets`; increasing along the last axis.
    """

    quantiles: Tensor | None = None


def horizon_table(count: int, horizon: int) -> Tensor:
    """Smooth functions of the horizon, cosines of log(h), shape `(count, horizon)`; the first is constant."""
    place = torch.log(torch.arange(1, horizon + 1, dtype=torch.float64)) / math.log(max(horizon, 2))
    return torch.cos(math.pi * torch.arange(count, dtype=torch.float64)[:, None] * place).float()


class QuantileHead(nn.Module):
    """From pooled states and context features to quantiles of every target and horizon."""

    def __init__(self, config: KronosQuantilesConfig):
        super().__init__()
        self.levels = len(config.quantile_levels)
        self.middle = config.quantile_levels.index(0.5)
        width = config.head_dim
        self.from_features = nn.Linear(config.num_features, width)
        if config.use_body:
            self.states_norm = nn.LayerNorm(2 * config.d_model)
            self.from_states = nn.Linear(2 * config.d_model, width, bias=False)
        self.hidden = nn.Linear(width, width)
        self.drop = nn.Dropout(config.head_dropout_p)
        self.out = nn.Linear(width, NUM_TARGETS * (self.levels + 1) * config.horizon_functions)
        self.register_buffer("cone", torch.zeros(NUM_TARGETS, config.horizon, self.levels))
        self.register_buffer("feature_mean", torch.zeros(config.num_features))
        self.register_buffer("feature_scale", torch.ones(config.num_features))
        self.functions, self.horizon = config.horizon_functions, config.horizon

    def forward(self, features: Tensor, states: Tensor | None = None) -> Tensor:
        """Quantiles `(B, H, K, Q)` from features `(B, F)` and pooled states `(B, 2 D)`, in fp32."""
        scaled = ((features.float() - self.feature_mean) / self.feature_scale).clamp(-5, 5)
        mixed = self.from_features(scaled)
        if states is not None:
            mixed = mixed + self.from_states(self.states_norm(states.float()))
        mixed = self.drop(nn.functional.gelu(mixed))
        mixed = self.drop(nn.functional.gelu(self.hidden(mixed)))
        over_horizons = horizon_table(self.functions, self.horizon).to(mixed.device)
        found = self.out(mixed).float().unflatten(-1, (NUM_TARGETS, self.levels + 1, -1)) @ over_horizons
        found = found.transpose(2, 3)  # (B, K, H, Q + 1)
        # column 0 scales the whole distribution; the column of the median shifts it, the others widen one gap each
        scale = found[..., :1].clamp(-MOST_LOG_FACTOR, MOST_LOG_FACTOR)
        shift, widths = found[..., 1 + self.middle, None], found[..., 1:]
        widths = torch.cat((widths[..., : self.middle], widths[..., self.middle + 1 :]), dim=-1)
        gaps = self.cone.diff(dim=-1) * torch.exp(scale + widths.clamp(-MOST_LOG_FACTOR, MOST_LOG_FACTOR))
        centre = self.cone[..., self.middle, None].expand(*found.shape[:-1], 1)
        returns = torch.arange(NUM_TARGETS, device=found.device)[:, None, None] < SCALED_TARGETS
        centre = torch.where(returns, centre * torch.exp(scale), centre) + shift
        below = centre - gaps[..., : self.middle].flip(-1).cumsum(-1).flip(-1)
        above = centre + gaps[..., self.middle :].cumsum(-1)
        return torch.cat((below, centre, above), dim=-1).transpose(1, 2)


class KronosForQuantiles(KronosPreTrainedModel):
    """A Kronos body with a direct quantile head: close, high, low, volatility and volume of horizons 1 to H.

    Example:

    ```python
    model = KronosForQuantiles.from_pretrained("runs/btc/quantiles")
    quantiles = model(s1, s2, stamp, features).quantiles  # (B, H, 5, Q), in units of the context's volatility
    ```
    """

    config_class = KronosQuantilesConfig
    main_input_name = "s1_ids"

    def __init__(self, config: KronosQuantilesConfig):
        super().__init__(config)
        if config.use_body:
            body = {key: getattr(config, key) for key in (*KronosConfig.published_keys(), *KronosConfig.optional_keys)}
            self.body = Kronos(KronosConfig(**body))
            if config.lora_r:
                inject_adapters(self.body, config.lora_r, config.lora_alpha, config.lora_dropout)
        self.head = QuantileHead(config)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, QuantileHead):
            for linear in module.modules():
                if isinstance(linear, nn.Linear):
                    nn.init.xavier_uniform_(linear.weight)
                    if linear.bias is not None:
                        nn.init.zeros_(linear.bias)
            nn.init.zeros_(module.out.weight)

    @classmethod
    def on_body(cls, body: Kronos | None, config: KronosQuantilesConfig) -> "KronosForQuantiles":
        """A new head on the weights of a predictor, which are copied."""
        model = cls(config)
        if body is None or not config.use_body:
            return model
        own = model.body.state_dict()
        for name, value in body.state_dict().items():
            layer, _, kind = name.rpartition(".")
            own[name if name in own else f"{layer}.base_layer.{kind}"] = value
        # adapters start without an effect
        model.body.load_state_dict({n: torch.zeros_like(v) if ".lora_B." in n else v for n, v in own.items()})
        return model

    def train(self, mode: bool = True) -> "KronosForQuantiles":
        """Calls the parent; a frozen body stays in evaluation mode, without dropout."""
        super().train(mode)
        if self.config.use_body and not any(parameter.requires_grad for parameter in self.body.parameters()):
            self.body.eval()
        return self

    def train_body(self, trained: bool) -> None:
        """Freezes the body, or lets the part of it that the head sees (or its adapters) be trained."""
        if not self.config.use_body:
            return
        for name, parameter in self.body.named_parameters():
            parameter.requires_grad_(trained and (".lora_" in name or not self.config.lora_r))
        for unused in (self.body.dep_layer, self.body.head):
            unused.requires_grad_(False)

    @torch.no_grad()
    def fit_cone(self, features: Tensor, targets: Tensor) -> None:
        """Sets the cone and the scale of the features from the training windows.

        Args:
            features (`torch.Tensor` of shape `(N, F)`): context features.
            targets (`torch.Tensor` of shape `(N, H, K)`): standardised outcomes, NaN where not defined.
        """
        levels = torch.tensor(self.config.quantile_levels, dtype=torch.float64)
        for target in range(NUM_TARGETS):
            for step in range(self.config.horizon):
                known = targets[:, step, target].double()
                known = known[~known.isnan()].sort().values
                if len(known):
                    # the k-th of n values is the quantile k / (n + 1)
                    place = (levels * (len(known) + 1) - 1).clamp(0, len(known) - 1)
                    low = place.floor().long()
                    high = (low + 1).clamp(max=len(known) - 1)
                    found = torch.lerp(known[low], known[high], place - low)
                else:
                    found = torch.zeros_like(levels)
                steps = torch.arange(len(levels), dtype=torch.float64) * LEAST_GAP
                self.head.cone[target, step] = (found + steps).to(self.head.cone)
        self.head.feature_mean.copy_(features.double().mean(dim=0))
        scale = features.double().std(dim=0, correction=0)
        self.head.feature_scale.copy_(torch.where(scale > 1e-6, scale, 1.0))

    def pooled(self, s1_ids: Tensor, s2_ids: Tensor, stamp: Tensor) -> Tensor:
        """The body's state at the last bar and its mean over all bars, shape `(B, 2 D)`."""
        body = self.body
        states = body.transform(body.embed(s1_ids, s2_ids, stamp), body.rotary(s1_ids.shape[1]))
        return torch.cat((states[:, -1], states.mean(dim=1)), dim=-1)

    def forward(
        self,
        s1_ids: Tensor | None = None,
        s2_ids: Tensor | None = None,
        stamp: Tensor | None = None,
        features: Tensor | None = None,
        states: Tensor | None = None,
    ) -> KronosQuantilesOutput:
        """Quantiles of the standardised targets.

        Args:
            s1_ids, s2_ids (`torch.LongTensor` of shape `(batch_size, lookback)`): tokens of the context.
            stamp (`torch.LongTensor` of shape `(batch_size, lookback, 5)`): calendar features of the context.
            features (`torch.Tensor` of shape `(batch_size, num_features)`): context features.
            states (`torch.Tensor` of shape `(batch_size, 2 d_model)`, *optional*): [`~KronosForQuantiles.pooled`] of
                the tokens, computed in advance.
        """
        if self.config.use_body and states is None:
            states = self.pooled(s1_ids, s2_ids, stamp)
        return KronosQuantilesOutput(quantiles=self.head(features, states if self.config.use_body else None))


AutoConfig.register(KronosQuantilesConfig.model_type, KronosQuantilesConfig, exist_ok=True)
AutoModel.register(KronosQuantilesConfig, KronosForQuantiles, exist_ok=True)
