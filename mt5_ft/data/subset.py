"""Stratified subset of a file of records, and restoring the original file.

Notable:
- Rows are sampled by category, then by length within each category: both distributions are preserved, also for rare
  categories. Rounding uses cumulative counts, so the number of kept rows is exact.
- A JSON Lines file is replaced. Lines are copied as bytes: kept lines are byte-identical, including line endings and
  byte order mark; UTF-16 becomes UTF-8.
- The backup is flushed to disk before the file changes; after a failure at any time, one of the two is the original.
- The subset of another file (JSON, CSV, Parquet, bzip2, zip) is a new JSON Lines file beside it.
"""

import gzip
import hashlib
import json
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ft_core.io.compressed import GZIP_MAGIC, SUFFIXES, unpack
from ft_core.io.files import write_file

from .encodings import BOM, as_utf8
from .fields import MISSING, lookup
from .hub_rows import is_hub_name, load_hub_rows
from .jsonl import Defect, quoted, read_bytes
from .records import encode_row
from .rows import Source, kind_of, rows_of
from .stratified import choose_rows, ks_statistic, text_length

BACKUP_SUFFIX = ".backup"
CUT_SUFFIX = ".backup.cut"  # SHA-256 of the subset, to detect later changes
CATEGORY_LIMIT = 20  # a field with more values than this, and than half of the rows, is not a category
ABSENT = "(absent)"  # category of rows that lack the field
SHARES_SHOWN = 10
FORM_SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".txt", ".parquet")


@dataclass
class SubsetReport:
    """Result of [`drop_subset`].

    Args:
        path (`Path`), backup (`Path`): the file with the subset, and the original: its backup if it was replaced.
        rows_before (`int`), rows_after (`int`): number of rows, without blank lines.
        ks (`float`): Kolmogorov-Smirnov statistic of the text lengths before and after, from 0 (equal) to 1.
        shares_before (`dict[str, float]`), shares_after (`dict[str, float]`): share of rows of each category, largest
            first; empty without a category field.
        sha256 (`str`): hash of the original file.
    """

    path: Path
    backup: Path
    rows_before: int
    rows_after: int
    ks: float
    shares_before: dict[str, float]
    shares_after: dict[str, float]
    sha256: str

    def lines(self) -> list[str]:
        """The report as text."""
        lines = [
            f"{self.path}: {self.rows_before} rows before, {self.rows_after} after",
            f"text length: Kolmogorov-Smirnov statistic {self.ks:.4f} (0: equal distributions, 1: no overlap)",
        ]
        for name, share in list(self.shares_before.items())[:SHARES_SHOWN]:
            lines.append(f"{name!r}: {share:.2%} of the rows before, {self.shares_after[name]:.2%} after")
        if len(self.shares_before) > SHARES_SHOWN:
            lines.append(f"and {len(self.shares_before) - SHARES_SHOWN} more categories")
        return [*lines, f"original in {self.backup} (sha256 {self.sha256})"]


def _category_field(by: str, field: str | None) -> str | None:
    if by == "field" and field is None:
        raise ValueError("by='field' needs the name of the field; set field as well")
    if by in ("length", "field"):
        return field
    if field not in (None, by):
        raise ValueError(f"by={by!r} and field={field!r} name two different fields; pass only one")
    return by


def _categories(path: Path, rows: list[dict], name: str | None) -> list[str]:
    if name is None:
        return [""] * len(rows)
    if all(lookup(row, name) is MISSING for row in rows):
        known = quoted(dict.fromkeys(key for row in rows for key in row))
        raise ValueError(f"{path}: no row has the field by={name!r}; use length or one of {known}")
    values = [ABSENT if (value := lookup(row, name)) is MISSING else value for row in rows]
    values = [value if isinstance(value, str) else json.dumps(value, sort_keys=True) for value in values]
    distinct = len(set(values))
    if distinct > max(CATEGORY_LIMIT, len(rows) // 2):
        raise ValueError(
            f"{path}: by={name!r} has {distinct} different values in {len(rows)} rows; use a field with categories"
        )
    return values


def _shares(categories: list[str], names: list[str]) -> dict[str, float]:
    counts = Counter(categories)
    return {name: counts[name] / len(categories) for name in names}


def _output_file(path: Path, original: bytes, kind: str, packed: bool) -> Path:
    """The file to write: `path` itself if it is a JSON Lines file, plain or gzip; else one named `.jsonl` beside it."""
    zipped = original.startswith(GZIP_MAGIC)
    if kind == "lines" and (zipped or not packed):
        return path
    stem = path
    for suffixes in (SUFFIXES, FORM_SUFFIXES):
        stem = stem.with_suffix("") if stem.suffix.lower() in suffixes else stem
    return stem.with_name(stem.name + (".jsonl.gz" if zipped else ".jsonl"))


def _written_lines(path: Path, rows: dict[int, dict]) -> list[tuple[int, bytes]]:
    """The rows as numbered lines of JSON.

    Raises:
        ValueError: a value that JSON does not have, such as a date of Parquet.
    """
    lines = []
    for number, row in rows.items():
        try:
            lines.append((number, encode_row(row) + b"\n"))
        except TypeError as error:
            raise ValueError(
                f"{path}:{number}: the row cannot be written as JSON ({error}); convert the column"
            ) from None
    return lines


def drop_subset(
    path: str | Path, drop: float = 0.2, by: str = "length", seed: int = 42, field: str | None = None
) -> SubsetReport:
    """Removes a share of the rows of a file; preserves the distributions of text length and of a category.

    A JSON Lines file, also in UTF-16 or gzip, is replaced: the original is first copied to `FILE.backup`; [`restore`]
    restores it. For JSON, CSV, Parquet, bzip2 and zip, the rows are written to a new file named `.jsonl` beside it; for
    a data set of the Hub, to `OWNER_NAME.jsonl` in the current folder.

    Args:
        path (`str` or `Path`): file as [`~mt5_ft.data.rows.read_rows`] reads it.
        drop (`float`): share of the rows to remove, above 0 and below 1; `round(n * (1 - drop))` rows are kept.
        by (`str`): `length` for the text length only, or the name of a category field.
        seed (`int`): random seed.
        field (`str`, *optional*): category field, for `by="field"` or for a field named `length`.

    Raises:
        ValueError: a share outside (0, 1) or that removes no row or all rows, a negative seed, an unknown field, a
            missing or empty file, a row that is not a JSON object, or an existing backup or output file.
        OSError: a write failed; the original is then in place, or in the backup.
    """
    if not 0 < drop < 1:
        raise ValueError(f"drop={drop} is outside (0, 1); use e.g. 0.2")
    if seed < 0:
        raise ValueError(f"seed={seed} is negative; pass 0 or more")
    category_field = _category_field(by, field)
    given = Path(path)
    from_hub = is_hub_name(given)
    if from_hub:
        output = path = Path(given.as_posix().replace("/", "_").replace(":", "_") + ".jsonl").resolve()
        original = content = b"".join(line for _, line in _written_lines(given, dict(load_hub_rows(given))))
        kind, backup = "lines", given
    else:
        path = given.resolve()  # for a link, change its target
        original = read_bytes(path)
        unpacked = unpack(path, original)
        content = as_utf8(path, unpacked)
        kind = kind_of(Source(path, content))
        output = _output_file(path, original, kind, unpacked is not original)
        backup = path.with_name(path.name + BACKUP_SUFFIX) if output == path else path
    replaces = output == path and not from_hub
    # check after reading: a concurrent run that replaced the file has also written its backup
    if replaces and (backup.exists() or backup.is_symlink()):
        raise ValueError(f"backup {backup} exists; restore or remove it first")
    if not replaces and (output.exists() or output.is_symlink()):
        raise ValueError(f"output file {output} exists; rename or remove it, or pass it instead of {given.name}")
    source = Source(path, content)
    rows = dict(rows_of(source))
    defect = next((row for row in rows.values() if isinstance(row, Defect)), None)
    if defect:
        raise ValueError(f"{path}:{defect.line}: {defect.text}; correct the file")
    lines = enumerate(source.lines(), start=1) if kind == "lines" else _written_lines(path, rows)
    keep = round(len(rows) * (1 - drop))
    if keep in (0, len(rows)):
        raise ValueError(f"drop={drop} of {len(rows)} rows keeps {keep}; use a share that removes some rows, not all")
    categories = _categories(path, list(rows.values()), category_field)
    lengths = np.array([text_length(row) for row in rows.values()])
    chosen = choose_rows(lengths, categories, keep, seed)

    dropped = {number for number, stays in zip(rows, chosen, strict=True) if not stays}
    kept_lines = b"".join(line for number, line in lines if number not in dropped)
    smaller = BOM + kept_lines if kind == "lines" and content.startswith(BOM) else kept_lines
    if original.startswith(GZIP_MAGIC):
        smaller = gzip.compress(smaller, mtime=0)
    mode = 0o644 if from_hub else path.stat().st_mode
    if replaces:
        _write(backup, original, mode)
        _write(_cut_file(path), hashlib.sha256(smaller).hexdigest().encode(), mode)
    _write(output, smaller, mode)

    kept = [category for category, stays in zip(categories, chosen, strict=True) if stays]
    names = [] if category_field is None else [name for name, _ in Counter(categories).most_common()]
    return SubsetReport(
        path=output,
        backup=backup,
        rows_before=len(rows),
        rows_after=len(kept),
        ks=ks_statistic(lengths, lengths[chosen]),
        shares_before=_shares(categories, names),
        shares_after=_shares(kept, names),
        sha256=hashlib.sha256(original).hexdigest(),
    )


def _cut_file(path: Path) -> Path:
    return path.with_name(path.name + CUT_SUFFIX)


def _write(path: Path, content: bytes, mode: int) -> None:
    write_file(path, lambda temporary: temporary.write_bytes(content))
    path.chmod(mode & 0o7777)  # keep permissions: the texts may be private


def restore(path: str | Path, force: bool = False) -> Path:
    """Restores `FILE` from `FILE.backup`, byte for byte, and then removes the backup.

    Args:
        path (`str` or `Path`): the file of [`drop_subset`]; it may be missing.
        force (`bool`): restore even if the file has changed since, and lose the changes.

    Raises:
        ValueError: no backup, the backup is a link, the file has changed since, or the restored file differs from the
            backup (which is then kept).
    """
    path = Path(path).resolve()
    backup = path.with_name(path.name + BACKUP_SUFFIX)
    if backup.is_symlink():
        raise ValueError(f"backup {backup} is a link, which subset never creates; replace it by the file")
    if not backup.is_file():
        raise ValueError(f"backup {backup} does not exist; pass the file that subset replaced")
    content = read_bytes(backup)
    if not force and _was_changed(path, content):
        raise ValueError(
            f"{path} has changed since the subset was made, and restoring {backup} would lose the changes; copy the "
            "file and pass --force"
        )
    write_file(path, lambda temporary: temporary.write_bytes(content))
    shutil.copymode(backup, path)
    if hashlib.sha256(path.read_bytes()).digest() != hashlib.sha256(content).digest():
        raise ValueError(f"{path} differs from {backup} after writing; check the disk, the backup is kept")
    backup.unlink()
    _cut_file(path).unlink(missing_ok=True)
    return path


def _was_changed(path: Path, original: bytes) -> bool:
    """Whether a file is neither the subset nor the original; False if this is unknown."""
    cut = _cut_file(path)
    if not (path.is_file() and cut.is_file()):
        return False
    now = hashlib.sha256(path.read_bytes()).hexdigest()
    return now not in (cut.read_text(encoding="utf-8"), hashlib.sha256(original).hexdigest())
