"""What `kronos-ft push` pushes: the model folder of a path, proved to load, and what its card says."""

import json
from pathlib import Path

from transformers.utils import logging

from ft_core.model_card import CardFacts
from ft_core.pushed_source import check_base, facts_of_run, find_folder, is_hub_name
from ft_core.run_folder import BEST_MODEL

from .models.adapters import BASE_FILE
from .models.configuration_kronos import PUBLISHED_PREDICTORS, PUBLISHED_TOKENIZERS
from .models.modeling_kronos import Kronos, KronosTokenizer
from .models.pretrained import ADAPTER_CONFIG, CONFIG_NAME

STAGES = ("tokenizer", "predictor")
USAGE = {
    "tokenizer": 'from kronos_ft import KronosTokenizer\n\ntokenizer = KronosTokenizer.from_pretrained("{repo}")',
    "predictor": (
        "from kronos_ft import Kronos, KronosPredictor, KronosTokenizer\n\n"
        "# the tokenizer must be the one that the model was trained with\n"
        'tokenizer = KronosTokenizer.from_pretrained("TOKENIZER")\n'
        'predictor = KronosPredictor(Kronos.from_pretrained("{repo}"), tokenizer)'
    ),
}


def _check_adapters(folder: Path) -> str | None:
    """The Hub model that a folder's adapters belong to, or None for a whole model."""
    if not (folder / ADAPTER_CONFIG).is_file():
        return None
    name = json.loads((folder / BASE_FILE).read_text(encoding="utf-8"))["name"]
    merge = f"merge them first: python -c \"from kronos_ft import Kronos; Kronos.from_pretrained('{folder}')"
    return check_base(folder, name, f"{merge}.save_pretrained('MERGED')\"; then push MERGED")


def kronos_model(path: Path) -> tuple[Path, CardFacts]:
    """The folder to push for a model folder or run folder, and its card.

    The model is loaded once, so that what is pushed can be loaded from there.

    Raises:
        ValueError: no such folder, an unfinished run, a run of two stages, no Kronos model, or adapters to a model that
            nobody else has.
    """
    if any((path / stage / BEST_MODEL).is_dir() for stage in STAGES):
        raise ValueError(
            f"{path} holds two models; push {path / STAGES[0]} and {path / STAGES[1]}, each to a repository of its own"
        )
    folder, run = find_folder(path, BEST_MODEL)
    try:
        keys = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG_NAME} is not valid JSON ({error}); restore the file") from error
    stage = "tokenizer" if "n_enc_layers" in keys else "predictor"
    base = _check_adapters(folder)
    logging.disable_progress_bar()
    model = (KronosTokenizer if stage == "tokenizer" else Kronos).from_pretrained(folder)
    named, facts = facts_of_run(run)
    sizes = PUBLISHED_TOKENIZERS if stage == "tokenizer" else PUBLISHED_PREDICTORS
    named_base = named and not named.get("from_scratch") and sizes.get(named.get("model"), named.get("model"))
    tokenizer = named and PUBLISHED_TOKENIZERS.get(named.get("tokenizer"), named.get("tokenizer"))
    usage = USAGE[stage]
    if stage == "predictor":
        usage = usage.replace("TOKENIZER", tokenizer if is_hub_name(tokenizer) else "OWNER/TOKENIZER")
        if named and named.get("tokenizer_sha256"):
            facts["tokenizer, hash of its weights"] = f"`{named['tokenizer_sha256'][:16]}`"
    size = sum(parameter.numel() for parameter in model.parameters())
    return folder, CardFacts(
        kind=f"Kronos {stage} for candlesticks",
        library="kronos-ft",
        pipeline="time-series-forecasting",
        tags=["kronos", "time-series", "candlesticks", "finance"],
        usage=usage,
        base_model=base or (named_base if is_hub_name(named_base) else None),
        facts={"parameters": f"{size:,}", **facts},
        limits=[
            "A low loss is no good forecast: compare with naive forecasts first.",
            "Nothing here is investment advice.",
        ],
    )
