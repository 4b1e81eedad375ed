"""Writes downloaded candles as Parquet or CSV, with a provenance file.

The candle file depends only on the candles and the request: two downloads of the same span are byte-identical, at any
time and after any number of resumes. Everything else goes into the provenance file (JSON).
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ft_core.io.files import write_file, write_json

from ..data.columns import FEATURES
from .findings import Findings, is_amount

SUFFIXES = (".parquet", ".csv")
METADATA_KEY = b"kronos_ft.source"


def provenance_path(output: Path) -> Path:
    """The provenance file of `output`: `btc.parquet` -> `btc.parquet.source.json`."""
    return output.with_name(f"{output.name}.source.json")


def check_output(output: Path) -> None:
    """Raises ValueError for an unsupported suffix or a missing folder."""
    if output.suffix not in SUFFIXES:
        raise ValueError(f"output={output} must end in .parquet or .csv; use e.g. btc.parquet")
    if output.is_dir():
        raise ValueError(f"output={output} is a folder; pass a file in it, e.g. {output / 'btc.parquet'}")
    if not output.parent.is_dir():
        raise ValueError(f"output folder {output.parent} does not exist; create it, or use another folder")


def candle_frame(found: Sequence[Findings]) -> pd.DataFrame:
    """All candles as a table: UTC times, prices, volume, amount if known, and a symbol column for several symbols."""
    with_amount = all(is_amount(one.rows) for one in found)
    names = FEATURES if with_amount else FEATURES[:-1]
    frames = []
    for one in found:
        frame = pd.DataFrame(one.rows[:, 1 : 1 + len(names)], columns=list(names))
        times = one.rows[:, 0].astype(np.int64).astype("datetime64[ms]")
        frame.insert(0, "timestamps", pd.DatetimeIndex(times, tz="UTC"))
        if len(found) > 1:
            frame["symbol"] = one.symbol
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def write_candles(output: Path, frame: pd.DataFrame, asked: dict) -> None:
    """Writes the table atomically; the metadata of a Parquet file contain the request."""
    if output.suffix == ".csv":
        write_file(output, lambda path: frame.to_csv(path, index=False, lineterminator="\n"))
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    archive = Path(asked.get("archive") or "")
    if archive.is_absolute():  # privacy: candle files are shared, so record only the name of a local folder
        asked = {**asked, "archive": archive.name}
    source = json.dumps(asked, ensure_ascii=False, sort_keys=True).encode()
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), METADATA_KEY: source})
    write_file(output, lambda path: pq.write_table(table, path, compression="zstd"))


def write_provenance(output: Path, facts: dict) -> None:
    """Writes the provenance file: the facts and the SHA-256 of the candle file."""
    digest = hashlib.sha256(output.read_bytes()).hexdigest()
    write_json(provenance_path(output), {"file": output.name, "sha256": digest, **facts})
