"""Which files can matter at all, told from their bytes alone.

What is left out is not lost: an import that asks for such a file still gets it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from bnlint.records import Struct
from bnlint.source.limits import LIMITS
from bnlint.source.plain import open_plain

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

_NARROW_WORDS: Final = tuple(
    b"BatchNorm batch_norm norm_layer Dropout dropout no_grad load_state_dict from_pretrained "
    b"DataLoader".split()
)
"""Words that NARROW matches, which are found much faster one by one."""

REMARK: Final = re.compile(rb"bnlint:[ \t]*ignore|(?i:noqa)[^\n]*BNL")
"""A comment to bnlint, which a given file may have in vain."""

BROAD_UP_TO: Final = 400
"""Projects with at most this many broadly matching files are read as a whole."""

_SCRIPT: Final = re.compile(rb"^(?:if __name__|for |with |[\w.]+\()", re.MULTILINE)
_IMPORT: Final = re.compile(
    rb"(?:^|\")[ \t]*"
    rb"(?:from[ \t]+([\w.]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)|import[ \t]+([^\n]*))",
    re.MULTILINE,
)
_WORD: Final = re.compile(rb"\w+")


class Digest(Struct, frozen=True):
    """What the bytes of one file say. imported: all names in its import statements; remark: there
    is a comment to bnlint."""

    broad: bool
    narrow: bool
    script: bool
    imported: frozenset[str]
    remark: bool = False


def digest(data: bytes) -> Digest:
    """The digest of a file's (first) bytes."""
    broad = BROAD.search(data) is not None
    words = {w for match in _IMPORT.finditer(data) for w in _WORD.findall(b" ".join(_said(match)))}
    return Digest(
        broad,
        broad and _is_narrow(data),
        _SCRIPT.search(data) is not None,
        frozenset(word.decode("utf-8", "replace") for word in words),
        _may_remark(data) and REMARK.search(data) is not None,
    )


def _is_narrow(data: bytes) -> bool:
    return any(word in data for word in _NARROW_WORDS) or NARROW.search(data) is not None


def _may_remark(data: bytes) -> bool:
    """What takes a tenth of the time of the search for a remark."""
    return b"bnlint:" in data or b"noqa" in data.lower()


def _said(match: re.Match[bytes]) -> list[bytes]:
    return [group for group in match.groups() if group is not None]


def relevant(
    paths: Sequence[str],
    given: Iterable[str],
    named: Iterable[str],
    digest_of: Callable[[str], Digest] | None = None,
) -> set[str]:
    """Those of a project's files that must be read when findings are wanted in the given ones.

    Always the ones given by name; else what matches, and scripts that import something that does:
    there a chain of calls may begin. A file that was not given matters only when it imports a
    given one, over however many files: otherwise nothing in a given file can be part of its story.
    digest_of: for callers that keep digests; None reads the files.
    """
    read = digest_of_file if digest_of is None else digest_of
    digests = {path: read(path) for path in paths}
    given = set(given)
    always = {*named, *(path for path in given if path in digests and digests[path].remark)}
    chosen = {path for path, digest in digests.items() if digest.broad}
    if len(chosen) > BROAD_UP_TO:
        chosen = {path for path in chosen if digests[path].narrow}
    chosen |= always
    stems = {_stem(path) for path in chosen}
    chosen |= {path for path, d in digests.items() if d.script and d.imported & stems}
    return chosen & _importers(digests, given)


def _importers(digests: Mapping[str, Digest], given: Iterable[str]) -> set[str]:
    """The given files and all that import them, directly or not (told by names alone)."""
    found = set(given)
    if found >= digests.keys():
        return found
    readers: dict[str, list[str]] = {}
    for path, digest in digests.items():
        for name in digest.imported:
            readers.setdefault(name, []).append(path)
    pending = list(found)
    while pending:
        for reader in readers.get(_stem(pending.pop()), ()):
            if reader not in found:
                found.add(reader)
                pending.append(reader)
    return found


def digest_of_file(path: str) -> Digest:
    """The digest of a file on the disk."""
    try:
        with open_plain(path) as file:
            return digest(file.read(LIMITS.of(path)))
    except OSError:  # chosen, so that reading it reports the error
        return Digest(broad=True, narrow=True, script=False, imported=frozenset())


def _stem(path: str) -> str:
    """The name by which a file is imported: its own, or its package's."""
    folder, name = os.path.split(path)
    stem = name.rpartition(".")[0]
    return os.path.basename(folder) if stem == "__init__" else stem
