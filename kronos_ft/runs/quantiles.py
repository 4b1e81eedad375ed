"""A complete run of the quantile head, from settings to run folder."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from transformers import set_seed

from ft_core.hub.resolve import Start
from ft_core.io.console import echo
from ft_core.io.progress_lines import LineProgress
from ft_core.training.find_lr.search import BODY_RATE, MUON_RATE
from ft_core.training.muon import MUON

from ..models.configuration_kronos import KronosConfig, check_bits
from ..models.descent import published_ancestor
from ..models.found_model import find_model
from ..models.identity import weights_hash
from ..models.modeling_kronos import Kronos, KronosTokenizer
from ..models.modeling_quantiles import KronosForQuantiles, KronosQuantilesConfig
from ..models.pairing import mismatch
from ..models.pretrained import folder_of
from ..training.quantile_arguments import KronosQuantileArguments, QuantileDataArguments, QuantileModelArguments
from ..training.quantile_trainer import KronosQuantileTrainer
from ..windows.augmentation import AugmentationArguments
from ..windows.quantile_windows import CONTEXT_FEATURES, QuantileWindowDataset
from ..windows.tokens import cache_folder
from .data import WindowSplits
from .stage import Stage, run_stage
from .start import build_network, check_context, resolve_start, resolve_tokens

USED_WITH = {  # settings, and the bodies that they are for
    "body_learning_rate": ("full", "lora"),
    **dict.fromkeys(("lora_r", "lora_alpha", "lora_dropout"), ("lora",)),
    **dict.fromkeys(("model", "tokenizer", "revision"), ("frozen", "lora", "full")),
}
PREPARES = {"frozen": "states", "lora": "all tokens", "full": "all tokens", "none": ""}
MOST_STATES = 2**30  # bytes of the states of a frozen body to keep in memory; more are computed in each step
CONE_WINDOWS = 200_000  # training windows, evenly spaced, that the cone is fitted on
BATCH, BLOCK = 256, 4096  # windows at once: through the body, and as raw candles


def predictor_names(model: QuantileModelArguments) -> None:
    """Completes the settings: the predictor of a run, and the tokenizer that it records."""
    named = model.model if model.revision is None else f"{model.model}@{model.revision}"
    found = find_model(named, model.tokenizer, head=False)
    model.tokenizer = str(folder_of(found.tokenizer))
    if Path(model.model).is_dir():
        model.model = found.model


@torch.no_grad()
def pool_states(
    dataset: QuantileWindowDataset,
    model: KronosForQuantiles,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Computes the states of a frozen body for every window, once, if they fit into memory."""
    width = 2 * model.config.d_model
    if len(dataset) * width * 4 > MOST_STATES:
        return
    body = model.to(device).eval()
    states = torch.empty(len(dataset), width)
    for first in range(0, len(dataset), BATCH):
        rows = range(first, min(first + BATCH, len(dataset)))
        tokens = dataset.tokens(rows)
        found = body.pooled(*(tokens[name].to(device) for name in ("s1", "s2", "stamps")))
        states[rows.start : rows.stop] = found.float().cpu()
        if progress is not None:
            progress(rows.stop, len(dataset))
    dataset.states = states


def build_head(
    body: Kronos | None,
    model: QuantileModelArguments,
    train: QuantileWindowDataset,
    seed: int,
    most: int = CONE_WINDOWS,
) -> KronosForQuantiles:
    """The head to train, with the cone of at most so many training windows, on the weights of a predictor."""
    set_seed(seed)
    config = KronosQuantilesConfig.on_body(
        KronosConfig.from_size("tiny") if body is None else body.config,
        horizon=train.shape.horizon,
        lookback=train.shape.lookback,
        num_features=len(CONTEXT_FEATURES),
        head_dim=model.head_dim,
        head_dropout_p=model.head_dropout_p,
        use_body=body is not None,
        lora_r=model.lora_r if model.body == "lora" else 0,
        lora_alpha=model.lora_alpha,
        lora_dropout=model.lora_dropout,
    )
    network = KronosForQuantiles.on_body(body, config)
    network.train_body(model.body in ("full", "lora"))
    rows = np.arange(0, len(train), -(-len(train) // most))
    parts = [train.outcomes(rows[first : first + BLOCK]) for first in range(0, len(rows), BLOCK)]
    network.fit_cone(*(torch.cat(one) for one in zip(*parts, strict=True)))
    return network


def run_quantiles(
    model: QuantileModelArguments,
    data: QuantileDataArguments,
    args: KronosQuantileArguments,
    *,
    start: Start | None = None,
    tokenizer: KronosTokenizer | None = None,
    **options: object,
) -> dict | None:
    """Trains a quantile head from settings to run folder; `dry_run` only prints the plan.

    Args:
        model, data, args: the settings.
        start ([`~ft_core.hub.resolve.Start`], *optional*): the resolved predictor; resolved here when not given.
        tokenizer ([`KronosTokenizer`], *optional*): instead of the one that `model` names.
        options: as in [`~kronos_ft.runs.stage.run_stage`].

    Returns:
        `dict`: the figures of `training_metrics.json`, or None after a dry run.

    Raises:
        ValueError: settings, data or models that cannot be used, or that do not fit each other; nothing has been
            written then but cached tokens.
    """
    with_body = model.body != "none"
    if args.optim == MUON and model.body != "full":
        raise ValueError(
            f"optim=muon trains the matrices of the body's blocks, but body={model.body} trains none; set body full, "
            "or leave optim at adamw_torch_fused"
        )
    unused = [name for name, bodies in USED_WITH.items() if model.body not in bodies]
    defaults = {one.name: one.default for kind in (model, args) for one in fields(kind)}
    for name in unused:
        value = getattr(model, name, getattr(args, name, None))
        if value != defaults[name]:
            echo(f"WARNING     {name}={value} has no effect with body {model.body}")
    if with_body:
        if start is None:
            predictor_names(model)
        check_context(model, data)

    def build(windows: WindowSplits, brief: bool) -> Stage:
        unused = {} if with_body else {"model": None, "tokenizer": None}
        facts: dict[str, object] = {"stage": "quantiles", "model": {**vars(model), **unused}}
        body = codes = None
        if with_body:
            first = start or resolve_start(Kronos, model, args)
            tokens = first if tokenizer else resolve_tokens(first.settings, args)
            codes = tokenizer or build_network(KronosTokenizer, tokens)
            body = build_network(Kronos, first)
            check_bits(body.config, codes.config)
            digest = weights_hash(codes)
            if tokenizer is None and (remark := mismatch(first.settings.model, str(tokens.settings.tokenizer), digest)):
                echo(f"WARNING     {remark}")
            echo(f"tokenizer   {codes.config.s1_bits} + {codes.config.s2_bits} bits, weights {digest[:16]}")
            facts["model"] = {**vars(tokens.settings), "tokenizer_sha256": digest, "body_sha256": weights_hash(body)}
            facts["tokenizer_config"] = codes.config.to_dict()
            facts["descends_from"] = published_ancestor(vars(first.settings))
            codes = codes.to(args.device)
        cache = None if brief else cache_folder(args.token_cache)
        show = args.process_index == 0

        def prepare(name: str) -> QuantileWindowDataset | None:
            split = getattr(windows, name)
            progress = LineProgress(f"{name}: tokenised windows") if show and with_body else None
            return None if split is None else QuantileWindowDataset(split, codes, cache, progress, brief)

        splits = WindowSplits(prepare("train"), prepare("validation"), prepare("test"))
        network = build_head(body, model, splits.train, args.seed, BLOCK if brief else CONE_WINDOWS)
        if model.body == "frozen" and not brief:
            for name in ("train", "validation", "test"):
                if (split := getattr(splits, name)) is not None:
                    progress = LineProgress(f"{name}: windows through the body") if show else None
                    pool_states(split, network, args.device, progress)

        def make(
            network: KronosForQuantiles, args: KronosQuantileArguments, **further: object
        ) -> KronosQuantileTrainer:
            return KronosQuantileTrainer(network, args, splits.train, splits.validation, **further)

        trained = model.body in USED_WITH[BODY_RATE]
        return Stage(
            network,
            make,
            splits,
            facts | {"config": network.config.to_dict()},
            scaled=(MUON_RATE, BODY_RATE) if trained else (),
            prepares=PREPARES[model.body],
        )

    return run_stage("quantiles", build, model, data, AugmentationArguments(), args, **options)
