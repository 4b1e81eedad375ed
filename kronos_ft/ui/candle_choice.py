"""The candles that a visitor can choose: the run's data, the embedded sample, or an uploaded file.

Notable:
- Uploaded files are deleted after reading.
- A visitor cannot name a file on this machine: the run's data come from the command line or the run record.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..data.candles import CandleSeries, load_candles
from ..data.rhythm import duration
from ..data.sources import load_source
from ..models.found_model import FoundModel

OWN, SAMPLE, UPLOAD = "own", "sample", "upload"
UPLOAD_TYPES = (".csv", ".parquet", ".gz", ".tsv", ".txt")
UPLOAD_LIMIT = "50mb"


def time_text(time: np.datetime64) -> str:
    """`2019-09-01 12:00`."""
    return str(time.astype("datetime64[m]")).replace("T", " ")


@dataclass
class CandleChoice:
    """The candles that can be chosen, each read on first use.

    Attributes:
        data (`str`, *optional*): file, folder, glob or `sample`, from the run record or the command line.
        policy, timezone (`str`), columns (`str`, *optional*): settings for reading it.
    """

    data: str | None
    policy: str = "error"
    timezone: str = "UTC"
    columns: str | None = None
    _read: dict[str, list[CandleSeries]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, shown: FoundModel, data: str | None = None) -> "CandleChoice":
        """The candles of the command line, else of the run record."""
        settings = shown.data_settings()
        if data is not None:
            return cls(data)
        own = settings.get("data")
        return cls(
            own if isinstance(own, str) else None,
            str(settings.get("policy") or "error"),
            str(settings.get("timezone") or "UTC"),
            settings.get("columns"),
        )

    def kinds(self) -> dict[str, str]:
        """The choices by kind, with the name to show; an empty name means that the page has its own text."""
        own = {} if self.data in (None, "sample") else {OWN: Path(self.data).name or self.data}
        return {**own, SAMPLE: "", UPLOAD: ""}

    def read(self, kind: str, upload: str | None = None, policy: str = "error") -> list[CandleSeries]:
        """The candles of a choice, one series per symbol.

        Args:
            kind (`str`): one of [`~CandleChoice.kinds`].
            upload (`str`, *optional*): the uploaded file; deleted after reading.
            policy (`str`): what to do with its defective rows, as in [`load_candles`].

        Raises:
            ValueError: unknown choice, nothing uploaded, or unusable data, as [`load_candles`].
        """
        if kind not in self.kinds():
            raise ValueError(f"data={kind!r} is not known; use one of {', '.join(self.kinds())}")
        if kind == UPLOAD:
            if not upload:
                raise ValueError("no file uploaded; choose a CSV or Parquet file of candles")
            return read_upload(Path(upload), policy)
        if kind not in self._read:
            self._read[kind] = load_source(
                "sample" if kind == SAMPLE else self.data,
                *((self.policy, self.timezone, self.columns) if kind == OWN else ("error", "UTC")),
            )
        return self._read[kind]


def read_upload(path: Path, policy: str = "error") -> list[CandleSeries]:
    """Reads an uploaded file and always deletes it.

    Raises:
        ValueError: as [`load_candles`], with the file's name instead of its temporary path.
    """
    try:
        return load_candles(path, policy)
    except ValueError as error:
        raise ValueError(str(error).replace(str(path), path.name)) from error
    finally:
        path.unlink(missing_ok=True)


def series_of(series: list[CandleSeries] | None, symbol: str | None) -> CandleSeries:
    """The series of a symbol; without a symbol, the first series.

    Raises:
        ValueError: no candles, or an unknown symbol.
    """
    if not series:
        raise ValueError("no candles loaded; choose data first")
    for one in series:
        if symbol in (None, one.symbol):
            return one
    raise ValueError(f"symbol {symbol!r} is not in the data; choose another")


def describe(one: CandleSeries, words: Mapping[str, str]) -> str:
    """Bars, step and time range in one line."""
    return words["bars_known"].format(
        bars=f"{len(one):,}",
        step=duration(one.report.step_seconds),
        first=time_text(one.timestamps[0])[:10],
        last=time_text(one.timestamps[-1]),
    )


def past_origin(one: CandleSeries, bars: int) -> str:
    """Time of the bar that starts the last `bars` bars."""
    return time_text(one.timestamps[max(len(one) - max(bars, 1), 1)])


def moved_origin(one: CandleSeries, origin: str, bars: int) -> str:
    """Moves an origin by a number of bars, within the data.

    Raises:
        ValueError: the origin is not a time.
    """
    from ..forecasting.series import origin_of

    at = origin_of(one, 1, origin) + bars
    return time_text(one.timestamps[min(max(at, 1), len(one) - 1)])
