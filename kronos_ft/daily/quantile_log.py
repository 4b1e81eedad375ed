"""The quantile file of `kronos-ft forecast`: one row per forecast bar; a log if forecasts are appended to it.

A forecast is identified by (symbol, origin, model): a second one is refused, so that a log cannot be improved in
hindsight. Files are written atomically, and by one process at a time.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from ft_core.io.files import write_file
from ft_core.io.spreadsheet import FORMULA_STARTS, neutral_frame
from ft_core.runs.record_schema import now

from ..data.table_formats import arrow_frame
from ..forecasting.forecast import LEVELS

if TYPE_CHECKING:  # a score needs no torch
    from ..forecasting.series import SymbolForecast

KEY = ("symbol", "origin", "model")
LEVEL_COLUMNS = tuple(f"{level:g}" for level in LEVELS)
TEXTS, TIMES = ("symbol", "model"), ("origin", "timestamps", "created")
NUMBERS = (*LEVEL_COLUMNS, "probability_up", "last_close")
COLUMNS = ("symbol", "origin", "timestamps", "step", *NUMBERS, "model", "created")
LOCK_SECONDS = 60
Key = tuple[str, np.datetime64, str]


def quantile_rows(one: "SymbolForecast", model: str) -> pd.DataFrame:
    """The rows of a forecast.

    Args:
        one ([`SymbolForecast`]): the forecast of a symbol.
        model (`str`): hash of the predictor's weights.

    Returns:
        `pd.DataFrame` of H rows: `symbol`, `origin` (UTC time of the last known bar), `timestamps` (of the forecast
        bar), `step` (1 to H), quantiles of the close (one column per level), `probability_up`, `last_close`, `model`,
        and `created` (UTC time at which the forecast was made).
    """
    frame = pd.DataFrame({"symbol": one.series.symbol, "origin": origin_time(one), "timestamps": one.times})
    frame["step"] = np.arange(1, len(frame) + 1)
    frame[list(LEVEL_COLUMNS)] = one.forecast.quantiles(LEVELS).to_numpy()
    frame["probability_up"] = one.forecast.probability_up().to_numpy()
    frame["last_close"] = one.forecast.last_close
    frame["model"], frame["created"] = model, pd.Timestamp(now()).tz_localize(None)
    return _typed(frame)[list(COLUMNS)]


def origin_time(one: "SymbolForecast") -> np.datetime64:
    """Time of the last known bar of a forecast."""
    return one.series.timestamps[one.origin - 1].astype("datetime64[ns]")


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns as text, times and numbers."""
    found = frame.copy()
    for name in TEXTS:
        found[name] = found[name].astype(str)
    for name in TIMES:
        is_time = pd.api.types.is_datetime64_any_dtype(found[name])
        times = pd.to_datetime(found[name], utc=True, format=None if is_time else "ISO8601")
        found[name] = times.dt.tz_localize(None).astype("datetime64[ns]")
    found["step"] = found["step"].astype("int64")
    for name in NUMBERS:
        found[name] = found[name].astype("float64")
    return found


def read_log(path: Path) -> pd.DataFrame:
    """Reads a quantile file.

    Raises:
        ValueError: missing, not such a file, or a value that is missing, not a number or not a time.
    """
    remedy = "pass a file of kronos-ft forecast --quantiles"
    if not path.is_file():
        raise ValueError(f"quantile log {path} does not exist; {remedy}")
    try:
        frame = (
            arrow_frame(path)
            if path.suffix == ".parquet"
            else pd.read_csv(path, dtype=dict.fromkeys(TEXTS, str), keep_default_na=False, float_precision="round_trip")
        )
    except (ValueError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise ValueError(f"{path} cannot be read as a table ({reason}); {remedy}") from error
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise ValueError(f"{path} has no column {', '.join(missing)}; {remedy}")
    try:
        frame = _typed(frame[list(COLUMNS)])
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(
            f"{path} has a value of the wrong type ({str(error).splitlines()[0][:120]}); {remedy}"
        ) from error
    if path.suffix == ".csv":  # formulas are escaped by an apostrophe, see `neutral_cell`
        frame["symbol"] = [
            one[1:] if one[:1] == "'" and one[1:].startswith(FORMULA_STARTS) else one for one in frame["symbol"]
        ]
    numbers = frame[list(NUMBERS)].to_numpy()
    if not np.isfinite(numbers).all() or (frame[list(LEVEL_COLUMNS)].diff(axis=1).iloc[:, 1:] < -1e-12).any(axis=None):
        raise ValueError(f"{path} has quantiles that are missing or decrease with their level; {remedy}")
    if frame[["origin", "timestamps"]].isna().any(axis=None):
        raise ValueError(f"{path} has a forecast without a time; {remedy}")
    if not frame["probability_up"].between(0, 1).all() or (frame["step"] < 1).any():
        raise ValueError(f"{path} has a probability outside [0, 1] or a step below 1; {remedy}")
    if (frame[["last_close", *LEVEL_COLUMNS]] <= 0).any(axis=None):
        raise ValueError(f"{path} has prices of zero or less; {remedy}")
    if frame.duplicated([*KEY, "step"]).any():
        first = frame[frame.duplicated([*KEY, "step"])].iloc[0]
        raise ValueError(f"{path} has two forecasts of {first.symbol} from {first.origin}; remove one of them")
    return frame


def keys_of(frame: pd.DataFrame) -> set[Key]:
    """The forecasts in a quantile file."""
    distinct = frame[list(KEY)].drop_duplicates()
    return {(symbol, origin.to_datetime64(), model) for symbol, origin, model in distinct.itertuples(index=False)}


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Within it, no other process changes the file."""
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=LOCK_SECONDS)
    try:
        with lock:
            yield
    except Timeout as error:
        raise ValueError(f"another process has been writing {path} for {LOCK_SECONDS} s; try again later") from error


def _write(frame: pd.DataFrame, path: Path) -> None:
    if path.suffix == ".parquet":
        write_file(path, lambda temporary: frame.to_parquet(temporary, index=False))
    else:
        write_file(path, lambda temporary: neutral_frame(frame).to_csv(temporary, index=False))


def append_rows(path: Path, tables: Sequence[pd.DataFrame], *, new: bool = False) -> list[Key]:
    """Adds forecasts to a quantile file, atomically; a forecast that it has already is not replaced.

    Args:
        path (`Path`): `.csv` or `.parquet`; created if there is none.
        tables (`Sequence` of `pd.DataFrame`): each from [`quantile_rows`].
        new (`bool`): replace the file instead.

    Returns:
        the forecasts that were refused because the file has them already.

    Raises:
        ValueError: the file is not a quantile file, or another process is writing it.
    """
    with _alone(path):
        old = read_log(path) if path.exists() and not new else None
        known, refused, added = set() if old is None else keys_of(old), [], []
        for table in tables:
            (key,) = keys_of(table)
            if key in known:
                refused.append(key)
            else:
                known.add(key)
                added.append(table)
        if added or old is None:
            parts = [*([] if old is None else [old]), *added]
            _write(pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS)), path)
    return refused
