"""Text from outside (file names, source lines) made harmless for a terminal and for a reader,
and counts."""

from __future__ import annotations

import re
from typing import Final

_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufffe\uffff"
    "\ud800-\udfff]"
)
"""Control characters, line separators, marks that turn the direction of writing, half surrogates,
and what XML cannot say."""


def printable(text: str, keep: str = "") -> str:
    r"""The text with every character that is not to be printed as its escape (`\x1b`).

    keep: characters that may stay, such as a newline.
    """
    return _UNSAFE.sub(lambda match: match[0] if match[0] in keep else _escape(match[0]), text)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def counted(number: int, noun: str) -> str:
    """A number and what it counts: `1 file`, `2 files`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
