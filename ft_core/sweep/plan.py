"""The plan of a search: its space, the settings that all trials share, and those of one trial."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..checkpoints.manifest import file_hash
from ..cli.learning_rates import AutoRate, WidthRate
from ..cli.settings import field_names, parse_settings, read_argv
from ..io.files import plain
from ..io.secrets import SECRET_FIELDS
from ..runs.folder import BEST_MODEL, FINAL_MODEL, TRIALS
from .arguments import DEFAULT_TRIALS, SweepArguments
from .space import Dimension, Value, grid_points, read_space
from .stage import HOUSEKEEPING, SweepStage

DEFAULT_FOLDER = "runs/sweep"
WEIGHT_SETTINGS = ("model", "tokenizer")  # settings that may name a folder of weights
_SINGLE = "leave it out, or use it with {command}"
NOT_OF_A_SWEEP = {
    "dry_run": _SINGLE,
    "resume_force": _SINGLE,
    "time_budget": "trials of different lengths cannot be compared; set max_steps",
    # each trial would push to the same repository, and the last one might be the worst
    "push_to_hub": "leave it out and push the best trial's folder afterwards, with the command push",
}


@dataclass(frozen=True)
class SweepPlan:
    """The plan of a search.

    Attributes:
        stage ([`SweepStage`]): the kind of run.
        search ([`SweepArguments`]): how to search.
        space: the settings to search over.
        given (`dict`): settings of all trials as they were given, by name.
        folder (`Path`): the search's own.
        trials (`int`): total number of trials.
        metric (`str`): logged name of the objective.
        direction (`str`): `minimize` or `maximize`.
        resume, overwrite, overwrite_lock (`bool`): how to handle a folder that is not empty.
    """

    stage: SweepStage
    search: SweepArguments
    space: tuple[Dimension, ...]
    given: dict[str, object]
    folder: Path
    trials: int
    metric: str
    direction: str
    resume: bool
    overwrite: bool
    overwrite_lock: bool

    @property
    def points(self) -> list[dict[str, Value]] | None:
        """The points of a grid in the order of trials; None for another method."""
        return grid_points(self.space) if self.search.method == "grid" else None

    def trial_folder(self, number: int) -> Path:
        """The run folder of a trial."""
        return self.folder / TRIALS / f"{number:04d}"

    def settings(self, folder: Path, values: dict[str, Value], resume: bool = False, **further: object) -> tuple:
        """Settings of a run: the common ones, updated by those of the trial.

        Raises:
            ValueError: values that contradict each other.
        """
        return _parse(self.stage, self.given | values | further, folder, resume)

    def chosen(self, values: dict[str, Value]) -> dict[str, object]:
        """The settings that reproduce a trial, by name, as parsed."""
        return self._resolved(values, [*self.given, *values])

    def _resolved(self, values: dict[str, Value], names: Sequence[str]) -> dict[str, object]:
        parts = reversed(self.settings(self.folder, values))
        everything = {name: value for part in parts for name, value in vars(part).items()}
        kept = [name for name in names if name not in SECRET_FIELDS]  # both are written to files
        found = {name: plain(everything[name]) for name in kept}
        found |= {name: value.description() for name, value in found.items() if isinstance(value, WidthRate)}
        return json.loads(json.dumps(found))  # enumerations become text

    def identity(self, data: str) -> dict[str, object]:
        """Facts that must not change when the search is resumed."""
        search = self.search
        preset = self.stage.presets[self.given.get("preset", self.stage.default_preset)]
        return {
            "stage": self.stage.command,
            "method": search.method,
            "sampler_seed": search.sampler_seed,
            "pruner": {"name": search.pruner, "startup": search.prune_startup, "warmup": search.prune_warmup},
            "objective": {"metric": self.metric, "direction": self.direction},
            "space": {dimension.name: dimension.written() for dimension in self.space},
            "settings": self._resolved({}, [*preset, *self.given]),
            "data": {"digest": data},
            "weights": self._weights(),
        }

    def _weights(self) -> dict[str, str]:
        """Hashes of the weights in the folders of the starting model and the tokenizer, by folder name.

        Models of the Hub are not included: each run pins and records their commit.
        """
        named = {
            str(value)
            for part in self.settings(self.folder, {})
            for name, value in vars(part).items()
            if name in WEIGHT_SETTINGS and value is not None
        }
        for dimension in self.space:
            if dimension.name in WEIGHT_SETTINGS:
                named |= {str(choice) for choice in dimension.choices}
        found = {}
        for name in sorted(named):
            files = [
                path for place in ("", BEST_MODEL, FINAL_MODEL) for path in Path(name, place).glob("*.safetensors")
            ]
            if files:
                hashes = [f"{path.name} {file_hash(path)}" for path in sorted(files)]
                found[name] = hashlib.sha256("\n".join(hashes).encode()).hexdigest()
        return found


def _word(value: object) -> object:
    """A value of a command line (a list of words) or of YAML, as one value or a list."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _parse(stage: SweepStage, values: dict[str, object], folder: Path, resume: bool) -> tuple:
    return parse_settings(
        stage.types,
        [],
        values=values | {"output_dir": str(folder), "resume": resume, "overwrite": False},
        presets=stage.presets,
        default_preset=stage.default_preset,
        program=stage.command,
    )


def _try_values(stage: SweepStage, given: dict[str, object], folder: Path, dimension: Dimension, again: bool) -> None:
    """Raises ValueError for a value that a run would refuse, or that makes trials incomparable.

    With `again` the default settings are also trained, so they must be comparable too.
    """
    tried: dict[object, tuple] = {"the default": _parse(stage, given, folder, False)} if again else {}
    for value in dimension.extremes:
        try:
            tried[value] = _parse(stage, given | {dimension.name: value}, folder, False)
        except ValueError as error:
            raise ValueError(f"{dimension.place}: {dimension.name}={value} is refused: {error}") from error
    _check_fixed(stage, given, dimension, tried)
    if stage.ruler is None:
        return
    measured: dict[str, object] = {}
    for value, settings in tried.items():
        ruler, remedy = stage.ruler(settings)
        measured.setdefault(ruler, value)
        if len(measured) > 1:
            (one, first), (other, second) = measured.items()
            raise ValueError(
                f"{dimension.place}: {dimension.name} cannot be searched over: {first} is measured by {one} but "
                f"{second} by {other}; {remedy}"
            )


def _check_fixed(stage: SweepStage, given: dict[str, object], dimension: Dimension, tried: dict[object, tuple]) -> None:
    """Raises ValueError if a value, such as a preset, changes a setting that a search must not change."""
    (first, settings), *others = tried.items()
    expected = _fixed_values(stage, settings)
    for value, settings in others:
        found = _fixed_values(stage, settings)
        differing = [name for name in stage.fixed if name in found and found[name] != expected[name]]
        if not differing:
            continue
        name = differing[0]
        open_ones = [f"--{one}" for one in differing if one not in given]
        remedy = f"pass {', '.join(open_ones)} for all trials, or " if open_ones else ""
        raise ValueError(
            f"{dimension.place}: {dimension.name} cannot be searched over: {name} is {expected[name]} with {first} and "
            f"{found[name]} with {value}, and {stage.fixed[name].split(';')[0]}; {remedy}search over the settings "
            f"themselves instead of {dimension.name}"
        )


def _fixed_values(stage: SweepStage, settings: tuple) -> dict[str, object]:
    """Values of the settings that a search must not change."""
    everything = {name: value for part in reversed(settings) for name, value in vars(part).items()}
    return {name: plain(everything[name]) for name in stage.fixed if name in everything}


def parse_sweep(stage: SweepStage, argv: Sequence[str], program: str) -> SweepPlan:
    """A search from a command line: its own settings, and any setting of the runs for all trials.

    Every choice and both ends of every range are validated, so that an invalid value is refused before the first trial.

    Raises:
        ValueError: one line on what cannot be used.
    """
    given = {name: _word(value) for name, value in read_argv(argv).items()}
    for name, instead in NOT_OF_A_SWEEP.items():  # first: the settings would otherwise ask for a Hub login
        if name in given:
            raise ValueError(f"{name} is not a setting of a sweep; {instead.format(command=stage.command)}")
    parsed = parse_settings(
        (SweepArguments, *stage.types),
        argv,
        presets=stage.presets,
        default_preset=stage.default_preset,
        program=program,
    )
    search, args = parsed[0], parsed[-1]
    if isinstance(args.learning_rate, AutoRate):
        raise ValueError(
            "learning_rate=auto is not a setting of a sweep, whose trials would each find another rate; search over "
            "learning_rate, or pass a number (find-lr gives one)"
        )
    folder = Path(str(given.get("output_dir", DEFAULT_FOLDER)))
    for name in (*field_names((SweepArguments,)), *HOUSEKEEPING):
        given.pop(name, None)
    if search.objective is not None:
        given["metric_for_best_model"] = search.objective
    space = read_space(Path(search.space), stage.types, stage.fixed)
    doubled = [dimension for dimension in space if dimension.name in given]
    if doubled:
        raise ValueError(
            f"{doubled[0].name} is set for all trials and also searched over in {doubled[0].place}; remove one of them"
        )
    args = _parse(stage, given, folder, False)[-1]
    if args.metric_for_best_model is None or str(getattr(args.eval_strategy, "value", args.eval_strategy)) == "no":
        raise ValueError("a sweep needs evaluations and a metric; set eval_strategy and --objective")
    for dimension in space:
        _try_values(stage, given, folder, dimension, bool(search.repeat_best))
    trials = search.trials or DEFAULT_TRIALS
    if search.method == "grid":
        trials = len(grid_points(space))
        if search.trials not in (None, trials):
            raise ValueError(f"trials={search.trials} but the grid has {trials} points; leave --trials out")
    return SweepPlan(
        stage=stage,
        search=search,
        space=space,
        given=given,
        folder=folder,
        trials=trials,
        metric=args.metric_for_best_model,
        direction="maximize" if args.greater_is_better else "minimize",
        resume=bool(parsed[-1].resume),
        overwrite=bool(parsed[-1].overwrite),
        overwrite_lock=bool(parsed[-1].overwrite_lock),
    )
