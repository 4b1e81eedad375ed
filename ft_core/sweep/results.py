"""The results of a search: `sweep.json` with all metrics, `trials.csv`, and `best.yaml` for training."""

import json
from pathlib import Path
from typing import Annotated, NotRequired, TypedDict

import msgspec
import pandas as pd
import yaml
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ..io.files import write_json, write_text
from ..io.formats import read_record_file
from ..io.spreadsheet import neutral_frame
from ..runs.folder import SWEEP_FILE
from ..runs.record_schema import RESTORE, now, versions
from .plan import SweepPlan
from .study import REASON, best_trials, ended_trials
from .table import STATES, best_reported, seconds_of, values_of

TRIALS_FILE = "trials.csv"
BEST_FILE = "best.yaml"
IMPORTANCE_FILE = "importance.png"
OWN_FILES = (SWEEP_FILE, TRIALS_FILE, BEST_FILE, IMPORTANCE_FILE)
IDENTITY = "identity"
END_FACTS = ("importance", "test", "repeats", "gain")


class HeldOut(TypedDict):
    """The last trial that was evaluated on the test split, and how many were."""

    looks: Annotated[int, msgspec.Meta(ge=0)]
    figures: NotRequired[dict[str, float | None]]
    trial: NotRequired[int]


class Repeat(TypedDict):
    """A run with a fresh seed, of the best or the default settings."""

    kind: str
    trial: int | None
    seed: int
    objective: float | None
    reason: str | None


class SweepRecord(TypedDict):
    """The fields of `sweep.json` that a resume reads."""

    identity: dict[str, object]
    status: NotRequired[str]
    trials: NotRequired[list[dict[str, object]]]
    importance: NotRequired[dict[str, object]]
    test: NotRequired[HeldOut]
    repeats: NotRequired[list[Repeat]]
    gain: NotRequired[dict[str, object]]


def read_sweep(folder: Path) -> dict | None:
    """The record of the search in a folder, or None.

    Raises:
        ValueError: a file that is no such record.
    """
    path = folder / SWEEP_FILE
    if not path.is_file():
        return None
    return read_record_file(path, RESTORE, SweepRecord)


def _flat(identity: dict) -> dict[str, object]:
    """Groups by `group.name`; a range of the space stays whole."""
    found: dict[str, object] = {}
    for group, value in identity.items():
        if isinstance(value, dict):
            found |= {f"{group}.{name}": item for name, item in value.items()}
        else:
            found[group] = value
    return found


def differences(before: dict, now: dict) -> list[str]:
    """What differs between two identities of a search, each as `name: before -> now`."""
    old, new = _flat(before), _flat(now)
    names = dict.fromkeys([*old, *new])
    return [
        f"{name}: {old.get(name, 'not set')} -> {new.get(name, 'not set')}"
        for name in names
        if old.get(name, "not set") != new.get(name, "not set")
    ]


def trial_facts(trial: FrozenTrial, plan: SweepPlan) -> dict[str, object]:
    """A trial as it stands in `sweep.json`."""
    return {
        "trial": trial.number,
        "state": STATES[trial.state],
        "objective": trial.value if trial.state == TrialState.COMPLETE else None,
        "best_evaluation": best_reported(trial, plan.direction),
        "evaluations": len(trial.intermediate_values),
        "seconds": round(seconds_of(trial), 3),
        "reason": trial.user_attrs.get(REASON),
        "values": trial.params,
        "folder": str(plan.trial_folder(trial.number).relative_to(plan.folder)),
    }


def write_results(study: Study, plan: SweepPlan, identity: dict, status: str, further: dict[str, object]) -> None:
    """Writes `sweep.json` and, once a trial has ended, `trials.csv`; with a finished trial, `best.yaml`.

    Args:
        study: with its trials.
        plan: the search.
        identity (`dict`): facts that must not change on a resume.
        status (`str`): `running`, `finished`, `failed` (no trial finished, or too many in a row failed) or
            `interrupted: BY WHAT`.
        further (`dict`): figures of the end: importance, test, repeats.
    """
    trials = sorted(ended_trials(study), key=lambda trial: trial.number)
    best = best_trials(study)[:1]
    facts = [trial_facts(trial, plan) for trial in trials]
    if facts:
        rows = [
            {name: value for name, value in one.items() if name != "values"}
            | {dimension.name: one["values"].get(dimension.name) for dimension in plan.space}
            for one in facts
        ]
        write_text(plan.folder / TRIALS_FILE, neutral_frame(pd.DataFrame(rows)).to_csv(index=False))
    if best:
        write_text(plan.folder / BEST_FILE, best_yaml(best[0], plan, len(trials)))
    write_json(
        plan.folder / SWEEP_FILE,
        {
            "status": status,
            "written": now(),
            "trials_wanted": plan.trials,
            "best": trial_facts(best[0], plan) if best else None,
            **further,
            IDENTITY: identity,
            "versions": versions(),
            "trials": facts,
        },
    )


def renew_results(study: Study, plan: SweepPlan) -> None:
    """Rewrites the files after a trial; the caller must hold the claim lock. Other metrics are not changed."""
    record = read_sweep(plan.folder) or {IDENTITY: {}}
    further = {name: record[name] for name in END_FACTS if name in record}
    write_results(study, plan, record[IDENTITY], "running", further)


def best_yaml(best: FrozenTrial, plan: SweepPlan, ended: int) -> str:
    """Settings to train with as the best trial did; `--config best.yaml` reads them."""
    chosen = plan.chosen(best.params)
    # a mapping is written on one line as JSON, as a settings file wants it
    values = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in chosen.items()}
    return (
        f"# trial {best.number}, the best of {ended}: {plan.metric} {best.value:.6g} with {values_of(best.params)}\n"
        f"# selecting the best of {ended} makes this value too optimistic: expect a worse one with another seed\n"
        f"# {plan.stage.command} --config {BEST_FILE} --output_dir RUN\n"
        + yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    )
