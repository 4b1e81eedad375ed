"""`kronos-ft calibrate`: chooses how paths are sampled, by the CRPS of forecasts on the validation split.

The published temperature 1 and top_p 0.9 cut the tails, and their intervals are too narrow (upstream issues 179, 323,
325). A small grid is tried with the same random numbers; the best setting is stored beside the weights, with their
hash, and every later forecast uses it. The times of the bars that it was chosen on are stored too: an evaluation on
these bars would not be held out.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ft_core.io.console import echo
from ft_core.io.progress_lines import LineProgress
from ft_core.runs.shared_work import Part, joined_group, shared_map, shared_work

from ..data.candles import fingerprint
from ..data.sources import load_source
from ..forecasting.arguments import CalibrateArguments
from ..forecasting.networks import load_predictor, remarks_on
from ..models.found_model import FoundModel, find_model
from ..models.identity import predictor_hashes, weights_hash
from ..models.pairing import FORECASTER_FILE, write_forecaster
from ..models.sizes import PUBLISHED_PREDICTORS, named_place
from ..training.arguments import DataArguments
from ..windows.arguments import RATIOS
from .selection import ForecastScore

TEMPERATURES, TOP_PS = (0.8, 0.9, 1.0, 1.1, 1.25), (0.9, 0.97, 1.0)
PARTS = ".calibration.parts"  # folder of finished settings, of several processes
SPLIT_SETTINGS = ("split_ratios", "split_dates", "embargo", "max_gap")


def with_recorded_split(args: CalibrateArguments, found: FoundModel) -> CalibrateArguments:
    """The settings with those of the training run where none are set, so that its test bars stay unseen.

    Shares and dates belong together; a warning if they are set to others than those of the run.
    """
    recorded = found.data_settings()
    is_given = {name: getattr(args, name) not in (None, [*RATIOS]) for name in SPLIT_SETTINGS}
    places = ("split_ratios", "split_dates")
    if recorded and any(is_given[name] and getattr(args, name) != recorded.get(name) for name in places):
        echo("WARNING     the split differs from that of training: the calibration may use bars that evaluate judges")
    taken = [name for name in SPLIT_SETTINGS if not is_given[name] and recorded.get(name) is not None]
    if any(is_given[name] for name in places):
        taken = [name for name in taken if name not in places]
    return replace(args, **{name: recorded[name] for name in taken})


def run_calibration(args: CalibrateArguments, *, share: bool = False) -> dict[str, object]:
    """Scores each temperature and top_p on the validation split and stores the best in `forecaster.json`.

    Args:
        args ([`CalibrateArguments`]): the settings.
        share (`bool`): share the work among the processes of the launch, all of which call this function.

    Returns:
        `dict`: `T`, `top_p`, `crps` in basis points by setting, `origins`, and `file`; empty on processes of a launch
        other than the main one.

    Raises:
        ValueError: a model of the Hub or a quantile head, or data without a validation origin; nothing is written then.
    """
    joined_group(share)  # gives each process its device
    found = find_model(args.model, args.tokenizer, head=False)
    folder = Path(found.model)
    if not folder.is_dir():
        repository = named_place(args.model, PUBLISHED_PREDICTORS)
        raise ValueError(f"{args.model} is not a local folder; pull it first: kronos-ft pull {repository} DIR")
    args = with_recorded_split(args, found)
    lookback, horizon = found.lookback(), found.horizon()
    data = DataArguments(
        data=args.data,
        policy=args.policy,
        timezone=args.timezone,
        columns=args.columns,
        lookback_window=lookback,
        predict_window=horizon,
        clip=found.clip,
        **{name: getattr(args, name) for name in SPLIT_SETTINGS},
    )
    series = load_source(args.data, args.policy, args.timezone, args.columns, each=shared_map if share else map)
    uncalibrated = replace(found, forecaster={**found.forecaster, "predictor_sha256": None})
    predictor = load_predictor(uncalibrated, args.device)
    for remark in remarks_on(found, predictor.tokenizer, lookback, horizon):
        echo(f"WARNING     {remark}")
    score = ForecastScore(series, data, predictor.tokenizer, args.max_origins, args.seed, args.num_paths)
    if not len(score):
        raise ValueError(
            f"the validation split of {args.data} has no origin with {lookback} bars before and {horizon} after it; "
            "use more data or a larger validation share"
        )
    echo(f"validation  {len(score)} origins, {lookback} bars of context, {horizon} bars ahead, {args.num_paths} paths")
    grid = [(temperature, top_p) for temperature in TEMPERATURES for top_p in TOP_PS]
    matters = vars(args) | {"candles": fingerprint(series), "models": predictor_hashes(predictor)}

    def scored(setting: tuple[float, float]) -> Part:
        temperature, top_p = setting
        return {"crps": np.array([1e4 * score(predictor.model, predictor.device, T=temperature, top_p=top_p)])}

    with shared_work(folder / PARTS, lambda: matters, share=share) as work:
        parts = work.parts("setting", grid, scored, progress=LineProgress("settings tried"))
        crps = {setting: float(part["crps"][0]) for setting, part in zip(grid, parts, strict=work.is_main)}
        if not work.is_main:
            return {}
        best = min(grid, key=crps.__getitem__)
        sampling = {"T": best[0], "top_p": best[1], "top_k": 0}
        chosen_on = {"predictor_sha256": weights_hash(predictor.model), "calibrated_on": score.spans}
        write_forecaster(folder, {**sampling, **chosen_on})
    echo(f"{'CRPS, bp':12}" + "".join(f"{f'top_p {top_p:g}':>12}" for top_p in TOP_PS))
    for temperature in TEMPERATURES:
        echo(f"{f'T {temperature:g}':12}" + "".join(f"{crps[temperature, top_p]:>12.2f}" for top_p in TOP_PS))
    gain = 1 - crps[best] / crps[1.0, 0.9]
    echo(f"chosen      T {best[0]:g}, top_p {best[1]:g}: CRPS {gain:+.1%} better than the published T 1, top_p 0.9")
    echo(f"stored      {folder / FORECASTER_FILE}")
    return {
        **sampling,
        "crps": {f"T {t:g}, top_p {p:g}": value for (t, p), value in crps.items()},
        "origins": len(score),
        "file": str(folder / FORECASTER_FILE),
    }
