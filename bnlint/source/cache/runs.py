"""Whole runs: what was found when the files were as they are now.

Two layers. The verdicts of all rules hold as long as the files that were read have their content,
whatever the settings choose among them; the finished result holds for one choice.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Raw, Struct

from bnlint.rules import offers_rules
from bnlint.settings import Settings
from bnlint.source.cache.contents import tree_digest
from bnlint.source.cache.store import Cache
from bnlint.source.cache.wire import Found, packed, unpacked
from bnlint.source.digests import digest_of
from bnlint.source.ground import Ground
from bnlint.source.prefilter import relevant
from bnlint.source.result import LintResult

if TYPE_CHECKING:
    from bnlint.baseline import Entry
    from bnlint.source.facts import FileFacts
    from bnlint.source.verdicts import Verdicts

_PREFIX: Final = "run-"
_MOST_RUNS: Final = 24
_MOST_SHOWN: Final = 6
_CHOOSING: Final = frozenset(
    "select extend_select ignore extend_ignore per_file_ignores baseline".split()
)
"""Settings that choose among what was found."""
_ELSEWHERE: Final = frozenset(
    "jobs output_format fail_level source cache cache_dir executor".split()
)
"""Settings that change nothing about what is found."""


class _Shown(Struct, frozen=True, array_like=True):
    findings: tuple[Found, ...]
    slack: list[tuple[tuple[str, str, str], int]]


class _Run(Struct, frozen=True, array_like=True):
    """tree: of all files and their contents; shape: of the paths alone; chosen: of the files that
    the prefilter has let through; consulted: the files that
    were read, with their contents; shown: results, by the settings that chose them."""

    tree: str
    shape: str
    chosen: str
    consulted: Raw
    verdicts: Raw
    shown: dict[str, Raw]


@dataclass(slots=True)
class Runs:
    """The runs over one ground with one cache."""

    ground: Ground
    settings: Settings
    cache: Cache
    paths: tuple[str, ...]
    _run: _Run | None = None

    def recall(self) -> LintResult | None:
        """What this run would find, if that is known."""
        if self.ground.given.unreadable or self.ground.project is None:
            return None
        run = self._load()
        if run is None or not self._holds(run):
            return None
        self._run = run
        with suppress(msgspec.MsgspecError, LookupError, ValueError, TypeError):
            raw = run.shown.get(self._choice())
            result = self._shown(run) if raw is None else self._result(raw)
            self.cache.save()
            return result
        return None

    def remember(
        self, verdicts: Verdicts, result: LintResult, consulted: Mapping[str, str]
    ) -> None:
        """Keep what was found. consulted: the files that were read, and the digests of what was
        read; nothing is kept when one of them is unknown or has changed since."""
        from bnlint.source.cache.verdict_wire import packed_verdicts

        is_whole = not (result.errors or verdicts.drawing or any(verdicts.crashes.values()))
        if not is_whole or result.texts or self.ground.project is None or offers_rules():
            return
        if any(not d or self.cache.contents.content(p) != d for p, d in consulted.items()):
            return
        encode = msgspec.msgpack.encode
        with suppress(TypeError, ValueError, OverflowError):
            self._write(
                _Run(
                    self._tree(),
                    self._shape(),
                    self._chosen(),
                    Raw(encode(dict(consulted))),
                    Raw(packed_verdicts(verdicts)),
                    {self._choice(): Raw(encode(_packed(result)))},
                )
            )

    def _load(self) -> _Run | None:
        data = self.cache.folder.read(self._name())
        with suppress(msgspec.MsgspecError, ValueError):
            return None if data is None else msgspec.msgpack.decode(data, type=_Run)
        return None

    def _write(self, run: _Run) -> None:
        if self.cache.folder.write(self._name(), msgspec.msgpack.encode(run)):
            self.cache.folder.remove(self.cache.folder.names(_PREFIX)[_MOST_RUNS:])

    def _holds(self, run: _Run) -> bool:
        """Whether the files are as they were, as far as the run has read them."""
        if run.shape != self._shape():
            return False
        if run.tree == self._tree():
            return True
        with suppress(msgspec.MsgspecError, ValueError):
            consulted = msgspec.msgpack.decode(run.consulted, type=dict[str, str])
            content = self.cache.contents.content
            same = all(content(path) == digest for path, digest in consulted.items())
            return same and self._chosen() == run.chosen
        return False

    def _chosen(self) -> str:
        if not self.settings.prefilter:
            return ""
        ground, digest = self.ground, self.cache.digest
        chosen = relevant(ground.everything, ground.given.files, ground.given.named, digest)
        return digest_of("\n".join(sorted(chosen)).encode("utf-8", "surrogateescape"))

    def _shown(self, run: _Run) -> LintResult:
        """The result for another choice among the same verdicts."""
        from bnlint.source.cache.verdict_wire import unpacked_verdicts
        from bnlint.source.verdicts import shown

        verdicts = unpacked_verdicts(run.verdicts)
        given = frozenset(self.ground.given.files)
        facts_of = partial(_facts_of, self.cache)
        result = shown(verdicts, given, self.settings, {}, facts_of)
        others = list(run.shown.items())[-(_MOST_SHOWN - 1) :]
        raw = Raw(msgspec.msgpack.encode(_packed(result)))
        self._write(msgspec.structs.replace(run, shown={**dict(others), self._choice(): raw}))
        return result

    def _result(self, raw: Raw) -> LintResult:
        kept = msgspec.msgpack.decode(raw, type=_Shown)
        files = tuple(sorted(self.ground.given.files))
        slack: dict[Entry, int] = {}
        if kept.slack:
            from bnlint.baseline import Entry

            slack = {Entry(*entry): count for entry, count in kept.slack}
        return LintResult(unpacked(kept.findings), files=files, slack=slack)

    def _tree(self) -> str:
        content = self.cache.contents.content
        return tree_digest((path, content(path)) for path in self.ground.everything)

    def _shape(self) -> str:
        ground = self.ground
        return digest_of(repr((ground.everything, ground.given, ground.around)).encode())

    def _name(self) -> str:
        about = [
            (f.name, getattr(self.settings, f.name))
            for f in fields(Settings)
            if f.name not in _CHOOSING | _ELSEWHERE
        ]
        asked = (os.getcwd(), self.paths, str(self.ground.root), about, _installed())
        return f"{_PREFIX}{digest_of(repr(asked).encode())}"

    def _choice(self) -> str:
        chosen = [getattr(self.settings, name) for name in sorted(_CHOOSING)]
        baseline = self.settings.baseline
        with suppress(OSError):
            known = b"" if baseline is None else baseline.read_bytes()
            return digest_of(repr((chosen, known)).encode())
        return ""


def _packed(result: LintResult) -> _Shown:
    return _Shown(packed(result.findings), list(result.slack.items()))


def _facts_of(cache: Cache, path: str) -> FileFacts | None:
    return cache.read(path).facts


def _installed() -> str:
    """What is installed beside bnlint, which may bring rules of its own."""
    return digest_of("\n".join(_distributions(sys.path)).encode())


def _distributions(folders: Iterable[str]) -> Iterator[str]:
    for folder in folders:
        with suppress(OSError):
            names = os.listdir(folder or ".")
            yield from sorted(n for n in names if n.endswith((".dist-info", ".egg-info")))
