"""Changes of files as a patch that `git apply` takes, in the working directory."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator

from bnlint.paths import shown_path

_NO_NEWLINE = b"\\ No newline at end of file\n"
_ESCAPES = {7: "a", 8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r", 34: '"', 92: "\\"}


def patch(changes: Iterable[tuple[str, bytes, bytes]]) -> bytes:
    """A unified diff of path, old and new content. Lines end at a newline only, as git has it, and
    keep their bytes, whatever the encoding."""
    return b"".join(line for change in changes for line in _file(*change))


def _file(path: str, before: bytes, after: bytes) -> Iterator[bytes]:
    shown = shown_path(path)
    old, new = _name(f"a/{shown}"), _name(f"b/{shown}")
    yield f"diff --git {old} {new}\n".encode()
    rows = difflib.unified_diff(_lines(before), _lines(after), lineterm="\n")
    for number, row in enumerate(rows):
        if number < 2:  # difflib's own header
            mark, name = (("---", old), ("+++", new))[number]
            yield f"{mark} {name}{_after(name)}\n".encode()
            continue
        data = row.encode("latin-1")
        yield data if data.endswith(b"\n") else data + b"\n" + _NO_NEWLINE


def _lines(content: bytes) -> list[str]:
    """Lines with their ends, one character for each byte."""
    *whole, last = content.decode("latin-1").split("\n")
    return [f"{line}\n" for line in whole] + ([last] if last else [])


def _name(path: str) -> str:
    """A file name as git writes it: in quotes, with escapes, when it is not plain."""
    raw = os.fsencode(path)
    if all(0x20 <= byte < 0x7F and byte not in b'"\\' for byte in raw):
        return path
    return '"' + "".join(map(_quoted, raw)) + '"'


def _after(name: str) -> str:
    """The tab with which git ends a name that has blanks."""
    return "\t" if " " in name and not name.startswith('"') else ""


def _quoted(byte: int) -> str:
    if byte in _ESCAPES:
        return "\\" + _ESCAPES[byte]
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}"
