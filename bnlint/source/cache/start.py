"""The beginning of a run: which files it is about, and whether its findings are known already.

Imported before anything that links or parses, since most runs end here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from bnlint.records import Struct
from bnlint.settings import Settings
from bnlint.source.cache.runs import Runs
from bnlint.source.cache.store import Cache
from bnlint.source.discover import posix
from bnlint.source.ground import Ground, survey
from bnlint.source.result import LintResult


class Start(Struct, frozen=True):
    """ground: the files. cache, runs: what earlier runs have left; None when nothing is kept."""

    ground: Ground
    cache: Cache | None = None
    runs: Runs | None = None

    def recall(self) -> LintResult | None:
        """What the run would find, if nothing has changed that matters to it."""
        return None if self.runs is None else self.runs.recall()

    def widened(self) -> Start | None:
        """A run over the whole project, where its drawings are kept; None elsewhere."""
        runs = None if self.runs is None else self.runs.of_whole
        if runs is None or not runs.has_drawings:
            return None
        return Start(runs.ground, self.cache, runs)


def start_run(paths: Iterable[str | os.PathLike[str]], settings: Settings) -> Start:
    """Survey the files at or below these paths; raises MissingPathError."""
    wanted = [Path(path) for path in paths]
    ground = survey(wanted, settings)
    cache = Cache.of(settings, ground.root)
    if cache is None:
        return Start(ground)
    asked = tuple(posix(path) for path in wanted)
    return Start(ground, cache, Runs(ground, settings, cache, asked))
