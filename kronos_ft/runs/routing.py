"""Routes the settings of `kronos-ft finetune` to the stages. Imports neither torch nor transformers.

A name goes to every stage that has it; with the prefix `tokenizer_`, `predictor_` or `quantiles_` to that stage alone,
whatever the order. `model` is the predictor's and `tokenizer` names the tokenizer to start from.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ft_core.cli.learning_rates import AUTO, LEARNING_RATE
from ft_core.cli.option_table import read_table
from ft_core.cli.settings import nearest_name, read_argv, read_options
from ft_core.runs.record_schema import recorded_group, with_recorded_preset

from ..models.found_model import own_tokenizer
from ..training.presets import DEFAULT_PRESET, STAGE_PRESETS

STAGES = ("tokenizer", "predictor", "quantiles")
DEFAULT_STAGES = STAGES[:2]
# the quantile head takes the predictor before it, and the whole of its training differs
NOT_FOR_QUANTILES = (
    *("model", "tokenizer", "from_scratch", "revision", "preset", "learning_rate", "num_train_epochs", "max_steps"),
    *("eval_steps", "save_steps", "early_stopping", "max_grad_norm", "weight_decay", "metric_for_best_model"),
)
DEFAULT_FOLDER = "runs/finetune"


def route_settings(values: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """Named settings of each stage from settings of both.

    Raises:
        ValueError: a name that no stage has, or that may not differ between them.
    """
    known = {stage: {option.name for option in read_table("kronos_ft", stage)} for stage in STAGES}
    shared: dict[str, dict[str, object]] = {stage: {} for stage in STAGES}
    own: dict[str, dict[str, object]] = {stage: {} for stage in STAGES}
    if str(values.get("lora", values.get("predictor_lora", False))).lower() in ("false", "['false']"):
        shared["predictor"]["select_by"] = "forecasts"  # adapters cannot be interpolated
    for name, value in values.items():
        stage = next((stage for stage in STAGES if name.startswith(f"{stage}_")), None)
        if stage is not None:
            bare = name.removeprefix(f"{stage}_")
            fixed = ("output_dir", "resume", "overwrite", "dry_run", "tokenizer", "time_budget")
            if bare not in known[stage] or bare in fixed or (stage == "quantiles" and bare == "model"):
                raise ValueError(
                    f"--{name} is not a setting of the {stage} stage; {nearest_name(bare, sorted(known[stage]))}"
                )
            own[stage][bare] = value
        elif name == "tokenizer":
            shared["tokenizer"]["model"] = value
        elif name in ("model", "revision"):
            shared["predictor"][name] = value
        elif name == "hub_model_id":  # two models are two repositories
            for each in STAGES:
                shared[each][name] = _with_suffix(value, each)
        elif not any(name in names for names in known.values()):
            raise ValueError(f"--{name} is not a setting; {nearest_name(name, sorted(set.union(*known.values())))}")
        else:
            for each in STAGES:
                if name in known[each] and not (each == "quantiles" and not _is_for_quantiles(name, value)):
                    shared[each][name] = value
    return {stage: shared[stage] | own[stage] for stage in STAGES}


def _is_for_quantiles(name: str, value: object) -> bool:
    """Whether a setting of all stages is one of the quantile head too; of the presets those that it has."""
    words = [str(one) for one in value] if isinstance(value, list) else [str(value)]
    if name == LEARNING_RATE and words == [AUTO]:
        return True  # found for each stage
    if name == "muon_learning_rate" or (name == "optim" and words == ["muon"]):
        return False  # a head on a frozen body has no matrices for it
    return name not in NOT_FOR_QUANTILES or (name == "preset" and set(words) <= {*STAGE_PRESETS["quantiles"]})


def _with_suffix(value: object, stage: str) -> object:
    """`owner/name` as `owner/name-STAGE`, as a word or a list of one."""
    return [f"{one}-{stage}" for one in value] if isinstance(value, list) else f"{value}-{stage}"


def read_finetune(argv: Sequence[str]) -> tuple[Path, dict[str, dict[str, object]]]:
    """The run folder, and the settings that a command line gives each stage, by name and typed.

    Raises:
        ValueError: as [`~ft_core.cli.settings.parse_settings`], and for names that no stage has.
    """
    values = read_argv(argv)
    stages = read_stages(values.pop("stages", [*DEFAULT_STAGES]))
    named = values.pop("output_dir", DEFAULT_FOLDER)
    named = named[0] if isinstance(named, list) and len(named) == 1 else named
    if not isinstance(named, str) or not named:
        raise ValueError(f"output_dir={named!r} is not a folder; pass one name, such as {DEFAULT_FOLDER}")
    folder = Path(named)
    given = {
        stage: read_options(
            read_table("kronos_ft", stage),
            [],
            values={**settings, "output_dir": str(folder / stage)},
            presets=STAGE_PRESETS[stage],
            default_preset=DEFAULT_PRESET,
            program="kronos-ft finetune",
        )
        for stage, settings in route_settings(_with_tokenizer(values, folder)).items()
        if stage in stages
    }
    given = {
        stage: with_recorded_preset(values, STAGE_PRESETS[stage], folder / stage) for stage, values in given.items()
    }
    return folder, given


def _with_tokenizer(values: Mapping[str, object], folder: Path) -> dict[str, object]:
    """The settings; if only a predictor is named, with its tokenizer: that of its folder, or of the size `tiny`.

    A run that is resumed keeps the tokenizer that it started from.
    """
    named, scratch = values.get("model"), values.get("from_scratch", False)
    named = named[0] if isinstance(named, list) and len(named) == 1 else named
    is_given = any(name in values for name in ("tokenizer", "tokenizer_model", "tokenizer_from_scratch"))
    if is_given or not isinstance(named, str):
        return dict(values)
    if str(scratch).lower() not in ("false", "['false']"):
        return dict(values) | ({"tokenizer": "tiny"} if named == "tiny" else {})  # the only one with so few bits
    known = recorded_group(folder / "tokenizer", "model").get("model") if "resume" in values else None
    own = known or own_tokenizer(named)
    return dict(values) | ({} if own is None else {"tokenizer": own})


def read_stages(named: object) -> tuple[str, ...]:
    """The stages of `--stages`, in the order in which they run.

    Raises:
        ValueError: an unknown stage, or a choice without tokenizer and predictor.
    """
    words = [str(word) for word in (named if isinstance(named, list) else [named])]
    for word in words:
        if word not in STAGES:
            raise ValueError(f"stages={' '.join(words)}: {word!r} is not a stage; {nearest_name(word, STAGES)}")
    if not set(DEFAULT_STAGES) <= set(words):
        raise ValueError(
            f"stages={' '.join(words)} must contain tokenizer and predictor; to train one stage, run kronos-ft "
            "tokenizer, predictor or quantiles"
        )
    return tuple(stage for stage in STAGES if stage in words)
