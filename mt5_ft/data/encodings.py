"""Encodings of text files: UTF-8 and UTF-16 are read; for others, a message shows what the text would be."""

import re
from collections.abc import Iterable
from pathlib import Path

BOM = b"\xef\xbb\xbf"
UTF16_MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_UTF16_STARTS = {b"{\0": "utf-16-le", b"[\0": "utf-16-le", b"\0{": "utf-16-be", b"\0[": "utf-16-be"}
SAMPLE_BYTES = 65_536
SHOWN_ENCODINGS, SHOWN_WORDS, WORD_CHARACTERS = 3, 3, 8
_LIKELY = 0.1  # greatest difference to the mess of the best guess
_FOREIGN_WORD = re.compile(r"[^\W\d_a-zA-Z][^\W\d_]*")


def utf16_of(content: bytes) -> str | None:
    """The UTF-16 encoding of a file by its first bytes, or None."""
    return UTF16_MARKS.get(content[:2]) or _UTF16_STARTS.get(content[:2])


def as_utf8(path: Path, content: bytes) -> bytes:
    """A file's content with UTF-16 converted to UTF-8.

    Raises:
        ValueError: damaged UTF-16.
    """
    encoding = utf16_of(content)
    if encoding is None:
        return content
    try:
        return content.decode(encoding).removeprefix("\ufeff").encode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise ValueError(f"data file {path} is damaged UTF-16 text ({error.reason}); save it as UTF-8") from error


def _words(text: str) -> str:
    words = dict.fromkeys(word[:WORD_CHARACTERS] for word in _FOREIGN_WORD.findall(text))
    return ", ".join(repr(word) for word in list(words)[:SHOWN_WORDS])


def conversion(name: str, encoding: str) -> str:
    """The command that writes a UTF-8 copy of a file, the same in bash, cmd and PowerShell; line ends do not change."""
    name = name.replace("'", r"\'")
    copy = f"open('utf8-{name}', 'w', encoding='utf-8', newline='').write"
    return f"python -c \"{copy}(open('{name}', encoding='{encoding}', newline='').read())\""


def describe_encoding(name: str, lines: Iterable[bytes]) -> str:
    """Likely encodings of lines that are not UTF-8, each with a few decoded words, and the command to convert a file.

    Args:
        name (`str`): file name for the command.
        lines: lines that are not UTF-8.
    """
    from charset_normalizer import from_bytes

    sample = b""
    for line in lines:
        sample += line
        if len(sample) >= SAMPLE_BYTES:
            break
    guesses = list(from_bytes(sample))
    readings: dict[str, str] = {}  # encoding by what it makes of the sample
    for guess in guesses:
        if guess.chaos <= guesses[0].chaos + _LIKELY and (words := _words(str(guess))):
            readings.setdefault(words, guess.encoding)
    shown = [f"as {encoding} it reads {words}" for words, encoding in list(readings.items())[:SHOWN_ENCODINGS]]
    if not shown:
        return "its encoding is not recognised; save the file as UTF-8"
    first = next(iter(readings.values()))
    command = conversion(name, first)
    if len(shown) == 1:
        return f"{shown[0]}; if these are words of the text, convert the file: {command}"
    return f"{'; '.join(shown)}; convert the file with the encoding that gives words of the text, e.g. {command}"
