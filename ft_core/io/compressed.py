"""Bounded decompression: a file of kilobytes can expand to more than the memory.

Gzip, bzip2 and zip archives of one file are recognised by their first bytes, not by the file name. Nothing is
unpacked to disk, so names inside an archive are never used.
"""

import bz2
import gzip
import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO

LIMIT_VARIABLE = "KRONOS_FT_MAX_UNPACKED"
LIMIT_MIB = 2048  # about 20 million candles or a million long records as text
PIECE = 2**20
START = 10  # bytes that show the compression

GZIP_MAGIC, BZIP_MAGIC, ZIP_MAGIC = b"\x1f\x8b", b"BZh", b"PK\x03\x04"
REFUSED_MAGICS = {
    b"\xfd7zXZ\x00": "an xz file",
    b"\x28\xb5\x2f\xfd": "a zstandard file",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"PK\x05\x06": "an empty zip archive",
}
SUFFIXES = (".gz", ".bz2", ".zip")


def unpacked_limit() -> int:
    """Maximum unpacked size in bytes: `KRONOS_FT_MAX_UNPACKED` in MiB, or 2,048 MiB.

    Raises:
        ValueError: the variable is not a positive integer.
    """
    value = os.environ.get(LIMIT_VARIABLE) or str(LIMIT_MIB)
    if not value.isdecimal() or int(value) < 1:
        raise ValueError(f"{LIMIT_VARIABLE}={value!r} is not a positive integer (MiB); set e.g. {LIMIT_MIB}")
    return int(value) * 2**20


def too_large(path: Path, limit: int) -> ValueError:
    """The error for a file that unpacks to more than the limit."""
    return ValueError(
        f"data file {path} unpacks to more than {limit / 2**20:,.0f} MiB; if this is intended, set {LIMIT_VARIABLE} "
        "to a higher number of MiB"
    )


def _zip_member(path: Path, file: IO[bytes]) -> IO[bytes]:
    archive = zipfile.ZipFile(file)
    members = [
        entry for entry in archive.infolist() if not entry.is_dir() and not entry.filename.startswith("__MACOSX")
    ]
    if len(members) != 1:
        raise ValueError(f"data file {path} is a zip archive of {len(members)} files; unpack it and pass one")
    if members[0].flag_bits & 1:
        raise ValueError(f"data file {path} is an encrypted zip archive; unpack it and pass the file in it")
    return archive.open(members[0])


def _kind(path: Path, start: bytes) -> str:
    """The compression by the first bytes of a file; empty if it has none."""
    for magic, kind in REFUSED_MAGICS.items():
        if start.startswith(magic):
            raise ValueError(f"data file {path} is {kind}, which is not supported; unpack it or compress it with gzip")
    if start.startswith(BZIP_MAGIC) and start[4:10] == b"1AY&SY":
        return "bzip2"
    if start.startswith(GZIP_MAGIC):
        return "gzip"
    return "zip" if start.startswith(ZIP_MAGIC) else ""


def unpacked_blocks(path: Path, file: IO[bytes], limit: int | None = None) -> Iterator[bytes]:
    """The content of a file in blocks of at most `PIECE` bytes, unpacked as [`unpack`] does.

    Args:
        path (`Path`): for messages.
        file: the open file, at its start.
        limit (`int`, *optional*): maximum unpacked bytes; default [`unpacked_limit`].

    Raises:
        ValueError: as [`unpack`].
    """
    kind = _kind(path, file.read(START))
    file.seek(0)
    if not kind:
        yield from iter(partial(file.read, PIECE), b"")
        return
    limit, size = unpacked_limit() if limit is None else limit, 0
    openers = {"gzip": lambda: gzip.GzipFile(fileobj=file), "bzip2": lambda: bz2.BZ2File(file)}
    try:
        stream = openers.get(kind, lambda: _zip_member(path, file))()
        while piece := stream.read(PIECE):
            size += len(piece)
            if size > limit:
                raise too_large(path, limit)
            yield piece
    except (
        OSError,
        EOFError,
        zlib.error,
        lzma.LZMAError,
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise ValueError(f"data file {path} is a damaged {kind} file ({error}); download it again") from error


def unpack(path: Path, content: bytes, limit: int | None = None) -> bytes:
    """The content of a file, unpacked if it is gzip, bzip2 or a zip archive of one file.

    Args:
        path (`Path`): for messages.
        content (`bytes`): the file.
        limit (`int`, *optional*): maximum unpacked bytes; default [`unpacked_limit`].

    Raises:
        ValueError: damaged, more than the limit, an archive of several files, or another kind of compression.
    """
    if not _kind(path, content[:START]):
        return content
    return b"".join(unpacked_blocks(path, io.BytesIO(content), limit))
