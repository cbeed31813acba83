"""Whole runs: what was found when the files were as they are now.

Two layers. The verdicts of all rules hold as long as the files that were read have their content,
whatever the settings choose among them; the finished result holds for one choice.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Raw

from bnlint.finding import Place
from bnlint.records import Struct
from bnlint.rules import offers_rules
from bnlint.settings import Settings
from bnlint.source.cache.contents import tree_digest
from bnlint.source.cache.store import Cache
from bnlint.source.cache.wire import Found, packed, unpacked
from bnlint.source.digests import digest_of
from bnlint.source.discover import posix
from bnlint.source.ground import Ground
from bnlint.source.prefilter import relevant
from bnlint.source.result import LintResult

if TYPE_CHECKING:
    from bnlint.baseline import Entry
    from bnlint.source.cache.looked import Looked
    from bnlint.source.facts import FileFacts
    from bnlint.source.verdicts import Verdicts

_PREFIX: Final = "run-"
DRAWN: Final = "drawn-"
"""How the names of files begin in which drawings are kept."""
_MOST_RUNS: Final = 24
_MOST_SHOWN: Final = 6
_MOST_MOVED: Final = 40
"""Files that have changed since a run, of which it is told whether their code has only moved."""
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
    were read, with their contents; looked: what was looked at in them; shown: results, by the
    settings that chose them."""

    tree: str
    shape: str
    chosen: str
    consulted: Raw
    verdicts: Raw
    looked: Raw
    shown: dict[str, Raw]


class Runs(Struct):
    """The runs over one ground with one cache. reason: why the last one did not hold; objection:
    why its drawings did not; empty where they did, or where there were none."""

    ground: Ground
    settings: Settings
    cache: Cache
    paths: tuple[str, ...]
    reason: str = ""
    objection: str = ""

    def recall(self) -> LintResult | None:
        """What this run would find, if that is known."""
        if self.ground.given.unreadable or self.ground.project is None:
            return None
        return self._recall_own() or self._recall_from_whole()

    def _recall_from_whole(self) -> LintResult | None:
        """What a run over the whole project has found in the files that are asked for now."""
        whole = self.of_whole
        if whole is None:
            return None
        run = whole._load()
        verdicts = None if run is None else whole._valid(run, frozenset(self.ground.given.files))
        self.reason = whole.reason or self.reason
        return None if verdicts is None else self._chosen_among(verdicts)

    @property
    def of_whole(self) -> Runs | None:
        """The runs over the whole project; None where these are, or where files outside of it are
        asked for."""
        ground = self.ground.whole
        if ground is None:
            return None
        return Runs(ground, self.settings, self.cache, (posix(ground.root),))

    @property
    def drawn(self) -> str:
        """How the names of files begin in which the drawings of runs of this kind are kept: over
        the whole project, or over some of its files."""
        return f"{DRAWN}{'whole' if self.ground.beyond is None else 'part'}-"

    @property
    def drawings(self) -> str:
        """The name of the file in which the drawings of such a run are kept."""
        return f"{self.drawn}{self.name}"

    @property
    def has_drawings(self) -> bool:
        """Whether drawings of such a run are kept."""
        return self.drawings in self.cache.folder.names(self.drawn)

    def _recall_own(self) -> LintResult | None:
        run = self._load()
        if run is None:
            return None
        if not self._holds(run):
            verdicts = self._valid(run, frozenset())
            return None if verdicts is None else self._chosen_among(verdicts)
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
        is_whole = not (result.errors or verdicts.drawing or any(verdicts.crashes.values()))
        if not is_whole or result.texts or self.ground.project is None or offers_rules():
            return
        if any(not d or self.cache.contents.content(p) != d for p, d in consulted.items()):
            return
        with suppress(TypeError, ValueError, OverflowError):
            shown = {self._choice(): Raw(msgspec.msgpack.encode(_packed(result)))}
            found = _found(verdicts, consulted, verdicts.looked)
            self._write(_Run(self._tree(), self.shape, self._chosen(), *found, shown))

    def _load(self) -> _Run | None:
        data = self.cache.folder.read(f"{_PREFIX}{self.name}")
        with suppress(msgspec.MsgspecError, ValueError):
            return None if data is None else msgspec.msgpack.decode(data, type=_Run)
        return None

    def _write(self, run: _Run) -> None:
        if self.cache.folder.write(f"{_PREFIX}{self.name}", msgspec.msgpack.encode(run)):
            self.cache.folder.remove(self.cache.folder.names(_PREFIX)[_MOST_RUNS:])

    def _holds(self, run: _Run) -> bool:
        """Whether the files are as they were, as far as the run has read them."""
        if run.shape != self.shape:
            return False
        if run.tree == self._tree():
            return True
        return self._changed(run) == {} and self._chosen() == run.chosen

    def _changed(self, run: _Run) -> dict[str, str] | None:
        """The files that the run has read and that have changed since, with what they were; None
        when that cannot be told."""
        with suppress(msgspec.MsgspecError, ValueError):
            consulted = msgspec.msgpack.decode(run.consulted, type=dict[str, str])
            content = self.cache.contents.content
            return {path: was for path, was in consulted.items() if content(path) != was}
        return None

    def _valid(self, run: _Run, given: frozenset[str]) -> Verdicts | None:
        """The verdicts of a run after which code has only moved; None where more has happened, or
        where the run has not read one of the given files. They are kept as they are now."""
        changed = self._changed(run)
        if run.shape != self.shape:
            self.reason = "files have come or gone"
        elif changed is None or len(changed) > _MOST_MOVED:
            self.reason = "many files have changed"
        elif self._chosen() != run.chosen:
            self.reason = "other files can matter now"
        else:
            return self._after(run, changed, given)
        return None

    def _after(
        self, run: _Run, changed: Mapping[str, str], given: frozenset[str]
    ) -> Verdicts | None:
        """The same after a run since which these files have changed."""
        from bnlint.source.cache.looked import Looked
        from bnlint.source.cache.moved import moved, moves, places_in
        from bnlint.source.cache.unseen import CodeChangedError
        from bnlint.source.cache.verdict_wire import unpacked_verdicts

        path = ""
        try:
            consulted = msgspec.msgpack.decode(run.consulted, type=dict[str, str])
            looked = msgspec.msgpack.decode(run.looked, type=Looked | None)
            if not all(self._is_plain(path, looked) for path in given - consulted.keys()):
                raise CodeChangedError("a given file was not read before")
            verdicts = unpacked_verdicts(run.verdicts)
            if not changed:
                return verdicts
            now = {path: self.cache.read_packed(path) for path in changed}
            where: dict[Place, Place] = {}
            told = set(places_in(tuple(verdicts.by_rule.values())))
            for path, was in changed.items():
                old = self.cache.kept(was, path)
                if old is None or now[path].digest != self.cache.contents.content(path):
                    raise CodeChangedError("it is not known any more what has changed in it")
                asked = any(place.path == path for place in told)
                gone = moves(old, now[path], looked, self.ground.everything, wanted=asked)
                where |= gone.places
                looked = None if gone.unseen is None else gone.unseen.looked_at_now()
            verdicts = moved(verdicts, where, now)
            consulted |= {path: outcome.digest for path, outcome in now.items()}
            found = _found(verdicts, consulted, looked)
            self._write(_Run(self._tree(), run.shape, run.chosen, *found, {}))
            return verdicts
        except CodeChangedError as error:
            self.reason = f"{path}: {error}" if path else str(error)
        except (msgspec.MsgspecError, LookupError, ValueError, TypeError, RecursionError):
            self.reason = "what was kept cannot be read"
        return None

    def _is_plain(self, path: str, looked: Looked | None) -> bool:
        """Whether a file that a run over the whole project has not read has nothing to say."""
        from bnlint.source.cache.unseen import says_nothing

        if looked is None or self.cache.digest(path).remark:
            return False
        outcome = self.cache.read(path)
        return outcome.digest == self.cache.contents.content(path) and says_nothing(outcome, looked)

    def _chosen_among(self, verdicts: Verdicts) -> LintResult:
        """What the settings choose of verdicts, in the files that are asked for."""
        from bnlint.source.verdicts import shown

        given = frozenset(self.ground.given.files)
        result = shown(verdicts, given, self.settings, {}, partial(_facts_of, self.cache))
        self.cache.save()
        return result

    def _chosen(self) -> str:
        if not self.settings.prefilter:
            return ""
        ground, digest = self.ground, self.cache.digest
        chosen = relevant(ground.everything, ground.given.files, ground.given.named, digest)
        return digest_of("\n".join(sorted(chosen)).encode("utf-8", "surrogateescape"))

    def _shown(self, run: _Run) -> LintResult:
        """The result for another choice among the same verdicts."""
        from bnlint.source.cache.verdict_wire import unpacked_verdicts

        result = self._chosen_among(unpacked_verdicts(run.verdicts))
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

    @property
    def shape(self) -> str:
        """What tells the files that there are from all others: their paths, not their contents."""
        ground = self.ground
        given = (ground.given.files, sorted(ground.given.named), ground.given.unreadable)
        seen = (ground.everything, given, ground.given.around, ground.around)
        return digest_of(repr(seen).encode())

    @property
    def name(self) -> str:
        """What tells runs that may serve each other from all others."""
        about = [
            (name, getattr(self.settings, name))
            for name in Settings.__struct_fields__
            if name not in _CHOOSING | _ELSEWHERE
        ]
        asked = (os.getcwd(), self.paths, str(self.ground.root), about, _installed())
        return digest_of(repr(asked).encode())

    def _choice(self) -> str:
        chosen = [getattr(self.settings, name) for name in sorted(_CHOOSING)]
        baseline = self.settings.baseline
        with suppress(OSError):
            known = b"" if baseline is None else baseline.read_bytes()
            return digest_of(repr((chosen, known)).encode())
        return ""


def _found(
    verdicts: Verdicts, consulted: Mapping[str, str], looked: Looked | None
) -> tuple[Raw, Raw, Raw]:
    """What a run has read, what rules have said of it, and what was looked at for that."""
    from bnlint.source.cache.verdict_wire import packed_verdicts

    encode = msgspec.msgpack.encode
    return Raw(encode(dict(consulted))), Raw(packed_verdicts(verdicts)), Raw(encode(looked))


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
