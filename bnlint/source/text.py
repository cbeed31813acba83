"""Bytes of a file to text, as Python itself would read them."""

from __future__ import annotations

import io
import re
import tokenize
from itertools import accumulate
from typing import Final

_NEWLINE: Final = re.compile(r"\r\n|\r|\n")


NO_FILE: Final = "<text>/"
"""The name of a text for `ast`, which opens the file of this name to quote a wrong line: by its
slash no file can have it."""


class RefusedError(Exception):
    """A file that is not handed to the parser: the message says why; line counts from 1."""

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column

    def __reduce__(self) -> tuple[type[RefusedError], tuple[str, int, int]]:
        return RefusedError, (self.message, self.line, self.column)


def decode(data: bytes) -> str:
    """The text of Python source: byte order mark and coding comment honoured, newlines kept.

    Raises RefusedError for null bytes, an unknown encoding and undecodable bytes.
    """
    return decode_with_encoding(data)[0]


def decode_with_encoding(data: bytes) -> tuple[str, str]:
    """As `decode`, and the name of the encoding, with which the text becomes the same bytes."""
    if b"\0" in data:
        raise RefusedError("is not a text file: it contains null bytes")
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return data.decode(encoding), encoding
    except (SyntaxError, LookupError) as error:
        raise RefusedError(f"cannot be decoded: {error}") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"cannot be decoded as {error.encoding}: {error.reason}"
        raise RefusedError(message, line) from None


def split_lines(text: str) -> list[str]:
    r"""The lines without their ends; only \n, \r\n and \r end one, as in Python's grammar."""
    return _NEWLINE.split(text) if "\r" in text else text.split("\n")


def line_starts(text: str) -> list[int]:
    """The offset of the first character of each line."""
    if "\r" in text:
        return [0, *(match.end() for match in _NEWLINE.finditer(text))]
    lines = text.split("\n")
    return [*accumulate([len(line) + 1 for line in lines[:-1]], initial=0)]
