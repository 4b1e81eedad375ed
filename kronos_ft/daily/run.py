"""`kronos-ft forecast`: from settings to a table of paths, a quantile file and pictures.

Symbols are forecast in parts. A single process adds rows to the quantile file every 256 symbols: after an interruption,
the same command with `--append` continues with the symbols that the file lacks. The processes of a launch share the
parts, and the first one writes the files when all parts are finished.
"""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow.parquet import ParquetWriter

from ft_core.io.console import echo
from ft_core.io.files import write_file
from ft_core.io.progress_lines import LineProgress
from ft_core.io.spreadsheet import neutral_frame
from ft_core.runs.lock import launched_processes
from ft_core.runs.ray_work import ray_work
from ft_core.runs.shared_work import Part, SharedWork, joined_group, shared_map, shared_work

from ..data.candles import CandleSeries, Map, fingerprint
from ..data.sources import load_source
from ..forecasting.arguments import ForecastArguments
from ..forecasting.networks import load_predictor, remarks_on
from ..forecasting.predictor import BATCH_ROWS
from ..forecasting.series import (
    MANY_TOUCHED,
    check_series,
    describe_forecast,
    forecast_series,
    forecast_table,
    origin_of,
)
from ..models.found_model import FoundModel, find_model
from ..models.identity import predictor_hashes, weights_hash
from .finished_bars import begins_later, finished_bars, is_unfinished
from .quantile_log import Key, append_rows, keys_of, quantile_rows, read_log

LEAST_PART, MOST_PART = 32, 128  # symbols that are forecast at once
SHOWN_SYMBOLS, MANY_SYMBOLS = 3, 20  # of many symbols in files, so many are shown
WRITTEN_AT_ONCE = 256  # symbols; each time the quantile file is read and written
NO_MATTER = ("engine", "overwrite", "append", "strict")  # settings that change no part
PARTS = ".parts"  # suffix of the folder of parts, beside the first output file


def _with_finished_bars(series: list[CandleSeries], args: ForecastArguments) -> list[CandleSeries]:
    """Leaves out last bars that have not ended, or warns of them if the forecasts would use them."""
    later = [one.symbol for one in series if begins_later(one)]
    if later and args.origin is None:
        echo(
            f"WARNING     the last candle of {later[0]} begins after the current time (UTC); if the file has local "
            "times, pass --timezone, e.g. Asia/Shanghai"
        )
    unfinished = [one.symbol for one in series if is_unfinished(one)]
    if not unfinished:
        return series
    names = ", ".join(unfinished[:3]) + ", ..." * (len(unfinished) > 3)
    if args.drop_unfinished:
        echo(f"left out    the last candle of {names}: its bar has not ended")
        return [finished_bars(one) for one in series]
    if args.origin is None:
        echo(
            f"WARNING     the last candle of {names} looks unfinished: its bar ends after the current time (UTC); pass "
            "--drop_unfinished to leave it out"
        )
    return series


def _part_size(num_paths: int) -> int:
    """Symbols of a part: whole batches of sampled paths where possible. It does not depend on the processes."""
    at_once = max(1, BATCH_ROWS // num_paths)
    return min(MOST_PART, at_once * -(-LEAST_PART // at_once))


def _parts_folder(args: ForecastArguments, share: bool) -> Path:
    """The folder of parts, beside the first file to write; several processes need one.

    Raises:
        ValueError: several processes, and no file to write.
    """
    target = args.output or args.quantiles or args.plot
    if target is None and ((share and launched_processes() > 1) or args.engine == "ray"):
        raise ValueError("several processes need a file to write; pass --output, --quantiles or --plot")
    return Path(f"{target or 'forecast'}{PARTS}")


def _write_tables(tables: Iterator[pd.DataFrame], path: Path) -> None:
    """Writes tables of equal columns one after another, as Parquet or CSV; only one is in memory at a time."""
    if path.suffix != ".parquet":
        for number, table in enumerate(tables):
            neutral_frame(table).to_csv(path, mode="a", header=number == 0, index=False)
        return
    rows = (pa.Table.from_pandas(table, preserve_index=False) for table in tables)
    first = next(rows)
    with ParquetWriter(path, first.schema, use_dictionary=["symbol", "path", "timestamps"]) as writer:
        for table in chain([first], rows):
            writer.write_table(table)


def _plot_names(plot: Path, symbols: list[str]) -> list[Path]:
    """One file name per symbol, derived from `plot`; equal names get a number."""
    if len(symbols) == 1:
        return [plot]
    found: list[Path] = []
    for number, symbol in enumerate(symbols, start=1):
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", symbol)
        path = plot.with_name(f"{plot.stem}-{plain}.png")
        found.append(plot.with_name(f"{plot.stem}-{plain}-{number}.png") if path in found else path)
    return found


def _usable(series: list[CandleSeries], args: ForecastArguments, left_out: list[str], each: Map) -> list[CandleSeries]:
    """The series that can be forecast; the others are added to `left_out`.

    Args:
        series, args: of the forecasts.
        left_out (`list` of `str`): takes the reasons.
        each (`Callable`): `map`, or one that shares the calls among processes.

    Raises:
        ValueError: no series can be forecast, or, if `strict`, one of them cannot.
    """

    def defect(one: CandleSeries) -> str:
        try:
            check_series(one, args.horizon, args.lookback, args.origin)
        except ValueError as error:
            return str(error)
        return ""

    found = list(each(defect, series))
    defects = [one for one in found if one]
    if defects and (args.strict or len(defects) == len(series)):
        raise ValueError(defects[0])
    left_out += defects
    return [one for one, reason in zip(series, found, strict=True) if not reason]


def _known(args: ForecastArguments) -> set[Key]:
    """The forecasts that the quantile file has already."""
    path = Path(args.quantiles) if args.quantiles and args.append else None
    return keys_of(read_log(path)) if path is not None and path.exists() else set()


def _say_refused(refused: Sequence[Key], path: str) -> None:
    for symbol, origin, _ in refused[:3]:
        when = str(origin.astype("datetime64[m]")).replace("T", " ")
        echo(f"not added         {symbol}: {path} has a forecast of this model from {when} UTC already")
    if len(refused) > 3:
        echo(f"not added         {len(refused) - 3} more that {path} has already")


def _resolved(args: ForecastArguments, found: FoundModel) -> ForecastArguments:
    """The settings with the model's own sizes where none are set."""
    return replace(args, horizon=found.horizon(args.horizon), lookback=found.lookback(args.lookback))


def run_forecast(args: ForecastArguments, *, share: bool = False) -> None:
    """Forecasts each symbol and writes paths, quantiles and pictures, if set.

    Args:
        args ([`ForecastArguments`]): the settings.
        share (`bool`): share the symbols among the processes of the launch, all of which call this function.

    Raises:
        ValueError: invalid settings, data or models; raised before anything is written.
        HubUnreachable: a published model cannot be downloaded and is not in the cache.
    """
    args.check_files()
    joined_group(share)  # gives each process its device
    left_out: list[str] = []
    excluded = None if args.strict else left_out
    each = shared_map if share else map
    series = load_source(args.data, args.policy, args.timezone, args.columns, excluded, each)
    model = find_model(args.model, args.tokenizer)
    args = _resolved(args, model)
    known = _known(args)
    series = _usable(_with_finished_bars(series, args), args, left_out, each)
    predictor = load_predictor(model, args.device, args.max_context, paths=args.paths)
    for name, network in (("model", predictor.model), ("tokenizer", predictor.tokenizer)):
        if network is not None and network.hub_origin:
            echo(f"{name:18}{network.hub_origin.label()}")
    asked = {"T": args.T, "top_p": args.top_p, "top_k": args.top_k}
    if model.is_head and args.paths == "blocks" and any(value is not None for value in asked.values()):
        echo("WARNING     T, top_p and top_k have no effect: a quantile head does not sample (--paths sampled does)")
    if not model.is_head and args.paths == "sampled":
        echo("WARNING     paths=sampled has no effect: the model is a predictor, which always samples its paths")
    kept = predictor.sampling(**asked)
    sampling = ", ".join(f"{name} {value:g}" for name, value in kept.items())
    if model.is_head and args.paths == "blocks":
        sampling = "quantile head"
    echo(
        f"{'settings':18}{args.lookback} bars of context, {args.horizon} bars ahead, {args.num_paths} paths, {sampling}"
    )
    remarks = remarks_on(model, predictor.tokenizer, args.lookback, args.horizon)
    timezone = model.timezone_remark(args.timezone)
    for remark in [*remarks, *filter(None, [timezone]), *(f"left out: {one}" for one in left_out)]:
        echo(f"WARNING     {remark}")
    sha256 = weights_hash(predictor.model)

    def key_of(one: CandleSeries) -> Key:
        last = one.timestamps[origin_of(one, args.lookback, args.origin) - 1]
        return one.symbol, last.astype("datetime64[ns]"), sha256

    repeated = [key_of(one) for one in series] if known else []
    if known and not args.output and not args.plot:  # nothing else needs a forecast again
        series = [one for one, key in zip(series, repeated, strict=True) if key not in known]
    refused = [key for key in repeated if key in known]
    pictures = _plot_names(Path(args.plot).resolve(), [one.symbol for one in series]) if args.plot else []
    size = _part_size(args.num_paths)
    table = args.output or args.quantiles
    shown = SHOWN_SYMBOLS if table and len(series) > MANY_SYMBOLS else len(series)

    def forecast_part(first: int) -> Part:
        part = forecast_series(
            predictor,
            series[first : first + size],
            args.horizon,
            lookback=args.lookback,
            num_paths=args.num_paths,
            origin=args.origin,
            seed=args.seed,
            overflow=args.overflow,
            **predictor.sampling(**asked),
            reprefill_every=args.reprefill_every,
            project=not args.raw,
            progress=LineProgress("forecast bars") if len(series) <= size else None,
        )
        for one, picture in zip(part, pictures[first : first + size], strict=False):
            one.plot(picture)
        described = part[: max(0, shown - first)]
        lines = [line for one in described for line in describe_forecast(one, all_bars=args.all_bars)]
        poor = [one.series.symbol for one in part if one.forecast.projected_share > MANY_TOUCHED]
        tables = {"lines": pd.DataFrame({"line": lines}), "poor": pd.DataFrame({"symbol": poor})}
        if args.output:
            tables["paths"] = forecast_table(part)
        if args.quantiles:
            tables["quantiles"] = pd.concat([quantile_rows(one, sha256) for one in part], ignore_index=True)
        return tables

    def job() -> dict[str, object]:
        matters = {name: value for name, value in vars(args).items() if name not in NO_MATTER}
        return {"settings": matters | kept, "models": predictor_hashes(predictor), "candles": fingerprint(series)}

    starts = range(0, len(series), size)
    progress = LineProgress("parts forecast") if len(series) > size else None
    lines, poor = [], []
    if args.engine == "ray":
        engine = partial(ray_work, devices=int(predictor.device.type != "cpu"))
    else:
        engine = partial(shared_work, share=share)

    def tables_of_paths(work: SharedWork) -> Iterator[pd.DataFrame]:
        rows, written = [], False
        for number, part in enumerate(work.parts("forecast", starts, forecast_part, progress=progress), start=1):
            lines.extend(part["lines"]["line"])
            poor.extend(part["poor"]["symbol"] if "poor" in part else [])  # parts of an earlier version
            if args.quantiles:
                tables = [one for _, one in part["quantiles"].groupby("symbol", sort=False)]
                rows += [one for one in tables if not keys_of(one) & known]
            is_due = work.folder is None and len(rows) >= WRITTEN_AT_ONCE  # kept parts are written at once
            if args.quantiles and (is_due or number == len(starts)):
                refused.extend(append_rows(Path(args.quantiles), rows, new=not args.append and not written))
                rows, written = [], True
            if args.output:
                yield part["paths"]

    with engine(_parts_folder(args, share), job) as work:
        tables = tables_of_paths(work)
        if args.output and work.is_main:
            write_file(Path(args.output), partial(_write_tables, tables))
        else:
            deque(tables, maxlen=0)
    for line in lines:
        echo(line)
    if work.is_main and len(series) > shown:
        echo(f"more symbols      {len(series) - shown:,} more forecasts are in {table}")
        if poor:
            echo(
                f"WARNING     {len(poor):,} of {len(series):,} forecasts, e.g. of {poor[0]}, have a high share of "
                "invalid candles: the model does not fit these data well"
            )
    _say_refused(refused, args.quantiles or "")
