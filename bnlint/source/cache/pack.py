"""The facts of files, by the digest of their content: packs with an index, bodies read when asked.

A pack is written once and never changed. New facts make a new pack; when there are many, the small
ones are put together, which drops what no file has any longer. Two runs at once write two packs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Final

import msgspec
from msgspec import Struct

from bnlint.records import replace
from bnlint.source.cache.codec import decode, encode
from bnlint.source.cache.folder import Folder
from bnlint.source.digests import digest_of
from bnlint.source.outcome import Outcome

_PREFIX: Final = "pack-"
_MOST_PACKS: Final = 6
_SMALL: Final = 8 << 20
"""Bytes of a pack that is put together with others of its kind, while the large ones stay."""
_LARGEST_ENTRY: Final = 64 << 20
_MOST_BYTES: Final = 512 << 20
"""All packs together; beyond it only what the present run has used is kept."""
_AT_ONCE: Final = 24 << 20
"""Bytes that wait in memory to be written; of more a pack is made before the run ends."""
_HEAD: Final = 8


class _Entry(Struct, frozen=True, array_like=True, gc=False):
    """Where a body lies, from the end of the index on, and the digest of its bytes."""

    offset: int
    length: int
    check: str


class Pack:
    """Outcomes of files, kept by content."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._packs: dict[str, Mapping[str, _Entry]] | None = None
        self._starts: dict[str, int] = {}
        self._fresh: dict[str, bytes] = {}
        self._waiting = 0
        self._used: set[str] = set()

    def get(self, content: str, path: str) -> Outcome | None:
        """The outcome of a file with this content, for this path; None when it is not known."""
        key = _key(content, path)
        data = self._fresh.get(key)
        data = self._body(key) if data is None else data
        outcome = None if data is None else decode(data, path)
        if outcome is None or outcome.digest != content:
            return None
        self._used.add(key)
        facts = outcome.facts
        return outcome if facts is None else replace(outcome, facts=facts.packed())

    def add(self, outcome: Outcome) -> None:
        """Keep what was read from a file."""
        if not outcome.digest or outcome.unreadable or (outcome.problem and outcome.problem.trace):
            return
        data = encode(outcome)
        if data is not None and len(data) <= _LARGEST_ENTRY:
            key = _key(outcome.digest, outcome.path)
            self._fresh[key] = data
            self._used.add(key)
            self._waiting += len(data)
            if self._waiting > _AT_ONCE:
                self._write_early()

    def _write_early(self) -> None:
        """Make room; where nothing can be written, all waits for the next try."""
        self._waiting = 0
        if len(self._index()) < _MOST_PACKS and self._write(self._fresh):
            self._fresh.clear()
            self._packs = None

    def save(self, alive: Callable[[], set[str]]) -> None:
        """Write what is new. alive: the contents that files still have."""
        if not self._fresh:
            return
        packs = self._index()
        sizes = {name: sum(e.length for e in entries.values()) for name, entries in packs.items()}
        size = sum(sizes.values())
        if len(packs) < _MOST_PACKS and size < _MOST_BYTES:
            self._write(self._fresh)
            return
        small = [name for name in packs if sizes[name] < _SMALL]
        is_enough = size < _MOST_BYTES and len(packs) - len(small) < _MOST_PACKS - 1
        together = small if is_enough else list(packs)
        kept = alive() if size < _MOST_BYTES else set()
        known = {key for name in together for key in packs[name]}
        wanted = sorted(key for key in known if key in self._used or key.partition("-")[0] in kept)
        bodies = {key: data for key in wanted if (data := self._body(key)) is not None}
        if self._write({**bodies, **self._fresh}):
            self._folder.remove(together)

    def _write(self, bodies: Mapping[str, bytes]) -> bool:
        entries: dict[str, _Entry] = {}
        offset = 0
        for key, data in bodies.items():
            entries[key] = _Entry(offset, len(data), digest_of(data))
            offset += len(data)
        index = msgspec.msgpack.encode(entries)
        head = len(index).to_bytes(_HEAD, "little") + bytes.fromhex(digest_of(index))
        name = f"{_PREFIX}{time.time_ns():x}-{os.getpid():x}"
        return self._folder.put(name, (head, index, *bodies.values()))

    def _index(self) -> dict[str, Mapping[str, _Entry]]:
        if self._packs is None:
            names = self._folder.names(_PREFIX)
            self._packs = {name: dict(self._entries(name)) for name in names}
        return self._packs

    def _entries(self, name: str) -> Iterator[tuple[str, _Entry]]:
        head = self._folder.peek(name, 0, _HEAD + 16)
        if head is None or len(head) < _HEAD + 16:
            return
        length = int.from_bytes(head[:_HEAD], "little")
        if length > _LARGEST_ENTRY:
            return
        index = self._folder.peek(name, len(head), length)
        if index is None or bytes.fromhex(digest_of(index)) != head[_HEAD:]:
            return
        with suppress(msgspec.MsgspecError, ValueError):
            yield from msgspec.msgpack.decode(index, type=dict[str, _Entry]).items()
            self._starts[name] = len(head) + length

    def _body(self, key: str) -> bytes | None:
        for name, entries in self._index().items():
            entry = entries.get(key)
            if entry is None or not 0 <= entry.length <= _LARGEST_ENTRY or entry.offset < 0:
                continue
            data = self._folder.peek(name, self._starts[name] + entry.offset, entry.length)
            if data is not None and digest_of(data) == entry.check:
                return data
        return None


def _key(content: str, path: str) -> str:
    return f"{content}-notebook" if path.endswith(".ipynb") else content
