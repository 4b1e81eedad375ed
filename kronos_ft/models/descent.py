"""From which models a predictor descends: run by run, through adapters and pulled folders, to the published weights."""

from collections.abc import Mapping
from pathlib import Path

from ft_core.hub.origin import origin_of, read_pulled, split_revision
from ft_core.io.formats import read_json
from ft_core.runs.folder import RUN_FILE
from ft_core.runs.record_schema import recorded_group

from .adapters import BASE_FILE
from .pairing import PAIRING_FILE
from .pretrained import folder_of
from .sizes import PUBLISHED_PREDICTORS, TRAINED_UNTIL

MOST_ANCESTORS = 20  # of a chain of runs, each of which starts from the model of the one before


def ancestors(model: str) -> list[str]:
    """Names and repositories of a predictor and of those that it descends from, the nearest first.

    Follows run records, the base model of adapters and the record of a pull from folder to folder. A run records the
    published weights that it descends from as `descends_from`, in `run.json` and beside the predictor in
    `trained_with.json`.

    Args:
        model (`str`): model folder, run folder, Hub name or published size.
    """
    found, queue = [], [model]
    while queue and len(found) < MOST_ANCESTORS:
        one = queue.pop(0)
        if one in found:
            continue
        found.append(one)
        folder = Path(folder_of(one))
        if not folder.is_dir():
            named = split_revision(one)[0]
            queue += [place for place in (named, PUBLISHED_PREDICTORS.get(named)) if place]
            continue
        origin, pulled = origin_of(folder), read_pulled(folder)
        queue += [place.repository for place in (origin, pulled and pulled.origin) if place]
        record = recorded_group(folder.parent, "model") or recorded_group(folder, "model")
        names = [_value(folder / BASE_FILE, "name")]
        names += [_value(path, "descends_from") for path in (folder / PAIRING_FILE, folder.parent / RUN_FILE)]
        names += [record.get("repository"), record.get("model")] if not record.get("from_scratch") else []
        queue += [name for name in names if isinstance(name, str) and name]
        if (own := folder / "predictor").is_dir():  # a run of several stages
            queue.append(str(own))
    return found


def _value(path: Path, key: str) -> object:
    """A value of a JSON file; None if the file or the key is missing."""
    try:
        return read_json(path, "", dict).get(key)
    except ValueError:
        return None


def published_ancestor(facts: Mapping[str, object]) -> str | None:
    """The repository of the published weights that a run starts from, directly or over other runs; None if unknown.

    Args:
        facts (`Mapping`): the group `model` of its record.
    """
    if facts.get("from_scratch"):
        return None
    named = [facts.get("repository"), facts.get("model")]
    found = [one for name in named if isinstance(name, str) and name for one in ancestors(name)]
    return next((one for one in found if one in TRAINED_UNTIL), None)
