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
from pathlib import Path
from typing import IO

LIMIT_VARIABLE = "KRONOS_FT_MAX_UNPACKED"
LIMIT_MIB = 2048  # about 20 million candles or a million long records as text
PIECE = 2**20

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


def _read(path: Path, stream: IO[bytes], limit: int) -> bytes:
    pieces, size = [], 0
    while piece := stream.read(PIECE):
        size += len(piece)
        if size > limit:
            raise too_large(path, limit)
        pieces.append(piece)
    return b"".join(pieces)


def _read_zip(path: Path, content: bytes, limit: int) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [
            entry for entry in archive.infolist() if not entry.is_dir() and not entry.filename.startswith("__MACOSX")
        ]
        if len(members) != 1:
            raise ValueError(f"data file {path} is a zip archive of {len(members)} files; unpack it and pass one")
        if members[0].flag_bits & 1:
            raise ValueError(f"data file {path} is an encrypted zip archive; unpack it and pass the file in it")
        with archive.open(members[0]) as stream:
            return _read(path, stream, limit)


def unpack(path: Path, content: bytes, limit: int | None = None) -> bytes:
    """The content of a file, unpacked if it is gzip, bzip2 or a zip archive of one file.

    Args:
        path (`Path`): for messages.
        content (`bytes`): the file.
        limit (`int`, *optional*): maximum unpacked bytes; default [`unpacked_limit`].

    Raises:
        ValueError: damaged, more than the limit, an archive of several files, or another kind of compression.
    """
    for magic, kind in REFUSED_MAGICS.items():
        if content.startswith(magic):
            raise ValueError(f"data file {path} is {kind}, which is not supported; unpack it or compress it with gzip")
    limit = unpacked_limit() if limit is None else limit
    try:
        if content.startswith(GZIP_MAGIC):
            return _read(path, gzip.GzipFile(fileobj=io.BytesIO(content)), limit)
        if content.startswith(BZIP_MAGIC) and content[4:10] == b"1AY&SY":
            return _read(path, bz2.BZ2File(io.BytesIO(content)), limit)
        if content.startswith(ZIP_MAGIC):
            return _read_zip(path, content, limit)
    except (
        OSError,
        EOFError,
        zlib.error,
        lzma.LZMAError,
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
    ) as error:
        kind = {GZIP_MAGIC: "gzip", ZIP_MAGIC[:2]: "zip"}.get(content[:2], "bzip2")
        raise ValueError(f"data file {path} is a damaged {kind} file ({error}); download it again") from error
    return content
