"""What `mt5-ft push` pushes: the model folder of a path, with its tokenizer, and what its card says."""

import json
from pathlib import Path

from ft_core.model_card import CardFacts
from ft_core.pushed_source import check_base, facts_of_run, find_folder, is_hub_name
from ft_core.run_folder import FINAL_MODEL

from .models.loading import ADAPTER_CONFIG, adapter_base, load_tokenizer
from .models.task import read_task

TOKENIZERS = ("tokenizer.json", "spiece.model")
USAGE = """\
from mt5_ft.models.loading import load_model, load_tokenizer

tokenizer = load_tokenizer("{repo}")
model = load_model("{repo}", tokenizer)"""
MERGE = (
    'merge them first: python -c "from mt5_ft.models.loading import load_model, load_tokenizer; '
    "load_model('{folder}').save_pretrained('MERGED'); load_tokenizer('{folder}').save_pretrained('MERGED')\"; "
    "then push MERGED"
)


def _check_whole(folder: Path) -> None:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}); push the folder of an mT5 model") from error
    if not config.get("is_encoder_decoder"):
        raise ValueError(f"{folder} holds a {config.get('model_type')} model, not encoder-decoder; push an mT5 model")


def mt5_model(path: Path) -> tuple[Path, CardFacts]:
    """The folder to push for a model folder or run folder, and its card.

    Raises:
        ValueError: no such folder, an unfinished run, another kind of model, one without a tokenizer, or adapters to a
            model that nobody else has.
    """
    folder, run = find_folder(path, FINAL_MODEL)
    adapters = (folder / ADAPTER_CONFIG).is_file()
    base = check_base(folder, adapter_base(folder), MERGE.format(folder=folder)) if adapters else None
    if not adapters:
        _check_whole(folder)
    if not any((folder / name).is_file() for name in TOKENIZERS):  # transformers would make an empty one
        raise ValueError(f"{folder} has no tokenizer ({' or '.join(TOKENIZERS)}); save the model's own beside it")
    load_tokenizer(str(folder))
    named, facts = facts_of_run(run)
    named_base = named and not named.get("from_scratch") and named.get("model")
    task = read_task(folder)
    if task:
        facts = {
            "reads": ", ".join(task["source_fields"]),
            "writes": ", ".join(task["target_fields"]),
            "longest input, tokens": f"{task['max_source_length']}",
            **facts,
        }
    return folder, CardFacts(
        kind=f"mT5 {'adapters' if adapters else 'model'} for summaries",
        library="transformers",
        pipeline="summarization",
        tags=["mt5", "summarization", "kronos-ft"],
        usage=USAGE,
        base_model=base or (named_base if is_hub_name(named_base) else None),
        facts=facts,
        limits=["Summaries may leave out or invent things; read them beside their source. This is no clinical tool."],
    )
