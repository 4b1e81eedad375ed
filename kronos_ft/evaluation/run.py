"""`kronos-ft evaluate`: from settings to a folder with results, report and pictures."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

import psutil

from ft_core.io.console import echo, lines_to
from ft_core.io.files import write_text
from ft_core.io.progress_lines import LineProgress, span
from ft_core.runs.folder import check_writable
from ft_core.runs.shared_work import joined_group, shared_map, shared_work

from ..baselines.references import default_baselines
from ..data.candles import CandleSeries, fingerprint
from ..data.sources import load_source
from ..forecasting.networks import pairing_remark
from ..forecasting.plots import draw_skill
from ..models.identity import predictor_hashes
from ..scoring.targets import TARGETS
from .arguments import EvaluateArguments
from .facts import LEAST_ORIGINS, models_of
from .leakage import (
    CALIBRATED_ON_TEST,
    OTHER_TOKENIZER,
    SEEN_TEST_BARS,
    calibration_remarks,
    clean_dates,
    training_remarks,
)
from .models import (
    EvaluatedModel,
    ModelSource,
    horizon_remark,
    identity,
    is_tuned_from,
    load_forecasters,
    model_sources,
    with_trained_sizes,
)
from .origins import OriginPlan, Origins, plan_origins, with_step
from .pictures import PICTURES, SKILL_TITLE, draw_pictures, skill_lines
from .report import EVALUATION_FILE, REPORT_FILE, markdown, write_report
from .settings import EvaluationSettings
from .usable_origins import told_origins
from .verdict import verdict
from .walk_forward import check_steps, evaluate_forecasters

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN_SYMBOLS, LONGEST_LINE = 3, 170  # of the short text
OWN_FILES = (EVALUATION_FILE, REPORT_FILE, *PICTURES.values())
PARTS = ".parts"  # folder of finished forecasts of an unfinished evaluation
NO_MATTER = ("output_dir", "overwrite", "verbose", "data")  # settings that change no forecast; candles are compared
FEW_BATCHES = 4  # fewer take no longer than the estimate, and are not kept
USABLE_MEMORY = 0.5  # share of the free memory for forecasts; scoring copies parts of them
GIB = 2**30


def check_space(num_paths: int, horizon: int, origins: int, free: int | None = None) -> None:
    """Checks that the targets of all paths of one forecaster fit into memory.

    Args:
        num_paths, horizon, origins (`int`): number of paths, bars, and origins of both splits.
        free (`int`, *optional*): free bytes; by default measured.

    Raises:
        ValueError: they do not fit; the message contains the largest number of paths that fits.
    """
    per_path = max(origins * horizon * (len(TARGETS) + 1) * 8, 1)  # and the joint closes
    usable = USABLE_MEMORY * (psutil.virtual_memory().available if free is None else free)
    if num_paths * per_path > usable:
        raise ValueError(
            f"num_paths={num_paths} at {origins:,} origins over {horizon} bars need about "
            f"{num_paths * per_path / GIB:.1f} GiB, but only {usable / GIB:.1f} GiB are available; use at most "
            f"{int(usable // per_path)} paths, or lower max_origins"
        )


def _tell_duration(
    forecasters: Sequence[EvaluatedModel],
    series: Sequence[CandleSeries],
    origins: Sequence[Origins],
    total: int,
    settings: EvaluationSettings,
) -> None:
    """Prints how long the forecasts will take, from a first batch of each model; nothing for a few batches."""
    if total <= FEW_BATCHES * settings.batch_size:
        return
    one, found = next((one, found) for one, found in zip(series, origins, strict=True) if len(found))
    chosen = found.indices[: settings.batch_size]
    seconds = 0.0
    for forecaster in forecasters:
        started = time.monotonic()
        forecaster.paths(one, chosen, settings.plan.horizon)
        seconds += (time.monotonic() - started) / len(chosen) * total
    each = " of each model" if len(forecasters) > 1 else ""
    echo(f"time        about {span(max(seconds, 1))} for {total:,} forecasts{each}")


class Evaluation(dict):
    """The content of `evaluation.json` without the verdict; prints as a few lines.

    Attributes:
        folder (`Path`): where the results, the report and the pictures are.
    """

    def __init__(self, found: Mapping[str, object], folder: Path):
        super().__init__(found)
        self.folder = folder

    def __repr__(self) -> str:
        if not self:
            return "Evaluation: its content is on the main process"
        horizon, count = self["settings"]["horizon"], self["origins"]["test"]
        symbols = ", ".join(list(self["data"])[:SHOWN_SYMBOLS]) + ", ..." * (len(self["data"]) > SHOWN_SYMBOLS)
        heading = f"Evaluation of {', '.join(models_of(self))} on {symbols}: {count:,} origins, {horizon} bars ahead"
        warnings = len(self["warnings"])
        noted = f"; {warnings} warning{'s' * (warnings > 1)}" if warnings else ""
        said = [shorten(line, LONGEST_LINE, placeholder=" ...") for line in (heading, verdict(self))]
        return "\n".join([*said, f"{self.folder}{noted}"])

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draws the skill of the close by horizon; filled dots are significant.

        Args:
            ax (`matplotlib.axes.Axes`, *optional*): to draw on; by default new axes of a new figure, which a notebook
                shows.

        Returns:
            the axes; `ax.figure.savefig(FILE)` writes them.
        """
        skills, p_values = skill_lines(self)
        return draw_skill(skills, ax, SKILL_TITLE, p_values=p_values)


def run_evaluation(
    args: EvaluateArguments, say: Callable[[str], None] | None = None, *, share: bool = False
) -> Evaluation:
    """Evaluates models and writes `evaluation.json`, `evaluation.md` and pictures.

    Args:
        args ([`EvaluateArguments`]): the settings; `data` may also be a DataFrame or a [`CandleSeries`], or several.
        say (`Callable`, *optional*): receives each line of text instead of standard output.
        share (`bool`): share the work among the processes of the launch, all of which call this function; otherwise
            this process evaluates alone.

    Returns:
        [`Evaluation`]: a `dict`, the content of `evaluation.json` without the verdict; empty on processes of a launch
        other than the main one.

    Raises:
        ValueError: invalid settings, data or models; raised before anything is written.
    """
    with lines_to(say) if say else nullcontext():
        return _evaluate(args, share)


def _more_origins(series: list[CandleSeries], split: str, plan: OriginPlan) -> str:
    """What gives a split enough origins."""
    found = sum(map(len, plan_origins(series, split, replace(plan, step=1))))
    if found >= LEAST_ORIGINS:
        return f"--step 1 gives {found:,}"
    step = f"--step 1 gives {found:,}; " if plan.step > 1 else ""
    return (
        f"{step}use more bars, a shorter --lookback (now {plan.lookback}) or --embargo (now {plan.embargo_bars} bars), "
        "or give the split a larger share"
    )


def _evaluate(args: EvaluateArguments, share: bool) -> Evaluation:
    folder = Path(args.output_dir)
    joined_group(share)  # gives each process its device
    check_writable(folder)
    if not args.overwrite and any((folder / name).exists() for name in OWN_FILES):
        raise ValueError(f"output_dir={folder} contains an evaluation; pass --overwrite, or another folder")
    sources, asked, asked_horizon = model_sources(args), args.lookback, args.horizon
    args = with_trained_sizes(args, sources)
    settings = args.settings()
    baselines = default_baselines(args.lookback, args.seed, args.garch, args.statistical)
    taken = {one.name for one in sources} & {one.name for one in baselines}
    if taken:
        raise ValueError(f"a model has the name of a baseline, {taken.pop()!r}; give it another name with NAME=DIR")
    series = load_source(args.data, args.policy, args.timezone, args.columns, each=shared_map if share else map)
    check_steps(series)
    if horizon := horizon_remark(args, sources, asked_horizon):
        echo(f"horizon     {horizon}")
    settings = replace(settings, plan=with_step(series, settings.plan))
    origins = {
        split: told_origins(series, plan_origins(series, split, settings.plan), args.horizon, split)
        for split in ("test", "validation")
    }
    counts = {split: sum(map(len, found)) for split, found in origins.items()}
    check_space(args.num_paths, args.horizon, sum(counts.values()))
    for split, found in origins.items():
        before = sum(one.found for one in found)
        found = f", every {settings.plan.step} bars"
        if before > counts[split]:
            found = f" of {before:,} (one every {settings.plan.step} bars), subsampled evenly to max_origins"
        echo(f"{split:12}{counts[split]:,} origins{found}")
        if counts[split] < LEAST_ORIGINS:
            echo(
                f"WARNING     {counts[split]} {split} origins are too few for a conclusion (at least {LEAST_ORIGINS}); "
                f"{_more_origins(series, split, settings.plan)}"
            )
    forecasters = load_forecasters(args, sources, asked)
    remarks = [
        pairing_remark(source.model, source.tokenizer, one.predictor.tokenizer)
        for source, one in zip(sources, forecasters, strict=True)
    ]
    mismatched = [remark for remark in remarks if remark]
    contexts = [source.found.context_remark(source.found.lookback(asked)) for source in sources]
    horizons = [source.found.long_horizon_remark(args.horizon) for source in sources]
    timezones = [source.found.timezone_remark(args.timezone) for source in sources]
    for remark in [*mismatched, *filter(None, [*contexts, *horizons, *timezones])]:
        echo(f"WARNING     {remark}")
    for one in forecasters:
        size = sum(parameter.numel() for parameter in one.predictor.model.parameters())
        echo(f"model       {one.name}, {size:,} parameters on {one.predictor.device.type}")
    identities = [  # before the forecasts, which may change the numerical settings of a model
        identity(source, one.predictor.model, one.predictor.tokenizer, asked)
        for source, one in zip(sources, forecasters, strict=True)
    ]
    for one, source in zip(identities[1:], sources[1:], strict=True):
        if is_tuned_from(source, sources[0]):
            one["tuned_from"] = sources[0].name
    total, asked_sampling = sum(counts.values()), {"T": args.T, "top_p": args.top_p, "top_k": args.top_k}

    def job() -> dict[str, object]:
        matters = {name: value for name, value in vars(args).items() if name not in NO_MATTER}
        weights = [[predictor_hashes(one.predictor), one.sampling_record(**asked_sampling)] for one in forecasters]
        return {"settings": matters, "models": weights, "candles": fingerprint(series)}

    keep_parts = total > FEW_BATCHES * settings.batch_size
    with shared_work(folder / PARTS, job, keep_parts, share) as work:
        if work.is_main:
            _tell_duration(forecasters, series, origins["test"], total, settings)
        evaluation = evaluate_forecasters(
            series,
            forecasters,
            settings,
            baselines=baselines,
            progress=LineProgress("forecast"),
            clean_from=clean_dates(identities),
            work=work,
        )
        if not work.is_main:
            return Evaluation({}, folder)
        evaluation["models"] = identities
        _add_remarks(evaluation, args, sources, forecasters, remarks)
        folder.mkdir(parents=True, exist_ok=True)
        write_report(evaluation, folder)  # first without pictures: an error while drawing must not lose the results
    for name in PICTURES.values():  # of an earlier evaluation
        (folder / name).unlink(missing_ok=True)
    pictures = draw_pictures(evaluation, series, forecasters[-1], origins["test"], folder)
    write_text(folder / REPORT_FILE, markdown(evaluation, pictures))
    return Evaluation(evaluation, folder)


def _add_remarks(
    evaluation: dict,
    args: EvaluateArguments,
    sources: Sequence[ModelSource],
    forecasters: Sequence[EvaluatedModel],
    remarks: Sequence[str | None],
) -> None:
    """Adds how paths were sampled, and what makes the results doubtful; `remarks` are those on each tokenizer."""
    asked_sampling = {"T": args.T, "top_p": args.top_p, "top_k": args.top_k}
    mismatched = [remark for remark in remarks if remark]
    tests = {symbol: one["test"] for symbol, one in evaluation["data"].items()}
    chosen_on: dict[str, tuple[list[str], list[str]]] = {}
    for one in forecasters:
        sampling = one.sampling_record(**asked_sampling)
        evaluation["forecasters"][one.name].update(sampling=sampling)
        if sampling and sampling["calibrated"]:
            chosen_on[one.name] = calibration_remarks(one.name, one.sampled_by.forecaster, tests)
    # sampling: of the first model, for readers of earlier versions; that of each is under `forecasters`
    evaluation["settings"] |= {"num_paths": args.num_paths, **args.sampling(sources[0].found)}
    first = {symbol: one["first"] for symbol, one in tests.items()}
    seen, maybe = training_remarks(sources, args, first)
    for certain, doubtful in chosen_on.values():
        seen, maybe = [*seen, *certain], [*maybe, *doubtful]
    evaluation["warnings"] = [*mismatched, *seen]
    doubts = [(source, OTHER_TOKENIZER) for source, remark in zip(sources, remarks, strict=True) if remark]
    doubts += [(source, SEEN_TEST_BARS) for source in sources if training_remarks([source], args, first)[0]]
    doubts += [(source, CALIBRATED_ON_TEST) for source in sources if chosen_on.get(source.name, ([],))[0]]
    evaluation["doubts"] = [{"model": source.name, "kind": kind} for source, kind in doubts]
    evaluation["notes"] = [*evaluation["warnings"], *evaluation["notes"], *maybe]
