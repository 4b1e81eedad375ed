"""Reads Parquet, Feather, Excel and JSON files up to a size limit: a file of a few bytes can hold billions of rows."""

import io
import json
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ft_core.io.compressed import too_large, unpack, unpacked_limit

ROWS = 65_536
LISTS = ("bars", "results", "data", "candles", "values")  # keys of answers that hold candles (Alpaca, Polygon, others)


def _read_batches(path: Path, limit: int, is_feather: bool) -> pd.DataFrame:
    batches, size = [], 0
    with pa.OSFile(str(path)) as source:
        file = pa.ipc.open_file(source) if is_feather else pq.ParquetFile(source)
        schema = file.schema if is_feather else file.schema_arrow
        found = map(file.get_batch, range(file.num_record_batches)) if is_feather else file.iter_batches(ROWS)
        for batch in found:
            size += batch.nbytes
            if size > limit:
                raise too_large(path, limit)
            batches.append(batch)
        table = pa.Table.from_batches(batches, schema=schema)
    batches.clear()
    # converts column by column and frees each one at once
    return table.to_pandas(split_blocks=True, self_destruct=True)


def arrow_frame(path: Path, limit: int | None = None, is_feather: bool = False) -> pd.DataFrame:
    """The table of a Parquet or Feather file.

    Args:
        path (`Path`): the file.
        limit (`int`, *optional*): maximum size in bytes after decompression; defaults to `unpacked_limit()`.
        is_feather (`bool`): Feather (Arrow IPC) instead of Parquet.

    Raises:
        ValueError: damaged, or larger than the limit.
    """
    limit = unpacked_limit() if limit is None else limit
    try:
        return _read_batches(path, limit, is_feather)
    except Exception as error:  # a damaged footer makes pyarrow and pandas raise a dozen unrelated types
        if "unpacks to more than" in str(error):
            raise
        lines = str(error).strip().splitlines()
        reason = lines[0] if lines else type(error).__name__
        kind = "Feather" if is_feather else "Parquet"
        raise ValueError(f"{path} is not a readable {kind} file ({reason}); download or write it again") from error


def excel_frame(path: Path) -> pd.DataFrame:
    """The cells of the first sheet of an `.xlsx` file, without a header: columns and index are numbers from 0.

    Raises:
        ValueError: openpyxl is not installed, a damaged file, or one that is too large after decompression.
    """
    limit = unpacked_limit()
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(part.file_size for part in archive.infolist()) > limit:
                raise too_large(path, limit)
        return pd.read_excel(path, header=None, engine="openpyxl")
    except ImportError as error:
        raise ValueError(f"{path} needs openpyxl; pip install openpyxl, or save the sheet as CSV") from error
    except Exception as error:  # openpyxl raises many unrelated types for damaged parts
        if "unpacks to more than" in str(error):
            raise
        raise ValueError(f"{path} is not a readable Excel file ({error}); save it again as .xlsx or CSV") from error


def _records(found: object) -> object:
    """The list of candles in an answer of an interface, or what was found itself."""
    if isinstance(found, dict):
        for key in LISTS:
            if isinstance(found.get(key), list | dict):
                return found[key]
    return found


def _frame_of(found: object) -> pd.DataFrame | None:
    """A table from a list of candles, a dict of columns, or a dict of lists by symbol; None for anything else."""
    if isinstance(found, list) and found and all(isinstance(row, dict | list) for row in found):
        return pd.DataFrame(found)
    if isinstance(found, dict) and found and all(isinstance(part, list) for part in found.values()):
        if all(part and isinstance(part[0], dict) for part in found.values()):
            parts = [pd.DataFrame(part).assign(symbol=symbol) for symbol, part in found.items()]
            return pd.concat(parts, ignore_index=True)
        return pd.DataFrame(found) if len({len(part) for part in found.values()}) == 1 else None
    if isinstance(found, dict) and found and all(isinstance(part, dict) for part in found.values()):
        return pd.DataFrame(found).reset_index(drop=True)  # written by DataFrame.to_json
    return None


def json_frame(path: Path) -> pd.DataFrame:
    """The candles of a JSON file: one object a line, a list of objects or lists, or the answer of an interface.

    Raises:
        ValueError: not JSON, no candles in it, or too large after decompression.
    """
    text = unpack(path, path.read_bytes())
    try:
        found = json.loads(text)
    except ValueError:
        try:
            lines = [json.loads(line) for line in io.BytesIO(text) if line.strip()]
        except ValueError as error:
            raise ValueError(f"{path} is neither JSON nor JSON lines ({error}); correct the line") from error
        found = lines
    frame = _frame_of(_records(found))
    if frame is None:
        raise ValueError(f"{path} contains no list of candles; pass one object with time, open, high, low, close a row")
    if isinstance(found, dict) and isinstance(found.get("ticker") or found.get("symbol"), str):
        frame = frame.assign(symbol=found.get("ticker") or found.get("symbol"))
    return frame
