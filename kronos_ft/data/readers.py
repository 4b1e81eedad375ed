"""Reads candle tables from files, folders, globs, data sets and DataFrames, and keeps the row numbers of the source."""

import codecs
import csv
import glob
import io
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from ft_core.io.compressed import SUFFIXES as PACKED_SUFFIXES, unpack
from ft_core.io.pickles import refuse_pickled_data

from .columns import ALIASES, BINANCE_KLINE, PRICES, match_columns, plain_name
from .symbols import check_symbol, partition_symbol, partitions_of, symbols_in
from .table_formats import arrow_frame, excel_frame, json_frame

CSV_SUFFIXES = (".csv", ".tsv", ".txt")
PARQUET_SUFFIXES, FEATHER_SUFFIXES = (".parquet", ".pq"), (".feather", ".arrow")
EXCEL_SUFFIXES, JSON_SUFFIXES = (".xlsx",), (".json", ".jsonl", ".ndjson")
SUFFIXES = (*CSV_SUFFIXES, *PARQUET_SUFFIXES, *FEATHER_SUFFIXES, *EXCEL_SUFFIXES, *JSON_SUFFIXES)
ENCODINGS = ("utf-8-sig", "gb18030")
DELIMITERS = ",;\t|"
HEAD, PIECE = 2**18, 2**20  # bytes
LONGEST_LINE = 100_000  # characters; csv refuses cells of 131,072


@dataclass
class RawTable:
    """A table as read, before validation.

    Attributes:
        name (`str`): file or data set, for messages.
        symbol (`str`): taken from the name of the file or data set, or from a symbol column.
        frame (`pd.DataFrame`): columns as in the source; the index is the row number for messages.
        row_word (`str`): `line` for text files (the header is line 1), `row` otherwise (from 0).
        columns (`dict`): its columns by meaning, from [`~kronos_ft.data.columns.match_columns`].
    """

    name: str
    symbol: str
    frame: pd.DataFrame
    row_word: str
    columns: dict[str, object] = field(default_factory=dict)


def _unpacked_name(path: Path) -> Path:
    """The file's name without the suffix of its compression."""
    return Path(path.stem) if path.suffix.lower() in PACKED_SUFFIXES else Path(path.name)


def _symbol_of(path: Path) -> str:
    name = _unpacked_name(path)
    return name.stem if name.suffix.lower() in SUFFIXES else name.name


def _content_of(path: Path) -> tuple[bytes, str]:
    """The decompressed bytes of a text file and their encoding; converts UTF-16 to UTF-8."""
    content = unpack(path, path.read_bytes())
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            return content.decode("utf-16").encode(), "utf-8"
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path} is UTF-16 text that is cut off or damaged at byte {error.start:,} ({error.reason}); save it "
                "again, as UTF-8"
            ) from error
    for encoding in ENCODINGS:
        decoder = codecs.getincrementaldecoder(encoding)()
        try:  # in pieces, to save memory
            for first in range(0, len(content), PIECE):
                decoder.decode(content[first : first + PIECE])
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            continue
        return content, encoding
    raise ValueError(f"{path} is not UTF-8, UTF-16 or GB18030 text; save it as UTF-8")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _delimiter(lines: list[str]) -> str:
    """The delimiter that splits most of the first lines into five cells or more."""
    splits = {mark: sum(line.count(mark) >= 4 for line in lines) for mark in DELIMITERS}
    best = max(splits, key=splits.get)
    if splits[best]:
        return best
    return r"\s+" if any(len(line.split()) >= 5 for line in lines) else ","


def _cells(line: str, delimiter: str) -> list[str]:
    cells = line.split() if delimiter == r"\s+" else next(csv.reader([line], delimiter=delimiter))
    return [cell.strip() for cell in cells]


def _header_line(rows: list[list], given: Mapping[str, str] | None) -> int | None:
    """Number (from 0) of the header row: some exports write a link or a blank line before it."""
    for number, row in enumerate(rows):
        try:
            match_columns(row, given)
        except ValueError:
            continue
        return number
    return None


def _has_ticker_rows(rows: list[list[str]]) -> bool:
    """Whether the header has three rows, as yfinance writes it: Price, Ticker, Date."""
    firsts = [row[0] if row else "" for row in rows[:3]]
    return firsts[:2] == ["Price", "Ticker"] and firsts[2:] in (["Date"], ["Datetime"], [""])


def flat_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """A table with columns of two levels, prices and symbols in any order, as one with a symbol column.

    The rows of several symbols follow one another; other tables are returned as they are.
    """
    columns = frame.columns
    if not isinstance(columns, pd.MultiIndex) or columns.nlevels != 2:
        return frame
    known = {alias for name in PRICES for alias in ALIASES[name]}
    prices = [{plain_name(name) for name in columns.get_level_values(level)} for level in (0, 1)]
    level = 1 if len(known & prices[0]) >= len(known & prices[1]) else 0  # that of the symbols
    parts = []
    for symbol in columns.get_level_values(level).unique():
        part = frame.xs(symbol, axis=1, level=level).dropna(how="all")
        parts.append(part.assign(symbol=str(symbol)) if str(symbol).strip() else part)
    joined = pd.concat(parts)
    joined.columns.name = None
    return joined


def _cells_or_none(line: str, delimiter: str) -> list[str]:
    try:
        return _cells(line, delimiter)
    except (StopIteration, csv.Error):
        return []


def _read_ticker_csv(path: Path, content: bytes, encoding: str, delimiter: str) -> RawTable:
    """A file of yfinance: rows of prices, of tickers and of the name of the index precede the candles."""
    try:
        frame = pd.read_csv(io.BytesIO(content), encoding=encoding, sep=delimiter, header=[0, 1], index_col=0)
    except (pd.errors.ParserError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a table ({error}); correct the line") from error
    names = frame.index.to_series(index=range(3, 3 + len(frame)))
    frame = flat_columns(frame.set_axis(names.index)).assign(time=lambda found: names.reindex(found.index))
    return RawTable(str(path), _symbol_of(path), frame[frame["time"] != "Date"], "line")


def _names_without_header(path: Path, first: list[str], second: list[str]) -> list[str] | None:
    """Column names for a file whose first line contains numbers; None if that line is a header."""
    if len(first) < 2 or not all(_is_number(cell) for cell in first[1:]):
        return None
    if len(first) == len(BINANCE_KLINE):
        return list(BINANCE_KLINE)
    if len(first) in (5, 6, 7):
        names = ["time", "open", "high", "low", "close", "volume", "amount"][: len(first)]
        if len(first) == 7:
            traded = float(second[4]) * float(second[5])
            if not 0.5 * traded <= float(second[6]) <= 2 * traded:
                names[6] = "trades"
        return names
    raise ValueError(f"{path} has {len(first)} columns and no header line; add a header line with the column names")


def read_csv(path: Path, given: Mapping[str, str] | None = None) -> RawTable:
    """Reads a delimited text file.

    Args:
        path (`Path`): the file.
        given (`Mapping`, *optional*): as for [`~kronos_ft.data.columns.match_columns`].

    Delimiter `, ; |`, tab or spaces; UTF-8 (with or without BOM), UTF-16 or GB18030; with or without a header, which a
    link or a blank line may precede; plain, gzip, bzip2, or a zip archive with one file.

    Raises:
        ValueError: empty file, no rows, damaged or too large after decompression, unknown encoding, or lines of unequal
            length.
    """
    content, encoding = _content_of(path)
    head = codecs.getincrementaldecoder(encoding)().decode(content[:HEAD]).splitlines()
    lines = head[:6]
    filled = [line for line in head if line.strip()][:4]
    if not filled:
        raise ValueError(f"{path} is empty; pass a file with a header line and candles")
    if len(longest := max(filled, key=len)) > LONGEST_LINE:
        raise ValueError(
            f"{path}: line {head.index(longest) + 1} has more than {LONGEST_LINE:,} characters; pass a table with one "
            "candle a line"
        )
    delimiter = _delimiter(filled)
    rows = [_cells_or_none(line, delimiter) for line in lines]
    if _has_ticker_rows(rows):
        return _read_ticker_csv(path, content, encoding, delimiter)
    header = _header_line(rows, given)
    names = None
    symbol = None if header is None else match_columns(rows[header], given).get("symbol")
    if header is None:
        header = next(number for number, line in enumerate(lines) if line.strip())
        names = _names_without_header(path, _cells(filled[0], delimiter), _cells(filled[-1], delimiter))
    if names is None and len(filled) == 1:
        raise ValueError(f"{path} has only a header line; pass a file with candles")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                io.BytesIO(content),
                encoding=encoding,
                sep=delimiter,
                header=None if names else 0,
                names=names,
                skiprows=header,
                index_col=False,
                skip_blank_lines=False,
                skipinitialspace=True,
                low_memory=False,
                dtype=None if symbol is None else {symbol: str},  # 000001 is not 1
            )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, pd.errors.ParserWarning, ValueError) as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise ValueError(f"{path} cannot be read as a table ({reason}); correct the line") from error
    frame.index = frame.index + header + (1 if names else 2)
    return RawTable(str(path), _symbol_of(path), frame.dropna(how="all"), "line")


def read_arrow(path: Path, is_feather: bool = False) -> RawTable:
    """Reads a Parquet or Feather file; errors as for [`~kronos_ft.data.table_formats.arrow_frame`]."""
    return RawTable(str(path), _symbol_of(path), _with_time_index(arrow_frame(path, is_feather=is_feather)), "row")


def read_excel(path: Path, given: Mapping[str, str] | None = None) -> RawTable:
    """Reads the first sheet of an Excel file; the header is in one of its first six rows.

    Raises:
        ValueError: as [`~kronos_ft.data.table_formats.excel_frame`], or no header.
    """
    cells = excel_frame(path)
    rows = [[str(cell) for cell in row] for row in cells.head(6).to_numpy()]
    header = _header_line(rows, given)
    if header is None:
        match_columns(rows[0] if rows else [], given)  # raises, with what is missing
    frame = cells.iloc[header + 1 :].set_axis(rows[header], axis=1).infer_objects()
    return RawTable(str(path), _symbol_of(path), frame.set_axis(frame.index + 1).dropna(how="all"), "row")


def read_json_candles(path: Path) -> RawTable:
    """Reads a JSON file of candles, with names or, as lists, without them.

    Raises:
        ValueError: as [`~kronos_ft.data.table_formats.json_frame`].
    """
    frame = json_frame(path)
    if all(isinstance(name, int) for name in frame.columns) and len(frame):
        first, last = ([str(cell) for cell in frame.iloc[row]] for row in (0, -1))
        frame = frame.set_axis(_names_without_header(path, first, last) or frame.columns, axis=1)
    return RawTable(str(path), _symbol_of(path), frame, "row")


def _with_time_index(frame: pd.DataFrame) -> pd.DataFrame:
    """Turns a DatetimeIndex into a column and numbers the rows from 0."""
    frame = flat_columns(frame)
    if isinstance(frame.index, pd.DatetimeIndex):
        return frame.rename_axis(frame.index.name or "timestamps").reset_index()
    return frame.reset_index(drop=True)


def read_file(path: Path, given: Mapping[str, str] | None = None) -> RawTable:
    """Reads one file; the suffix decides the format.

    Args:
        path (`Path`): the file.
        given (`Mapping`, *optional*): as for [`~kronos_ft.data.columns.match_columns`].

    Raises:
        ValueError: for an unknown suffix, a missing or an unreadable file.
    """
    if not path.exists():
        raise ValueError(f"data file {path} does not exist; correct the path")
    if not os.access(path, os.R_OK):
        raise ValueError(f"no permission to read data file {path}; change its permissions")
    if path.is_dir():
        if partitions_of(path) == [path]:
            return _read_partition(path, given)
        raise ValueError(f"data file {path} is a folder; pass the files in it")
    refuse_pickled_data(path, "to_parquet('{stem}.parquet')")
    suffix = _unpacked_name(path).suffix.lower()
    if suffix in CSV_SUFFIXES or path.suffix.lower() == ".zip":  # exchange archives: x.zip instead of x.csv.zip
        return read_csv(path, given)
    if suffix in EXCEL_SUFFIXES:
        return read_excel(path, given)
    if suffix in PARQUET_SUFFIXES + FEATHER_SUFFIXES:
        return read_arrow(path, is_feather=suffix in FEATHER_SUFFIXES)
    if suffix in JSON_SUFFIXES:
        return read_json_candles(path)
    raise ValueError(
        f"data file {path} has an unknown suffix; use one of {', '.join(SUFFIXES)} (text files also with "
        f"{', '.join(PACKED_SUFFIXES)})"
    )


def _read_partition(folder: Path, given: Mapping[str, str] | None) -> RawTable:
    """The files of a folder `symbol=NAME` as one table; deeper partitions, such as `year=2024`, may be in it."""
    found = (path for path in folder.rglob("*") if not path.name.startswith(("_", ".")))  # of Spark's own
    files = sorted(filter(_is_data_file, found))
    if not files:
        raise ValueError(f"data folder {folder} contains no {', '.join(SUFFIXES)} file; remove it, or add its files")
    tables = [read_file(path, given) for path in files]
    frame = pd.concat([table.frame for table in tables], ignore_index=True)
    return RawTable(str(folder), partition_symbol(folder), frame, tables[0].row_word)


def _read_dataset(name: str) -> RawTable:
    import datasets  # slow to import

    try:
        dataset = datasets.load_dataset(name, split="train")
    except Exception as error:  # the library raises a dozen unrelated types for a name it cannot load
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"data={name!r} is not a file and could not be loaded as a data set ({reason}); correct the name or check "
            "the connection"
        ) from None
    return RawTable(name, name.split("/")[-1], dataset.to_pandas(), "row")


def _is_data_file(path: Path) -> bool:
    return _unpacked_name(path).suffix.lower() in SUFFIXES


def _files_of(folder: Path) -> list[Path]:
    """The files of a folder, or its partitions by symbol; not both."""
    partitions, files = partitions_of(folder), sorted(filter(_is_data_file, folder.iterdir()))
    if partitions and files and partitions != [folder]:
        raise ValueError(
            f"data folder {folder} has {files[0].name} beside {partitions[0].name}; put the files of a symbol into a "
            "folder of its own, or elsewhere"
        )
    return partitions or files


def read_tables(source: object, given: Mapping[str, str] | None = None) -> Iterator[RawTable]:
    """Yields the tables of a path, folder, glob, Hugging Face data set (or its name), DataFrame, or a dict of them.

    A table with several symbols in its symbol column is split into one table per symbol.

    Args:
        source: what holds the candles.
        given (`Mapping`, *optional*): as for [`~kronos_ft.data.columns.match_columns`].

    Raises:
        ValueError: nothing found, a table that cannot be read or has no column for time or price, or an invalid symbol.
    """
    for table in _tables_by_symbol(source, given):
        check_symbol(table.symbol, table.name)
        yield table


def _tables_by_symbol(source: object, given: Mapping[str, str] | None) -> Iterator[RawTable]:
    for table in _raw_tables(source, given):
        if table.frame.empty:
            raise ValueError(f"{table.name} has no rows; pass a table with candles")
        try:
            columns = table.columns = match_columns(table.frame.columns, given)
        except ValueError as error:
            raise ValueError(f"{table.name}: {error}") from error
        all_names = table.frame.columns.tolist()
        twice = [str(name) for name in columns.values() if all_names.count(name) > 1]
        if twice:
            raise ValueError(f"{table.name}: two columns are named {twice[0]}; rename or remove one of them")
        column = columns.get("symbol")
        names = symbols_in(table.frame, column, table.name, table.row_word)
        if len(names) < 2:
            named = len(names) == 1 and table.frame[column].notna().all() and _is_one_table(source)
            yield replace(table, symbol=str(names[0])) if named else table
            continue
        nameless = table.frame.index[table.frame[column].isna()]
        if len(nameless):
            rows = ", ".join(str(row) for row in nameless[:5])
            raise ValueError(
                f"{table.name}: {len(nameless)} rows have no {column} ({table.row_word} {rows}); fill in the symbol or "
                "remove the rows"
            )
        for symbol, part in table.frame.groupby(column, sort=True):
            yield replace(table, symbol=str(symbol), frame=part, columns=dict(columns))


def _is_one_table(source: object) -> bool:
    """Whether the source is one table that the caller gave no symbol."""
    return isinstance(source, pd.DataFrame) or (isinstance(source, str | Path) and Path(source).is_file())


def _raw_tables(source: object, given: Mapping[str, str] | None) -> Iterator[RawTable]:
    if isinstance(source, pd.DataFrame):
        yield RawTable("DataFrame", "DataFrame", _with_time_index(source), "row")
    elif isinstance(source, dict):
        for symbol, part in source.items():
            for table in _raw_tables(part, given):
                yield RawTable(f"{symbol}", str(symbol), table.frame, table.row_word)
    elif hasattr(source, "to_pandas"):
        yield RawTable("data set", "data set", source.to_pandas(), "row")
    elif isinstance(source, list | tuple):
        for part in source:
            yield from _raw_tables(part, given)
    else:
        yield from _tables_of_path(str(source), given)


def _tables_of_path(source: str, given: Mapping[str, str] | None) -> Iterator[RawTable]:
    files = files_of(source)
    if files is None:
        yield _read_dataset(source)
        return
    for file in files:
        yield read_file(file, given)


def files_of(source: str) -> list[Path] | None:
    """The files of a path, folder or glob; None for the name of a Hugging Face data set.

    Raises:
        ValueError: a folder or glob without a file of candles.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        files = _files_of(path)
        if not files:
            raise ValueError(
                f"data folder {path} contains no {', '.join(SUFFIXES)} file; pass the folder with the candles"
            )
        return files
    if any(mark in source for mark in "*?[") and not path.exists():
        files = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
        if not files:
            raise ValueError(f"data={source!r} matches no file; correct the pattern")
        return files
    if path.exists() or path.suffix or source.count("/") != 1 or source.startswith((".", "/")):
        return [path]
    return None
