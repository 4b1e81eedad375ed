"""Advice as settings of the next run: a diff to read, and a file to start it with."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields

import yaml

from ..cli.option_table import own_names
from .answers import DATA, PROBLEM, WATCH, Finding
from .catalogue import Texts, clean, load_texts
from .causes import CAUSES, LEAKS, SCALING, by_cause, without_cure
from .facts import INTERRUPTED, KILLED, RunFacts
from .reading import is_number

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
    "time_budget",  # max_steps has what it chose
    *("push_to_hub", "hub_strategy"),  # uploading is asked for anew each time
)
# settings of windows by their name in what a trainer observes
OF_SHAPE = {"lookback_window": "lookback", "predict_window": "horizon", "stride": "stride", "clip": "clip"}
# the rule whose figure a change quotes if it is one of those that ask for it
FIGURE_OF = {"max_grad_norm": "gradients"}


@dataclass(frozen=True)
class Change:
    """A setting for the next run."""

    setting: str
    before: object  # its recorded value; None if it is not recorded
    after: object
    findings: Sequence[Finding]  # those that ask for it, the worst first
    is_default: bool = False  # the new value is the default

    @property
    def rules(self) -> list[str]:
        """The rules that ask for it."""
        return [finding.rule.id for finding in self.findings]

    def figure(self, language: str) -> str:
        """The figure of the first of its findings, or of the one on this very setting."""
        own = [one for one in self.findings if one.rule.id == FIGURE_OF.get(self.setting)]
        return (own or list(self.findings))[0].figure(language)

    def line(self, texts: Texts) -> str:
        """The setting as a line of YAML, with the rules and the figure in a comment."""
        note = texts("default_value") if self.is_default else ""
        comment = f"{note}[{', '.join(self.rules)}] {clean(self.figure(texts.language))}"
        return f"{self.setting}: {yaml_value(self.after)}  # {comment}"

    def before_line(self) -> str:
        """The recorded setting as a line of YAML."""
        return f"{self.setting}: {yaml_value(self.before)}"


def gather_changes(findings: Sequence[Finding], facts: RunFacts) -> list[Change]:
    """The changes that findings advise, one a setting.

    Of several values, that of the worst finding counts, of equals the first; of several learning rates, the lowest.
    """
    asked: dict[str, list[tuple[object, Finding]]] = {}
    for finding in sorted(findings, key=lambda finding: finding.verdict != PROBLEM):
        for setting, value in finding.answer.advice.items():
            if value != facts.settings.get(setting):
                asked.setdefault(setting, []).append((value, finding))
    changes = []
    for setting, found in asked.items():
        value = min(value for value, _ in found) if setting == "learning_rate" else found[0][0]
        is_default = not isinstance(value, bool) and value == facts.view.default(setting)
        changes.append(Change(setting, facts.settings.get(setting), value, [one for _, one in found], is_default))
    return changes


def yaml_value(value: object) -> str:
    """A value as one line of YAML; floats in a form that every YAML reader takes for a float."""
    if isinstance(value, float):
        text = f"{value:.6g}"
        mantissa, mark, exponent = text.partition("e")
        return f"{mantissa}{'' if '.' in mantissa else '.0'}e{exponent}" if mark else text
    return json.dumps(value, ensure_ascii=False)


def _is_plain(value: object) -> bool:
    items = value if isinstance(value, list) else [value]
    return all(item is None or isinstance(item, bool | int | float | str) for item in items)


def _derived(facts: RunFacts) -> dict[str, object]:
    """Settings that follow from others unless they are set; if kept, they would bind the next run's others."""
    lookback, horizon = facts.settings.number("lookback_window"), facts.settings.number("predict_window")
    span = {} if lookback is None or horizon is None else {"embargo": int(lookback + horizon) + 1}
    return {"generation_max_length": facts.settings.get("max_target_length")} | span


def recorded_settings(facts: RunFacts) -> dict[str, object]:
    """Recorded settings that differ from their defaults."""
    types, presets = facts.view.settings()
    preset = facts.settings.text("preset")
    found: dict[str, object] = {"preset": preset} if preset in presets else {}
    defaults: dict[str, object] = {}
    for field in (field for kind in types for field in fields(kind) if field.init):
        defaults[field.name] = field.default_factory() if callable(field.default_factory) else field.default
    defaults |= presets.get(preset, {})
    derived = _derived(facts)
    for name in dict.fromkeys((*own_names(types), *FURTHER)):
        value = facts.settings.get(name)
        if name in LEFT_OUT or name not in defaults or value is None or value == derived.get(name):
            continue
        if value != defaults[name] and (value or defaults[name]) and _is_plain(value):
            found[name] = value
    return found


def observed_settings(facts: RunFacts) -> dict[str, object]:
    """Of a run started by a script, settings of windows and model as far as the trainer observed them."""
    if not facts.is_from_python:
        return {}
    names = own_names(facts.view.settings()[0])
    shape = {name: facts.observed.at("shape", key) for name, key in OF_SHAPE.items() if name in names}
    started = {"from_scratch": True} if facts.is_untrained_at_start and "from_scratch" in names else {}
    return {name: value for name, value in shape.items() if is_number(value)} | started


def next_settings(facts: RunFacts, findings: Sequence[Finding], changes: Sequence[Change], language: str) -> str:
    """A YAML file for the next run: the settings of this one, and the changes with their reasons."""
    texts = load_texts(language, facts.view.package)
    changed = {change.setting for change in changes}
    first, _ = without_cure(findings, [rule for change in changes for rule in change.rules])
    notes = [texts("settings_of", name=facts.name)]
    notes += [texts("not_before", rules=" / ".join(finding.rule.id for finding in first))] if first else []
    notes += [texts("from_python_file" if changes else "no_changes")] if facts.is_from_python else []
    kept = observed_settings(facts) | recorded_settings(facts)
    place = facts.path if facts.path.name not in ("", "..") else facts.path.resolve()
    lines = [f"# {clean(note)}" for note in notes]
    lines += [f"{name}: {yaml_value(value)}" for name, value in kept.items() if name not in changed]
    lines += [f"output_dir: {yaml_value(f'{place}-next')}"]
    lines += [f"# {texts('changes')}"] if changes else []
    text = "\n".join([*lines, *(change.line(texts) for change in changes)]) + "\n"
    assert isinstance(yaml.safe_load(text), dict)
    return text


def next_step(findings: Sequence[Finding], changes: Sequence[Change], texts: Texts) -> str:
    """What to do first: solve the worst problem, else the first advice."""
    problems = [finding for finding in by_cause(findings) if finding.verdict == PROBLEM]
    ended = next((finding for finding in problems if finding.rule.id == "complete"), None)
    if ended is not None:  # a run with other problems is not to be resumed
        problems = [finding for finding in problems if finding.rule.id not in ("complete", "saving")]
        if not problems:
            return texts("next_resume" if ended.answer.case in (INTERRUPTED, KILLED) else "next_anew")
    # data are repaired before settings are changed; of other problems, one that a setting cures comes first
    cured = [finding for finding in problems if any(finding.rule.id in change.rules for change in changes)]
    worst = problems[0] if problems and problems[0].rule.group == DATA else next(iter(cured or problems), None)
    advised = [change for change in changes if worst is None or worst.rule.id in change.rules]
    if advised:
        settings = [f"{change.setting} {yaml_value(change.after)}" for change in advised]
        cause = worst or advised[0].findings[0]
        key = "next_stop" if cause.answer.case in ("stopped_before", "flat_now") else "next_change"
        return texts(key, settings=settings, rule=cause.name(texts.language), **dict(cause.answer.values))
    if problems:
        return texts("next_mend", rule=problems[0].name(texts.language))
    return texts("next_watch" if any(finding.verdict == WATCH for finding in findings) else "next_nothing")


def advice_notes(findings: Sequence[Finding], changes: Sequence[Change]) -> list[tuple[str, list[Finding]]]:
    """Keys of the phrases on what no setting cures, each with the rules that it names."""
    in_data, others = without_cure(findings, [rule for change in changes for rule in change.rules])
    notes: list[tuple[str, list[Finding]]] = []
    if any(finding.rule.id == SCALING for finding in in_data):
        notes.append(("first_fix", []))
        in_data, others = [one for one in in_data if one.rule.id in CAUSES[0] and one.rule.id != SCALING], []
    if in_data:
        notes.append(("no_cure", in_data))
        if any(finding.rule.id in LEAKS for finding in in_data):
            notes.append(("no_comparison", []))
    if others and not changes:
        notes.append(("see_reasons", others))
    return notes
