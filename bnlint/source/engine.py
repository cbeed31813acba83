"""The source half from paths to findings: every stage is a plain function of the one before."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from bnlint.finding import Place
from bnlint.records import Struct, field, replace
from bnlint.settings import Settings, check_settings, load_settings
from bnlint.source.cache.runs import Runs
from bnlint.source.cache.start import Start, start_run
from bnlint.source.cache.store import Cache
from bnlint.source.collecting import collecting_rarely
from bnlint.source.compact import LARGE, read_compactly
from bnlint.source.discover import Discovered, find_root, posix
from bnlint.source.ground import Ground, ground_of
from bnlint.source.links import Links
from bnlint.source.outcome import Outcome
from bnlint.source.prefilter import relevant
from bnlint.source.reader import read_code, read_file, read_text
from bnlint.source.reading import Reader, read_files
from bnlint.source.result import Crash, LintError, LintResult
from bnlint.source.verdicts import NotKeptError, shown, source_rules, verdicts_of
from bnlint.suppress import FileSuppressions

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from bnlint.source.project import Project

__all__ = ["LintError", "LintResult", "Workspace", "lint_paths", "lint_source", "open_workspace"]

AnyPath: TypeAlias = str | os.PathLike[str]
Progress: TypeAlias = Callable[[int, int], None]


def lint_paths(
    paths: AnyPath | Iterable[AnyPath],
    *,
    settings: Settings | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> LintResult:
    """Lint files and folders, linked with the rest of their project.

    settings: None reads the nearest pyproject.toml. executor: where to parse, instead of processes
    of our own. progress: called with files read and files to read. Raises
    `discover.MissingPathError` and `settings.SettingsError`.
    """
    check_settings(settings)
    wanted = [Path(p) for p in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]
    if not wanted:
        return LintResult(())
    settings = load_settings(find_root(wanted)) if settings is None else settings
    start = start_run(wanted, settings)
    known = start.recall()
    if known is not None:
        return known
    return lint_from(start, partial(_open_from, settings, executor, progress))


def lint_from(start: Start, open_from: Callable[[Start], Workspace]) -> LintResult:
    """Lint what no earlier run knows; files of a project whose drawings are kept from these, of
    which only what has changed is drawn again. open_from: reads the files from there."""
    wider = start.widened()
    known: LintResult | None = None
    if wider is not None and start.runs is not None:
        try:
            open_from(wider).lint(anew=False)
            known = start.recall()
        except NotKeptError as error:
            start.runs.objection = str(error)
    return open_from(start).lint() if known is None else known


def lint_source(
    text: str, path: str = "<string>", *, settings: Settings | None = None
) -> LintResult:
    """Lint one text by itself; a path that ends in .ipynb makes it a notebook. Raises
    `settings.SettingsError`."""
    check_settings(settings)
    return workspace_of_text(text, path, settings or Settings()).lint()


def open_workspace(
    paths: Iterable[AnyPath],
    settings: Settings,
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
    start: Start | None = None,
) -> Workspace:
    """Read the project around these paths, from where a run was started if it was; raises as
    `lint_paths` does."""
    start = start_run(paths, settings) if start is None else start
    return _open_from(settings, executor, progress, start)


def _open_from(
    settings: Settings, executor: Executor | None, progress: Progress | None, start: Start
) -> Workspace:
    return Workspace(
        Task(start.ground, settings, executor, progress, cache=start.cache, runs=start.runs)
    )


def workspace_of_text(
    text: str, path: str, settings: Settings, *, linked: bool = False
) -> Workspace:
    """A workspace for one text by itself or, when `linked`, in place of the file `path`, with the
    project that the file is in."""
    if not linked:
        nowhere = Discovered((path,), frozenset({path}))
        links = Links(Path("/"), lambda _: None, {path: read_text(path, text)}, settings)
        ground = Ground(nowhere, Path("/"), None)
        return Workspace(Task(ground, settings, texts={path: text}), links)
    full = posix(Path(path))
    given = Discovered((full,), frozenset({full}))
    ground = ground_of(given, [Path(path)], settings)
    return Workspace(Task(ground, settings, texts={full: text}))


def open_project(paths: Iterable[AnyPath], settings: Settings) -> Project:
    """The linked project around these paths, to look into; raises as `lint_paths` does."""
    return open_workspace(paths, settings).project()


class Task(Struct, frozen=True):
    """What to lint. texts: documents that are not on disk, by path; cache, runs: what earlier runs
    have left."""

    ground: Ground
    settings: Settings
    executor: Executor | None = None
    progress: Progress | None = None
    texts: Mapping[str, str] = field(default_factory=dict)
    cache: Cache | None = None
    runs: Runs | None = None


class Workspace:
    """A project that is read once and judged as often as its texts change."""

    def __init__(self, task: Task, links: Links | None = None) -> None:
        self._task = task
        self._links = _open(task) if links is None else links
        self._texts = dict(task.texts)
        self.given = frozenset(task.ground.given.files)

    @property
    def root(self) -> Path:
        """The root of the project."""
        return self._links.root

    def lint(self, *, anew: bool = True) -> LintResult:
        """The findings in the given files.

        anew: whether everything may be drawn; else NotKeptError is raised where the drawings of an
        earlier run do not hold.
        """
        result = self._judge(anew)
        if self._task.cache is not None and any(map(_is_of_drawing, result.crashes)):
            self._task = replace(self._task, cache=None, runs=None)  # what was kept may be spoilt
            self._links = _open(self._task)
            self.change(self._texts)
            result = self._judge(anew)
        if self._task.cache is not None:
            self._task.cache.save()
        walls = tuple(LintError(path, words) for path, words in self._task.ground.given.unreadable)
        return replace(result, errors=(*walls, *result.errors))

    @collecting_rarely()
    def _judge(self, anew: bool) -> LintResult:
        task = self._task
        texts = dict(self._texts)
        return judge_files(self._links, self.given, task.settings, texts, task.runs, anew=anew)

    def change(self, texts: Mapping[str, str]) -> None:
        """Put these texts in place of the files at these paths, which are absolute."""
        for path, text in texts.items():
            self._links.outcomes[path] = read_text(path, text)
        self._texts.update(texts)

    def code(self, path: str) -> str | None:
        """The text that a file's facts come from: of a notebook its joined code cells."""
        return read_code(path, self._texts)

    def suppressions(self, path: str) -> FileSuppressions:
        """The suppression comments of a file, and where its statements and cells begin."""
        outcome = self._links.outcomes.get(path)
        facts = None if outcome is None else outcome.facts
        if facts is None:
            return FileSuppressions(())
        comments = outcome.suppressions.comments if outcome and outcome.suppressions else ()
        return FileSuppressions(comments, facts.cells, facts.logical_lines)

    def digest(self, path: str) -> str:
        """The digest of a file's bytes as they were read; empty when they were not."""
        outcome = self._links.outcomes.get(path)
        return "" if outcome is None else outcome.digest

    def project(self) -> Project:
        """The files linked by their imports."""
        return self._links.project()


@collecting_rarely()
def _open(task: Task) -> Links:
    """Read every file of the project that can matter."""
    ground, cache = task.ground, task.cache
    everything = ground.everything
    chosen = set(everything)
    if task.settings.prefilter:
        digest_of = None if cache is None else cache.digest
        chosen = relevant(everything, ground.given.files, ground.given.named, digest_of)
    reader = read_compactly if len(chosen) >= LARGE else read_file
    links = Links(ground.root, ground.admit, _read(sorted(chosen), task, reader), task.settings)
    links.is_folder = ground.is_folder
    links.read = reader if cache is None else partial(cache.read, reader=reader)
    return links


def _read(paths: Sequence[str], task: Task, reader: Reader) -> dict[str, Outcome]:
    outcomes = {path: read_text(path, text) for path, text in task.texts.items()}
    missing: list[str] = []
    for path in paths:
        if path not in outcomes:
            known = None if task.cache is None else task.cache.known(path)
            if known is None:
                missing.append(path)
            else:
                outcomes[path] = known
    before = len(paths) - len(missing)
    found = read_files(missing, task.settings.jobs, task.executor, reader)
    for number, outcome in enumerate(found, 1):
        outcomes[outcome.path] = outcome
        if task.cache is not None:
            task.cache.add(outcome)
        if task.progress is not None:
            task.progress(before + number, len(paths))
    return outcomes


def judge_files(
    links: Links,
    given: frozenset[str],
    settings: Settings,
    texts: Mapping[str, str],
    runs: Runs | None = None,
    *,
    anew: bool = True,
) -> LintResult:
    """The findings in the given ones of the files that were opened; runs: where they are kept.
    anew: see `Workspace.lint`."""
    rules = source_rules(settings if runs is None else None)
    verdicts = verdicts_of(links, settings, rules, runs, anew=anew)
    result = shown(verdicts, given, settings, texts, links.facts.get)
    unreadable = tuple(
        LintError(path, links.outcomes[path].unreadable)
        for path in sorted(given)
        if path in links.outcomes and links.outcomes[path].unreadable
    )
    crashes = (*result.crashes, *_gave_up(links, given))
    result = replace(result, errors=unreadable, crashes=crashes)
    if runs is not None:
        runs.remember(verdicts, result, links.consulted)
    return result


def _gave_up(links: Links, given: frozenset[str]) -> tuple[Crash, ...]:
    failed = ((path, links.outcomes[path].problem) for path in sorted(given & set(links.outcomes)))
    return tuple(
        Crash("the extraction", Place(path, 1), problem.message, problem.trace)
        for path, problem in failed
        if problem is not None and problem.trace
    )


def _is_of_drawing(crash: Crash) -> bool:
    return not crash.what.startswith("rule ") and crash.what != "the extraction"
