"""The content of each file as a digest, told from its state on disk where that is enough."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import msgspec
from msgspec import Struct

from bnlint.source.cache.folder import Folder
from bnlint.source.digests import digest_of
from bnlint.source.limits import LIMITS
from bnlint.source.plain import open_plain
from bnlint.source.prefilter import Digest, digest, digest_of_file

_INDEX: Final = "index"
_SETTLED: Final = 2_000_000_000
"""Nanoseconds after which a further write to a file surely shows in its times: the coarsest clock
of a file system that is in use (FAT) ticks every two seconds."""
_MOST_DIGESTS: Final = 50_000


class _Row(Struct, frozen=True, array_like=True, gc=False):
    """A file's state when its content was read, and the digest of that."""

    modified: int
    changed: int
    size: int
    inode: int
    content: str


class _Index(Struct, frozen=True, array_like=True):
    """digests: what the prefilter says of contents, not decoded before somebody asks."""

    rows: dict[str, _Row]
    digests: msgspec.Raw


class Contents:
    """Digests of the files below a root, by absolute path.

    A file whose times, size and inode are as they were is not read again, unless it was written
    so shortly before it was read that another write could have left the same times.
    """

    def __init__(self, folder: Folder, root: str) -> None:
        self._folder = folder
        self._prefix = root.rstrip("/") + "/"
        index = _read_index(folder)
        self._rows = {} if index is None else index.rows
        self._raw = None if index is None else index.digests
        self._digests: dict[str, Digest] | None = None
        self._found: dict[str, str] = {}
        self._fresh: dict[str, Digest] = {}
        self._changed = False

    def content(self, path: str) -> str:
        """The digest of a file's content; empty when it cannot be read."""
        if path not in self._found:
            self._found[path] = self._content(path)
        return self._found[path]

    def forget(self, path: str) -> None:
        """The file may have changed since it was asked for."""
        self._found.pop(path, None)

    def digest(self, path: str) -> Digest:
        """What the prefilter says of a file."""
        content = self.content(path)
        if not content:
            return digest_of_file(path)
        known = self._fresh.get(content) or self._kept_digests().get(content)
        if known is None:
            known = self._fresh[content] = digest_of_file(path)
            self._changed = True
        return known

    def known_contents(self) -> set[str]:
        """The contents that files had when they were last seen."""
        return {row.content for row in self._rows.values()} | set(self._found.values())

    def save(self) -> None:
        """Write what has been learnt; files that are gone are dropped."""
        if not self._changed:
            return
        rows = {name: row for name, row in self._rows.items() if self._is_there(name)}
        digests = {**self._kept_digests(), **self._fresh}
        if len(digests) > _MOST_DIGESTS or len(digests) > 4 * len(rows) + 100:
            alive = {row.content for row in rows.values()}
            digests = {content: kept for content, kept in digests.items() if content in alive}
        raw = msgspec.Raw(msgspec.msgpack.encode(digests))
        self._folder.write(_INDEX, msgspec.msgpack.encode(_Index(rows, raw)))
        self._changed = False

    def _is_there(self, name: str) -> bool:
        path = self._prefix + name
        return path in self._found or os.path.lexists(path)

    def _content(self, path: str) -> str:
        name = path.removeprefix(self._prefix)
        try:
            now = time.time_ns()
            state = state_of(path)
            row = self._rows.get(name)
            if row is not None and state == (row.modified, row.changed, row.size, row.inode):
                return row.content
            if state[2] > LIMITS.of(path):
                return f"too large: {state[2]}"
            with open_plain(path) as file:
                data = file.read(LIMITS.of(path) + 1)
        except OSError:
            return ""
        content = digest_of(data)
        if content not in self._kept_digests():
            self._fresh[content] = digest(data)
        if max(state[:2]) + _SETTLED < now and _is_text(name):
            self._rows[name] = _Row(*state, content)
            self._changed = True
        return content

    def _kept_digests(self) -> dict[str, Digest]:
        if self._digests is None:
            self._digests = {}
            if self._raw is not None:
                with suppress(msgspec.MsgspecError, ValueError):
                    self._digests = msgspec.msgpack.decode(self._raw, type=dict[str, Digest])
        return self._digests


def state_of(path: str) -> tuple[int, int, int, int]:
    """Times of the last write and of the last change (nanoseconds), size and inode."""
    found = os.stat(path)
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def tree_digest(contents: Iterable[tuple[str, str]]) -> str:
    """One digest for paths and their contents."""
    return digest_of(msgspec.msgpack.encode(list(contents)))


def _read_index(folder: Folder) -> _Index | None:
    data = folder.read(_INDEX)
    with suppress(msgspec.MsgspecError, ValueError):
        return None if data is None else msgspec.msgpack.decode(data, type=_Index)
    return None


def _is_text(name: str) -> bool:
    """Whether a file name can be written down."""
    with suppress(UnicodeEncodeError):
        return bool(name.encode())
    return False
