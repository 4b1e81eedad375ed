"""Parses prices and volumes as exports write them: thousands marks, decimal commas, and suffixes such as `11.74K`."""

import numpy as np
import pandas as pd

LONGEST = 64  # characters of a number; longer cells are not numbers
MULTIPLES = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12, "万": 1e4, "亿": 1e8}
_THOUSANDS = r"(?<=\d)[\s\u00a0\u2009\u202f'’](?=\d{3}(?:\D|$))"
_SUFFIXED = r"^(.*[\d.,])\s*([kmbtKMBT万亿])$"


def _is_text(column: pd.Series) -> bool:
    return not pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype)


def _text_of(column: pd.Series) -> pd.Series:
    """Cells without surrounding spaces and without thousands marks other than comma and point."""
    text = column.astype("string").str.strip()
    text = text.mask((text.str.len() > LONGEST).fillna(False).astype(bool), "?")
    return text.str.replace("\u2212", "-", regex=False).str.replace(_THOUSANDS, "", regex=True)


def is_empty(column: pd.Series) -> bool:
    """Whether no cell of a column has content. An unreadable cell, such as `12%`, has content."""
    if not _is_text(column):
        return bool(column.isna().all())
    return bool((column.isna() | (column.astype("string").str.strip() == "").fillna(True)).all())


def decimal_mark(columns: list[pd.Series]) -> str:
    """The decimal mark of a table, decided from all its text columns.

    Raises:
        ValueError: a comma may separate decimals or thousands.
    """
    cells = [_text_of(column.dropna()) for column in columns if _is_text(column)]
    if not cells:
        return "."
    text = pd.concat(cells)
    text = text[text.str.contains(",", regex=False)].str.replace(_SUFFIXED, r"\1", regex=True)
    if text.empty or text.str.contains(r",.*,|,.*\.", regex=True).any():
        return "."
    decimals = text.str.fullmatch(r"[+-]?(?:0|\d{4,}|\d[\d.]*\.\d{3}),\d+|[+-]?[\d.]+,(?:\d{1,2}|\d{4,})")
    if decimals.any():
        return ","
    raise ValueError(
        f"numbers like {text.iloc[0]!r} are ambiguous: the comma may separate decimals or thousands; write decimals "
        "with a point"
    )


def parse_numbers(column: pd.Series, mark: str, factor: float = 1.0) -> np.ndarray:
    """The numbers of a column, float64 of shape `(N,)`; NaN where a cell is missing or not a number.

    K, M, B, T, 万 and 亿 after a number multiply it. A percentage is not a number.

    Args:
        column (`pd.Series`): numbers or text, N cells.
        mark (`str`): the decimal mark, from [`decimal_mark`].
        factor (`float`): what numbers without a suffix are multiplied by, from
            [`~kronos_ft.data.columns.unit_factor`].
    """
    if not _is_text(column):
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
        return numbers if factor == 1 else numbers * factor
    text = _text_of(column)
    if mark == ",":
        text = text.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    else:
        text = text.str.replace(r"(?<=\d),(?=\d{3}(\D|$))", "", regex=True)
    parts = text.str.extract(_SUFFIXED)
    factors = parts[1].str.lower().map(MULTIPLES).to_numpy(dtype=np.float64, na_value=np.nan)
    bare = pd.to_numeric(parts[0].fillna(text), errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return bare * np.where(np.isnan(factors), factor, factors)
