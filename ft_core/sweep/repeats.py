"""Retrains best and default settings with new seeds: measures the gain of a search without selection bias.

The score of the best of N trials is biased by the selection. New seeds give an unbiased comparison.
"""

import shutil
import statistics
from collections.abc import Callable

from optuna.trial import FrozenTrial
from scipy import stats

from ..io.console import echo, quiet
from ..io.memory import free_memory
from ..runs.folder import REPEATS, trials_of
from .plan import SweepPlan
from .study import remove_checkpoints
from .trial import TRIAL_FAULTS, fault_in_one_line, objective_of

BEST, DEFAULT = "best", "default"
LEVEL = 0.95


def run_repeats(plan: SweepPlan, best: FrozenTrial, done: list[dict], note: Callable[[list[dict]], None]) -> list[dict]:
    """Trains best and default settings with `repeat_best` further seeds; skips those that are done.

    Args:
        plan: the search.
        best: the best trial.
        done: entries of an earlier call, each with `kind`, `trial`, `seed`, `objective` and `reason`.
        note: receives all entries after each run.

    Returns:
        `list` of `dict`: all entries.
    """
    first = plan.settings(plan.folder, {})[-1].seed + 1
    wanted = [
        {"kind": kind, "trial": best.number if kind == BEST else None, "seed": first + i}
        for i in range(plan.search.repeat_best)
        for kind in (BEST, DEFAULT)
    ]
    # failed repeats run again: the cause (a full disk, a missing file system) may be gone
    entries = [entry for entry in done if _of(entry) in wanted and entry["reason"] is None]
    known = [_of(entry) for entry in entries]
    for one in wanted:
        if one in known:
            continue
        entry = one | _run(plan, one, best)
        shown = f"{plan.metric} {entry['objective']:.6g}" if entry["reason"] is None else f"failed: {entry['reason']}"
        echo(f"repeat      {one['kind']} settings, seed {one['seed']}: {shown}")
        entries.append(entry)
        note(entries)
    return entries


def drop_stale(plan: SweepPlan, further: dict[str, object], best: FrozenTrial) -> None:
    """Removes the gain and the repeats of a trial that is no longer the best, from the record and from disk."""
    entries = further.get("repeats", [])
    kept = [entry for entry in entries if entry["kind"] == DEFAULT or entry["trial"] == best.number]
    if len(kept) < len(entries):
        further["repeats"] = kept
        further.pop("gain", None)
    for folder in (plan.folder / REPEATS).glob(f"{BEST}-*"):
        if not folder.name.startswith(f"{BEST}-{best.number:04d}-"):
            shutil.rmtree(folder, ignore_errors=True)


def _of(entry: dict) -> dict:
    return {name: entry[name] for name in ("kind", "trial", "seed")}


def _run(plan: SweepPlan, one: dict, best: FrozenTrial) -> dict[str, object]:
    """Objective, or the reason why there is none; keeps the record of the run and no large files."""
    named = DEFAULT if one["trial"] is None else f"{BEST}-{one['trial']:04d}"
    folder = plan.folder / REPEATS / f"{named}-seed-{one['seed']}"
    objective = reason = None
    try:
        values = {} if one["trial"] is None else best.params
        settings = plan.settings(folder, values, resume=folder.exists(), seed=one["seed"])
        free_memory()  # from the previous run
        with quiet(notes=False), trials_of(plan.folder):
            plan.stage.run(settings, [])
        objective = objective_of(folder, plan.metric, plan.direction)
    except TRIAL_FAULTS as error:
        reason = fault_in_one_line(error)
    remove_checkpoints(folder)
    shutil.rmtree(folder / plan.stage.model_folder, ignore_errors=True)
    return {"objective": objective, "reason": reason}


def gain_of(entries: list[dict], direction: str) -> dict[str, object]:
    """Mean and standard deviation of both settings over seeds, and the paired gain of the best one.

    A positive gain means that the best settings are better; the 95 % interval is Student's t over the pairs.
    """
    found = {
        kind: {entry["seed"]: entry["objective"] for entry in entries if entry["kind"] == kind and not entry["reason"]}
        for kind in (BEST, DEFAULT)
    }
    facts: dict[str, object] = {
        kind: {
            "seeds": len(values),
            "mean": statistics.fmean(values.values()) if values else None,
            "sd": statistics.stdev(values.values()) if len(values) > 1 else None,
        }
        for kind, values in found.items()
    }
    sign = 1.0 if direction == "minimize" else -1.0
    pairs = [
        sign * (found[DEFAULT][seed] - found[BEST][seed]) for seed in sorted(found[BEST].keys() & found[DEFAULT].keys())
    ]
    if len(pairs) < 2:
        return facts | {"gain": None}
    mean = statistics.fmean(pairs)
    half = statistics.stdev(pairs) / len(pairs) ** 0.5 * float(stats.t.ppf((1 + LEVEL) / 2, len(pairs) - 1))
    return facts | {"gain": {"mean": mean, "low": mean - half, "high": mean + half, "pairs": len(pairs)}}


def gain_lines(facts: dict, metric: str) -> list[str]:
    """Lines on [`gain_of`]."""
    lines = []
    for kind in (BEST, DEFAULT):
        one = facts[kind]
        if one["mean"] is not None:
            spread = f" +- {one['sd']:.2g}" if one["sd"] is not None else ""
            lines.append(f"{kind:12}{metric} {one['mean']:.6g}{spread} over {one['seeds']} fresh seeds")
    gain = facts["gain"]
    if gain is None:
        return [*lines, "gain        unknown: fewer than two seeds finished with both settings"]
    interval = f"{LEVEL:.0%} interval {gain['low']:.3g} to {gain['high']:.3g}, {gain['pairs']} seeds"
    if gain["low"] > 0:
        verdict = "better than the default settings"
    elif gain["high"] < 0:
        verdict = "WORSE than the default settings"
    else:
        verdict = "no significant difference from the default settings"
    return [*lines, f"gain        {gain['mean']:.3g} ({interval}): {verdict}"]
