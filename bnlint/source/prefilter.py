"""Which files can matter at all, told from their bytes alone.

What is left out is not lost: an import that asks for such a file still gets it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import Final

from bnlint.source.guard import LIMITS

BROAD: Final = re.compile(
    rb"torch|[Bb]atch_?[Nn]orm|\.eval\b|\.train\b|\bnn\.Module\b|\blightning\b|\btimm\b"
)
"""Anything that has to do with torch."""

NARROW: Final = re.compile(
    rb"[Bb]atch_?[Nn]orm|norm_layer|\b[Bb][Nn]|[Dd]ropout|\.eval\b|\.train\b|no_grad|inference_mode"
    rb"|set_grad_enabled|load_state_dict|torch\.load|torch\.hub|from_pretrained|\bbackward\("
    rb"|DataLoader"
)
"""What a rule can begin with: a layer it judges, or something that happens to a model's mode."""

BROAD_UP_TO: Final = 400
"""Projects with at most this many broadly matching files are read as a whole."""

_SCRIPT: Final = re.compile(rb"^(?:if __name__|for |with |[\w.]+\()", re.MULTILINE)
_IMPORTED: Final = re.compile(rb"^[ \t]*(?:from|import)[ \t]+([\w.]+)", re.MULTILINE)


def read_start(path: str) -> bytes:
    """The first bytes of a file, up to the size that could be parsed at all."""
    with open(path, "rb") as file:
        return file.read(LIMITS.of(path))


def relevant(paths: Sequence[str], named: Iterable[str]) -> set[str]:
    """Those of the paths that must be read; the named ones are always among them.

    A script that imports a relevant file is relevant: it may be where the chain of calls begins.
    """
    always = frozenset(named)
    starts = {path: _digest(path) for path in paths if path not in always}
    broad = {path for path, digest in starts.items() if digest.broad}
    if len(broad) > BROAD_UP_TO:
        broad = {path for path in broad if starts[path].narrow}
    chosen = broad | always
    stems = {_stem(path) for path in chosen}
    return chosen | {path for path, digest in starts.items() if digest.imported & stems}


class _Digest:
    """What the bytes of one file say. imported: names a script imports, empty for other files."""

    __slots__ = ("broad", "imported", "narrow")

    def __init__(self, data: bytes) -> None:
        self.broad = BROAD.search(data) is not None
        self.narrow = self.broad and NARROW.search(data) is not None
        self.imported: frozenset[str] = frozenset()
        if _SCRIPT.search(data):
            names = (name.decode() for name in _IMPORTED.findall(data))
            self.imported = frozenset(part for name in names for part in name.split("."))


def _digest(path: str) -> _Digest:
    try:
        return _Digest(read_start(path))
    except OSError:  # reading it again reports it
        return _Digest(b"torch batchnorm")


def _stem(path: str) -> str:
    """The name by which a file is imported: its own, or its package's."""
    folder, name = os.path.split(path)
    stem = name.rpartition(".")[0]
    return os.path.basename(folder) if stem == "__init__" else stem
