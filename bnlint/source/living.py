"""A project in an editor: files are read when they can matter for those that are open."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from bnlint.settings import Settings
from bnlint.source.cache.store import Cache
from bnlint.source.discover import SUFFIXES, Discovered, admission, discover, is_too_wide
from bnlint.source.engine import Task, Workspace, judge_files
from bnlint.source.ground import Ground
from bnlint.source.links import Links
from bnlint.source.prefilter import Digest, digest, digest_of_file, relevant
from bnlint.source.reader import read_file
from bnlint.source.result import LintResult


class LivingProject(Workspace):
    """The project below a root. Nothing is read before it is needed, and nothing twice unless it
    changes; what earlier runs have left in the cache is not read at all."""

    def __init__(self, root: Path, settings: Settings) -> None:
        self._cache = Cache.of(settings, root)
        self._read = read_file if self._cache is None else self._cache.read
        files = None if is_too_wide(root) else discover([root], settings, root).files
        links = Links(root, admission(files, root), {}, settings, read=self._read)
        super().__init__(Task(Ground(Discovered((), frozenset()), root, files), settings), links)
        self._files = set(files or ())
        self._digests: dict[str, Digest] = {}

    def lint_open(self, given: frozenset[str]) -> LintResult:
        """The findings in these files, as the linter finds them in files given by name."""
        chosen = relevant(sorted(self._files | given), given, given, self._digest)
        known = self._links.outcomes
        known.update((path, self._read(path)) for path in sorted(chosen - known.keys()))
        around = Links(
            self._links.root,
            self._links.admit,
            {path: known[path] for path in chosen},
            self._links.settings,
            known,
            self._read,
        )
        result = judge_files(around, given, self._links.settings, dict(self._texts))
        for path, outcome in around.outcomes.items():  # what imports have asked for
            known.setdefault(path, outcome)
        if self._cache is not None:
            self._cache.save()
        return result

    def change(self, texts: Mapping[str, str]) -> None:
        """Put these texts in place of the files at these paths."""
        super().change(texts)
        for path, text in texts.items():
            self._digests[path] = digest(text.encode("utf-8", "replace"))

    def reread(self, paths: Iterable[str]) -> None:
        """Files have changed on the disk, appeared or gone."""
        for path in paths:
            if self._cache is not None:
                self._cache.contents.forget(path)
            self._texts.pop(path, None)
            self._digests.pop(path, None)
            self._links.outcomes.pop(path, None)
            exists = path.endswith(SUFFIXES) and os.path.isfile(path)
            if exists and Path(path).is_relative_to(self.root):
                self._files.add(path)
                self._links.outcomes[path] = self._read(path)
            elif not exists:
                self._files.discard(path)

    def _digest(self, path: str) -> Digest:
        if path not in self._digests:
            read = digest_of_file if self._cache is None else self._cache.digest
            self._digests[path] = read(path)
        return self._digests[path]
