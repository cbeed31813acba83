"""The comments of a text. Python's own tokenizer finds them in ten times the time of a parse; so
strings and comments alone are looked for, and it is asked where that leaves a doubt."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from typing import Final, TypeAlias

Comment: TypeAlias = tuple[int, int, str]
"""The line (from 1), the column (from 1, in code points), and the text from its `#` on."""

_PIECE: Final = re.compile(
    r'#[^\r\n]*+|"""(?:[^"\\]++|\\.|"(?!""))*+"""|\'\'\'(?:[^\'\\]++|\\.|\'(?!\'\'))*+\'\'\''
    r'|"""|\'\'\'|"(?:[^"\\\r\n]++|\\(?:\r\n|.))*+"|\'(?:[^\'\\\r\n]++|\\(?:\r\n|.))*+\'|["\']',
    re.DOTALL,
)
"""A comment, a string, or quotes that nobody closes."""
_OPENINGS: Final = frozenset({'"', "'", '"""', "'''"})
_NEWLINE: Final = re.compile(r"\r\n|\r|\n")


def comments_with(text: str, words: tuple[str, ...]) -> Iterator[Comment]:
    """The comments that hold one of these words, which are in lower case. Where the tokenizer gives
    up the rest is read by lines."""
    if not _mentions(text, words):
        return
    scanned = _scanned(text)
    if scanned is None:
        yield from (found for found in _tokenized(text) if _mentions(found[2], words))
        return
    line, start = 1, 0
    for offset, comment in scanned:
        if _mentions(comment, words):
            for newline in _NEWLINE.finditer(text, start, offset):
                line, start = line + 1, newline.end()
            yield line, offset - start + 1, comment


def _mentions(text: str, words: tuple[str, ...]) -> bool:
    lower = text.lower()
    return any(word in lower for word in words)


def _scanned(text: str) -> list[tuple[int, str]] | None:
    """The comments with their offsets; None where it takes more than strings to tell."""
    found = []
    for match in _PIECE.finditer(text):
        piece = match[0]
        if piece[0] == "#":
            found.append((match.start(), piece))
        elif piece in _OPENINGS or _hides(text[max(0, match.start() - 2) : match.start()], piece):
            return None
    return found


def _hides(prefix: str, string: str) -> bool:
    """Whether the braces of a string, which has an f or a t before it, may hold quotes or comments,
    as from Python 3.12 on they may."""
    if not any(letter in "fFtT" for letter in prefix):
        return False
    bare = string.replace("{{", "").replace("}}", "")
    return "#" in string or bare.count("{") != bare.count("}")


def _tokenized(text: str) -> Iterator[Comment]:
    last = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(text, newline="").readline):
            last = token.end[0]
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.start[1] + 1, token.string
    except (tokenize.TokenError, SyntaxError):
        for number, line in enumerate(text.splitlines()[last:], last + 1):
            if "#" in line:
                column = line.index("#")
                yield number, column + 1, line[column:]
