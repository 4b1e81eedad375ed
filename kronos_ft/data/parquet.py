"""Reads Parquet files in batches up to a size limit: a file of a few bytes can hold billions of equal rows."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ft_core.io.compressed import too_large, unpacked_limit

ROWS = 65_536


def _read(path: Path, limit: int) -> pd.DataFrame:
    batches, size = [], 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=ROWS):
            size += batch.nbytes
            if size > limit:
                raise too_large(path, limit)
            batches.append(batch)
        table = pa.Table.from_batches(batches, schema=file.schema_arrow)
    batches.clear()
    # converts column by column and frees each one at once
    return table.to_pandas(split_blocks=True, self_destruct=True)


def parquet_frame(path: Path, limit: int | None = None) -> pd.DataFrame:
    """The table of a Parquet file.

    Args:
        path (`Path`): the file.
        limit (`int`, *optional*): maximum size in bytes after decompression; defaults to `unpacked_limit()`.

    Raises:
        ValueError: damaged, or larger than the limit.
    """
    limit = unpacked_limit() if limit is None else limit
    try:
        return _read(path, limit)
    except Exception as error:  # a damaged footer makes pyarrow and pandas raise a dozen unrelated types
        if "unpacks to more than" in str(error):
            raise
        lines = str(error).strip().splitlines()
        reason = lines[0] if lines else type(error).__name__
        raise ValueError(f"{path} is not a readable Parquet file ({reason}); download or write it again") from error
