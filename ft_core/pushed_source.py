"""From what was named to what is pushed: the model folder of a run, its record, and the base of its adapters."""

import json
from pathlib import Path

from .hub_origin import is_hub_name
from .run_folder import BEST_MODEL, FINAL_MODEL, METRICS_FILE, RUN_FILE
from .run_record import read_record
from .saved_weights import CONFIGS


def find_folder(path: Path, kept: str) -> tuple[Path, Path | None]:
    """The model folder of a model folder or run folder, and the run that it is of, where there is one.

    Args:
        path: what was named.
        kept: name of the folder in which a finished run keeps its model.

    Raises:
        ValueError: no such folder, a run that kept no model, or a folder without a configuration.
    """
    if not path.is_dir():
        raise ValueError(f"{path} is {'a file' if path.exists() else 'not there'}; name a model folder or a run folder")
    if (path / kept).is_dir():
        return path / kept, path
    if (path / RUN_FILE).is_file():
        raise ValueError(
            f"the run in {path} has no {kept}/, so it did not finish; go on with --resume, or push a checkpoint"
        )
    if not any((path / name).is_file() for name in CONFIGS):
        raise ValueError(f"{path} is no model folder (no {' and no '.join(CONFIGS)}) and no run folder; name one")
    above = path.resolve().parent
    of_run = path.resolve().name in (BEST_MODEL, FINAL_MODEL) and (above / RUN_FILE).is_file()
    return path, above if of_run else None


def facts_of_run(run: Path | None) -> tuple[dict | None, dict[str, str]]:
    """The model settings on a run's record, where it has them, and what its card says of the training.

    Raises:
        ValueError: a record that cannot be read.
    """
    if run is None or not (run / RUN_FILE).is_file():
        return None, {}
    record = read_record(run)
    facts = {"steps": f"{record.get('global_step')}"}
    versions = record.get("versions", {})
    facts["trained with"] = ", ".join(
        f"{name} {versions[name]}" for name in ("kronos-ft", "torch", "transformers") if name in versions
    )
    metrics = json.loads((run / METRICS_FILE).read_text(encoding="utf-8")) if (run / METRICS_FILE).is_file() else {}
    best = metrics.get("best") or {}
    if metrics.get("metric") and isinstance(best.get("value"), float):
        start = f" (before training {metrics['start']:.4f})" if isinstance(metrics.get("start"), float) else ""
        facts[f"best `{metrics['metric']}` in validation"] = f"{best['value']:.4f}{start}"
    loss = metrics.get("validation_loss") or {}
    if isinstance(loss.get("best"), float):
        facts["best validation loss"] = f"{loss['best']:.4f}"
    rouge = (metrics.get("final") or {}).get("rougeL")
    if isinstance(rouge, float):
        facts["rougeL in validation"] = f"{rouge:.1f}"
    return record.get("model"), facts


def check_base(folder: Path, base: str, merge: str) -> str:
    """The Hub model that a folder's adapters belong to.

    Args:
        folder: holds the adapters.
        base: the model that they belong to.
        merge: how they are merged into a model of their own.

    Raises:
        ValueError: it is a folder of this machine, which nobody else has.
    """
    if not is_hub_name(base):
        raise ValueError(f"{folder} holds adapters to the local model {base}, which nobody else has; {merge}")
    return base
