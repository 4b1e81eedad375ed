"""`kronos-ft push`: finds the model folder of a path, verifies that it loads, and writes its card."""

from pathlib import Path

from transformers.utils import logging

from ft_core.hub.card import NO_OPTIONS, CardFacts, CardOptions
from ft_core.hub.pushed_files import check_base, find_folder
from ft_core.hub.resolve import ADAPTER_CONFIG
from ft_core.runs.folder import BEST_MODEL

from ..models.adapters import read_base
from ..models.identity import weights_hash
from ..models.modeling_kronos import Kronos, KronosTokenizer
from ..models.modeling_quantiles import KronosForQuantiles
from ..models.pretrained import CONFIG_NAME, read_keys
from .card import kronos_card

STAGES = ("tokenizer", "predictor", "quantiles")
NETWORKS = dict(zip(STAGES, (KronosTokenizer, Kronos, KronosForQuantiles), strict=True))


def _check_adapters(folder: Path) -> str | None:
    """The Hub model that the adapters of a folder belong to, or None for a complete model."""
    if not (folder / ADAPTER_CONFIG).is_file():
        return None
    name = read_base(folder)["name"]
    merge = f"merge them first: python -c \"from kronos_ft import Kronos; Kronos.from_pretrained('{folder}')"
    return check_base(folder, name, f"{merge}.save_pretrained('MERGED')\"; then push MERGED")


def stage_of(folder: Path) -> str:
    """Whether a Kronos model folder holds a tokenizer, a predictor or a quantile head (`quantiles`)."""
    keys = read_keys(folder)
    return "tokenizer" if "n_enc_layers" in keys else "quantiles" if "quantile_levels" in keys else "predictor"


def describe_kronos(folder: Path, run: Path | None, options: CardOptions = NO_OPTIONS) -> CardFacts:
    """The content of the card of a Kronos model folder, without loading it and without an evaluation.

    Raises:
        ValueError: no Kronos model, adapters to a model that nobody else has, or options out of range.
    """
    return kronos_card(stage_of(folder), folder, run, options, _check_adapters(folder))


def kronos_model(path: Path, options: CardOptions = NO_OPTIONS) -> tuple[Path, CardFacts]:
    """The folder to push for a model folder or run folder, and its card.

    The model is loaded once, so that what is pushed can be loaded from there.

    Raises:
        ValueError: no such folder, an unfinished run, a run of several stages, no Kronos model, adapters to a model
            that nobody else has, or an evaluation of other weights.
    """
    models = [str(path / stage) for stage in STAGES if (path / stage / BEST_MODEL).is_dir()]
    if models:
        raise ValueError(f"{path} contains several models; push each to its own repository: {', '.join(models)}")
    folder, run = find_folder(path, BEST_MODEL)
    stage = stage_of(folder)
    if stage == "tokenizer" and options.evaluation is not None:
        raise ValueError(
            f"evaluation={options.evaluation} contains forecasts, but {folder} is a tokenizer; push without it"
        )
    _check_adapters(folder)
    logging.disable_progress_bar()
    model = NETWORKS[stage].from_pretrained(folder)
    card = describe_kronos(folder, run, options)
    if stage != "tokenizer":
        from .evaluation_card import add_evaluation  # with scipy, which training can do without

        add_evaluation(card, weights_hash(model), folder, run, options.evaluation)
    return folder, card


def check_kronos_folder(folder: Path) -> None:
    """Raises ValueError unless a folder contains a complete Kronos model, or adapters to one.

    The weights' names and shapes are compared with the configuration; adapters are looked at when they are loaded,
    together with the model that they belong to.
    """
    if not (folder / CONFIG_NAME).is_file():
        raise ValueError(f"the repository has no {CONFIG_NAME}, so it is not a Kronos model; pass another")
    kind = NETWORKS[stage_of(folder)]
    config = kind.read_config(folder)
    if not (folder / ADAPTER_CONFIG).is_file():
        kind.check_weights(folder, config)
