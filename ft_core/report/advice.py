"""Advice as settings of the next run: a diff to read, and a file to start it with."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields

import yaml

from ..cli.option_table import own_names
from .answers import PROBLEM, Finding
from .facts import RunFacts
from .views import StageView
from .wording import say

# settings of transformers that decide a run and are not declared anew here
FURTHER = (
    *("max_steps", "eval_steps", "save_steps", "logging_steps", "gradient_accumulation_steps", "lr_scheduler_type"),
    *("warmup_steps", "adam_beta1", "adam_beta2", "adam_epsilon", "bf16", "fp16", "seed", "data_seed"),
    *("activation_checkpointing", "dataloader_num_workers", "early_stopping"),
)
# what a file must not repeat: it belongs to one start, or follows from others
LEFT_OUT = (
    *("output_dir", "resume", "overwrite", "overwrite_lock", "resume_force", "dry_run", "exact", "preset", "numerics"),
    *("expected_world_size", "disable_tqdm", "ddp_find_unused_parameters", "token_cache", "eval_on_start"),
    *("push_to_hub", "hub_strategy"),  # where to, and whether for all to see, is said anew
)
# settings of windows by their name in what a trainer observes
OF_SHAPE = {"lookback_window": "lookback", "predict_window": "horizon", "stride": "stride", "clip": "clip"}
# the rule whose figure a change quotes where it is one of those that ask for it
FIGURE_OF = {"max_grad_norm": "gradients"}
DEFAULT = {"en": "(the default) ", "zh": "（默认值）"}
BETWEEN = {True: "true", False: "false", None: "null"}


@dataclass(frozen=True)
class Change:
    """A setting for the next run.

    Attributes:
        before (`object`): its recorded value; None where it is not recorded.
        rules (`Sequence` of `str`): rules that ask for it, the gravest first.
        figure (`str`): the figure that triggered the first of them, or the one that is on the setting itself.
        note (`str`): words on the new value, where it is the default.
    """

    setting: str
    before: object
    after: object
    rules: Sequence[str]
    figure: str
    note: str = ""


def gather_changes(findings: Sequence[Finding], facts: RunFacts, language: str) -> list[Change]:
    """What findings advise, one change a setting: of several values that of the gravest, then the first, finding; of
    several learning rates the lowest."""
    asked: dict[str, list[tuple[object, Finding]]] = {}
    for finding in sorted(findings, key=lambda finding: finding.verdict != PROBLEM):
        for setting, value in finding.outcome.advice.items():
            if value != facts.setting(setting):
                asked.setdefault(setting, []).append((value, finding))
    changes = []
    for setting, found in asked.items():
        value, first = found[0]
        if setting == "learning_rate":
            value = min(value for value, _ in found)
        rules = [finding.rule.id for _, finding in found]
        shown = next((finding for _, finding in found if finding.rule.id == FIGURE_OF.get(setting)), first)
        is_default = not isinstance(value, bool) and value == facts.view.default(setting)
        note = DEFAULT[language] if is_default else ""
        changes.append(Change(setting, facts.setting(setting), value, rules, shown.figure(language), note))
    return changes


def yaml_value(value: object) -> str:
    """A value as one line of YAML, numbers in a form that its readers take for numbers."""
    if isinstance(value, bool) or value is None:
        return BETWEEN[value]
    if isinstance(value, float):
        text = f"{value:.6g}"
        mantissa, mark, exponent = text.partition("e")
        return f"{mantissa}{'' if '.' in mantissa else '.0'}e{exponent}" if mark else text
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict | str) else str(value)


def _comment(change: Change) -> str:
    """One line, whatever is in a figure."""
    return f"{change.note}[{', '.join(change.rules)}] {' '.join(change.figure.split())}"


def diff_lines(changes: Sequence[Change]) -> list[str]:
    """The changes as lines of a diff, each with the rule that asks for it and the figure behind it."""
    lines = []
    for change in changes:
        if change.before is not None:
            lines.append(f"- {change.setting}: {yaml_value(change.before)}")
        lines.append(f"+ {change.setting}: {yaml_value(change.after)}  # {_comment(change)}")
    return lines


def _plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str) or (
        isinstance(value, list) and all(isinstance(item, bool | int | float | str) for item in value)
    )  # fmt: skip


def _derived(facts: RunFacts) -> dict[str, object]:
    """Settings that follow from others where nobody sets them; kept, they would bind the next run's others."""
    lookback, horizon = facts.amount("lookback_window"), facts.amount("predict_window")
    span = {} if lookback is None or horizon is None else {"embargo": int(lookback + horizon) + 1}
    return {"generation_max_length": facts.setting("max_target_length")} | span


def recorded_settings(facts: RunFacts, view: StageView) -> dict[str, object]:
    """Recorded settings that differ from their defaults, so that they must be said to be had again."""
    if view.settings is None:
        return {}
    types, presets = view.settings()
    preset = facts.setting("preset")
    preset = preset if preset in presets else None
    defaults: dict[str, object] = {}
    for kind in types:
        for field in fields(kind):
            if field.init:
                made = field.default_factory() if callable(field.default_factory) else field.default
                defaults[field.name] = made
    defaults |= presets[preset] if preset else {}
    found: dict[str, object] = {"preset": preset} if preset else {}
    for name in dict.fromkeys((*own_names(types), *FURTHER)):
        if name in LEFT_OUT or name not in defaults:
            continue
        value = facts.setting(name)
        if value is not None and value == _derived(facts).get(name):
            continue
        if value is not None and value != defaults[name] and (value or defaults[name]) and _plain(value):
            found[name] = value
    return found


def observed_settings(facts: RunFacts, view: StageView) -> dict[str, object]:
    """Of a run that a script started, settings of windows and model as far as the trainer saw them."""
    if view.settings is None or not facts.is_from_python:
        return {}
    names = set(own_names(view.settings()[0]))
    found = {name: facts.observed("shape", key) for name, key in OF_SHAPE.items()}
    found = {name: value for name, value in found.items() if name in names and isinstance(value, int | float)}
    if facts.is_untrained_at_start and "from_scratch" in names:
        found["from_scratch"] = True
    return found


def next_settings(facts: RunFacts, changes: Sequence[Change], language: str, first: Sequence[str] = ()) -> str:
    """A YAML file for the next run: the settings of this one, and the changes with their reasons.

    Args:
        first: rules whose problems are to be mended before it is of use.
    """
    view = facts.view
    note = {"en": ("settings of", "changes; a comment names the rule and the figure"),
            "zh": ("本次训练的设置", "更改；注释给出规则和依据")}[language]  # fmt: skip
    kept = observed_settings(facts, view) | recorded_settings(facts, view)
    changed = {change.setting for change in changes}
    mark = "：" if language == "zh" else " "
    lines = [f"# {note[0]}{mark}{' '.join(facts.name.split())}"]
    if first:
        lines.append(f"# {say('not_before', language, rules=' / '.join(first))}")
    if facts.is_from_python and changes:
        lines.append(f"# {say('from_python_file', language)}")
    elif facts.is_from_python:
        lines.append(f"# {say('no_changes', language)}")
    lines += [f"{name}: {yaml_value(value)}" for name, value in kept.items() if name not in changed]
    place = facts.path if facts.path.name not in ("", "..") else facts.path.resolve()
    lines.append(f"output_dir: {yaml_value(f'{place}-next')}")
    if changes:
        lines.append(f"# {note[1]}")
    lines += [f"{change.setting}: {yaml_value(change.after)}  # {_comment(change)}" for change in changes]
    text = "\n".join(lines) + "\n"
    assert isinstance(yaml.safe_load(text), dict)
    return text
