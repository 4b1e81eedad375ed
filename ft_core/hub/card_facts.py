"""Facts of a run record for a model card: recipe, cost and base model; no local path, user or host name."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..checkpoints.listing import checkpoint_step
from ..io.console import printable_values
from ..io.formats import is_number, read_json
from ..runs.folder import METRICS_FILE, RUN_FILE
from ..runs.record_schema import read_record
from .card import CardFacts, CardOptions, pairs
from .card_cost import training_cost
from .origin import is_commit, is_hub_name, origin_of

# settings that decide what a model becomes, with their names on a card
COMMON_RECIPE = {
    "learning_rate": "learning rate",
    "per_device_train_batch_size": "samples per micro-batch",
    "gradient_accumulation_steps": "micro-batches per step",
    "num_train_epochs": "epochs requested",
    "max_steps": "steps requested",
    "weight_decay": "weight decay",
    "adam_beta2": "AdamW beta2",
    "max_grad_norm": "gradient clipping",
    "seed": "seed",
    "early_stopping": "early stopping",
    "metric_for_best_model": "best checkpoint selected by",
}


OFF_AT_ZERO = ("warmup_steps", "tokens_per_batch", "target_tokens_per_step")
MOST_ANCESTORS = 16  # runs that each started from the model of the one before


@dataclass(frozen=True)
class RecordedRun:
    """The record of a run and its final metrics; both are empty without a run."""

    record: dict
    metrics: dict

    def group(self, name: str) -> dict:
        """A part of the record: model, data, arguments, ..."""
        found = self.record.get(name)
        return found if isinstance(found, dict) else {}


def read_run(run: Path | None, folder: Path | None = None) -> RecordedRun:
    """The facts of a run folder, or of one of its checkpoints.

    Only a finished run has final metrics: those of a run in progress may date from before it was resumed, and a
    checkpoint has none. The recorded time is that of the whole run, so an earlier checkpoint has none either.

    Args:
        run (`Path`, *optional*): the run's folder.
        folder (`Path`, *optional*): the folder of the model, which may be a checkpoint.

    Returns:
        [`RecordedRun`]: empty if the folder holds no record.

    Raises:
        ValueError: a record that cannot be read.
    """
    if run is None or not (run / RUN_FILE).is_file():
        return RecordedRun({}, {})
    path = run / METRICS_FILE
    metrics = read_json(path, "remove it and resume the run to write it again", dict) if path.is_file() else {}
    metrics, record = printable_values(metrics), printable_values(read_record(run))
    step = checkpoint_step(folder) if folder is not None else None
    if step is not None and step != record.get("global_step"):
        record = {name: value for name, value in record.items() if name != "seconds"} | {"global_step": step}
    return RecordedRun(record, {} if step is not None or record.get("status") == "running" else metrics)


def named_base(facts: RecordedRun, published: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Hub repository and commit that a run started from, where they are known.

    If the run started from the model of another local run, the base of that run counts, provided that its folder still
    holds that run.
    """
    seen = 0
    while (found := _named_here(facts, published)) is None and seen < MOST_ANCESTORS:
        facts, seen = _ancestor(facts), seen + 1
    return found or (None, None)


def _ancestor(facts: RecordedRun) -> RecordedRun:
    """The run whose model a run started from; empty where that is not known, or is a later run."""
    name, nothing = facts.group("model").get("model"), RecordedRun({}, {})
    if not isinstance(name, str):
        return nothing
    place = next((path for path in (Path(name), Path(name).parent) if (path / RUN_FILE).is_file()), None)
    try:
        found = read_run(place)
    except ValueError:
        return nothing
    return found if str(found.record.get("started")) < str(facts.record.get("started")) else nothing


def _named_here(facts: RecordedRun, published: Mapping[str, str]) -> tuple[str | None, str | None] | None:
    """What a run's own record says; None where it names a folder."""
    model = facts.group("model")
    if not model or model.get("from_scratch"):
        return None, None
    repository, revision, name = (model.get(key) for key in ("repository", "revision", "model"))
    if isinstance(repository, str) and repository:
        return repository, revision if isinstance(revision, str) else None
    name = published.get(name, name) if isinstance(name, str) else None
    return (name, None) if "repository" not in model and is_hub_name(name) else None


def pulled_base(folder: Path) -> tuple[str | None, str | None]:
    """Hub repository and commit of a folder that was pulled and never trained; None where they are not recorded."""
    origin = origin_of(folder)
    return (origin.repository, origin.commit) if origin else (None, None)


def adapters_commit(folder: Path) -> str | None:
    """The commit of the model that a folder's adapters belong to, as they were saved; None where it is not recorded."""
    for name in ("base_model.json", "adapter_config.json"):
        try:
            revision = read_json(folder / name, "", dict).get("revision")
        except ValueError:
            continue
        if isinstance(revision, str) and is_commit(revision):
            return revision
    return None


def recipe_rows(facts: RecordedRun, names: Mapping[str, str]) -> dict[str, str]:
    """The settings that decide what a model becomes, as rows of a table.

    Args:
        facts ([`RecordedRun`]): the run.
        names (`Mapping`): further settings of this kind of run, each with its name on the card.

    Returns:
        `dict`: values as text by their name on the card; empty without recorded arguments.
    """
    arguments = facts.group("arguments")
    if not arguments:
        return {}
    rows = {}
    if facts.group("model").get("from_scratch"):
        rows["start"] = "random weights"
    preset = facts.group("model").get("preset")
    if preset:
        rows["preset"] = f"`{preset}`"
    done, planned = facts.record.get("global_step"), facts.record.get("max_steps")
    if done is not None:
        rows["optimizer steps"] = f"{done} of {planned}" if planned else f"{done}"
    for name, title in {**COMMON_RECIPE, **names}.items():
        value = arguments.get(name, facts.group("model").get(name))
        steps = arguments.get("max_steps")
        by_steps = is_number(steps) and steps > 0
        if value is None or value is False or value == "" or name == ("num_train_epochs" if by_steps else "max_steps"):
            continue
        if value == 0 and name in OFF_AT_ZERO:
            continue
        if name == "warmup_steps" and is_number(value) and value < 1:
            value = f"{100 * value:g} % of all steps"
        rows[title] = "on" if value is True else f"{value:g}" if isinstance(value, float) else f"{value}"
    if facts.record.get("world_size", 1) > 1:
        rows["processes"] = f"{facts.record['world_size']}"
    versions = facts.group("versions")
    known = ", ".join(f"{name} {versions[name]}" for name in ("kronos-ft", "torch", "transformers") if name in versions)
    return rows | ({"trained with": known} if known else {})


def add_training(card: CardFacts, facts: RecordedRun, names: Mapping[str, str], options: CardOptions) -> None:
    """Adds recipe, time, energy and CO2 to a card.

    Args:
        card ([`CardFacts`]): the card, which is changed in place.
        facts ([`RecordedRun`]): the run.
        names (`Mapping`): further settings, as of [`recipe_rows`].
        options ([`CardOptions`]): power draw and carbon intensity.

    Raises:
        ValueError: options out of range.
    """
    rows = recipe_rows(facts, names)
    if rows:
        card.sections.append(("Recipe", pairs(rows)))
    cost = training_cost(facts.record, options.power, options.carbon_intensity)
    if cost is not None:
        card.sections.append(("Time, energy, CO2", pairs(cost.rows())))
        from_scratch = facts.group("model").get("from_scratch") and not card.base_model
        card.emissions = cost.metadata("pre-training" if from_scratch else "fine-tuning")
    if facts.record.get("status") == "running":
        done, planned = facts.record.get("global_step"), facts.record.get("max_steps")
        card.summary.append(f"**Training is in progress: this is step {done} of {planned}.**")
