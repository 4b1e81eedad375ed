"""Writes downloaded candles as Parquet or CSV, and beside them where they come from.

The candle file depends on the candles and on what was asked alone, not on when or in how many attempts they were
fetched: two downloads of one span have equal bytes. What does change goes into the JSON file.
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
    """The file that tells where `output` comes from: `btc.parquet` -> `btc.parquet.source.json`."""
    return output.with_name(f"{output.name}.source.json")


def check_output(output: Path) -> None:
    """Raises ValueError for an ending that is not written, or a folder that is not there."""
    if output.suffix not in SUFFIXES:
        raise ValueError(f"output={output} ends neither in .parquet nor .csv; name it e.g. btc.parquet")
    if output.is_dir():
        raise ValueError(f"output={output} is a folder; name a file in it, e.g. {output / 'btc.parquet'}")
    if not output.parent.is_dir():
        raise ValueError(f"output folder {output.parent} does not exist; make it, or name another")


def candle_frame(found: Sequence[Findings]) -> pd.DataFrame:
    """All candles as a table: times in UTC, six columns or seven, and the symbol where there are several."""
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
    """Writes the table, whole or not at all; Parquet metadata say what was asked for, of a folder its name alone."""
    if output.suffix == ".csv":
        write_file(output, lambda path: frame.to_csv(path, index=False, lineterminator="\n"))
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    archive = Path(asked.get("archive") or "")
    if archive.is_absolute():  # candle files are passed on; where a folder lies concerns nobody else
        asked = {**asked, "archive": archive.name}
    source = json.dumps(asked, ensure_ascii=False, sort_keys=True).encode()
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), METADATA_KEY: source})
    write_file(output, lambda path: pq.write_table(table, path, compression="zstd"))


def write_provenance(output: Path, facts: dict) -> None:
    """Writes the facts and the candle file's SHA-256 beside it."""
    digest = hashlib.sha256(output.read_bytes()).hexdigest()
    write_json(provenance_path(output), {"file": output.name, "sha256": digest, **facts})
