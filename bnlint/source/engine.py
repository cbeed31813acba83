"""The source half from paths to findings: every stage is a plain function of the one before."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from bnlint.baseline import Baseline, Entry
from bnlint.finding import Finding, Place, Severity
from bnlint.settings import Settings, load_settings
from bnlint.source.discover import (
    Discovered,
    admission,
    discover,
    find_root,
    is_too_wide,
    posix,
)
from bnlint.source.edits import with_edits
from bnlint.source.excerpt import Sources
from bnlint.source.facts import FileFacts
from bnlint.source.judge import Crash, crash_finding, judge, own_finding
from bnlint.source.pool import read_files
from bnlint.source.prefilter import relevant
from bnlint.source.reader import Outcome, read_code, read_file, read_text
from bnlint.source.sift import Sieve
from bnlint.suppress import FileSuppressions

if TYPE_CHECKING:
    from bnlint.source.project import Project

AnyPath: TypeAlias = str | os.PathLike[str]
Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class LintError:
    """Something that kept the run from being complete: a file that the system would not open."""

    path: str
    message: str


@dataclass(frozen=True, slots=True)
class LintResult:
    """What a run found.

    findings: sorted, the suppressed ones included and marked. errors: what could not be read.
    files: absolute paths that were linted. crashes: tracebacks behind BNL903 and "gave up".
    texts: documents that are not on disk (standard input), by path. slack: entries of the baseline
    that are no longer found, and how often.
    """

    findings: tuple[Finding, ...]
    errors: tuple[LintError, ...] = ()
    files: tuple[str, ...] = ()
    crashes: tuple[Crash, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    slack: Mapping[Entry, int] = field(default_factory=dict)

    @property
    def worst(self) -> int:
        """The highest severity of a finding that is not suppressed; 0 when there is none."""
        return max((f.severity for f in self.findings if not f.suppressed), default=0)

    def reaches(self, level: Severity) -> bool:
        """Whether a finding that is not suppressed is at least this severe."""
        return self.worst >= level


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
    wanted = [Path(p) for p in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]
    if not wanted:
        return LintResult(())
    settings = load_settings(find_root(wanted)) if settings is None else settings
    return open_workspace(wanted, settings, executor=executor, progress=progress).lint()


def lint_source(
    text: str, path: str = "<string>", *, settings: Settings | None = None
) -> LintResult:
    """Lint one text by itself; a path that ends in .ipynb makes it a notebook."""
    return workspace_of_text(text, path, settings or Settings()).lint()


def open_workspace(
    paths: Iterable[AnyPath],
    settings: Settings,
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Workspace:
    """Read the project around these paths; raises as `lint_paths` does."""
    wanted = [Path(path) for path in paths]
    given = discover(wanted, settings, Path.cwd())
    return Workspace(Task(given, wanted, settings, executor, progress))


def workspace_of_text(
    text: str, path: str, settings: Settings, *, linked: bool = False
) -> Workspace:
    """A workspace for one text by itself or, when `linked`, in place of the file `path`, with the
    project that the file is in."""
    if not linked:
        nowhere = Discovered((path,), frozenset({path}))
        links = Links(Path("/"), lambda _: None, {path: read_text(path, text)}, settings)
        return Workspace(Task(nowhere, (), settings, None, None, {path: text}), links)
    full = posix(Path(path))
    given = Discovered((full,), frozenset({full}))
    return Workspace(Task(given, [Path(path)], settings, None, None, {full: text}))


def open_project(paths: Iterable[AnyPath], settings: Settings) -> Project:
    """The linked project around these paths, to look into; raises as `lint_paths` does."""
    return open_workspace(paths, settings).project()


@dataclass(frozen=True, slots=True)
class Task:
    """What to lint. given: the files whose findings are wanted; paths: what was asked for."""

    given: Discovered
    paths: Sequence[Path]
    settings: Settings
    executor: Executor | None
    progress: Progress | None
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Links:
    """All files of the project that were opened. admit: see `discover.admission`."""

    root: Path
    admit: Callable[[str], str | None]
    outcomes: dict[str, Outcome]
    settings: Settings
    behind: dict[str, Outcome] = field(default_factory=dict)
    """Files that were read and matter only when an import asks for them."""

    def load(self, path: str) -> FileFacts | None:
        """A file that an import asks for; None when it may not be opened."""
        admitted = self.admit(path)
        if admitted is None:
            return None
        if admitted not in self.outcomes:
            known = self.behind.get(admitted)
            self.outcomes[admitted] = read_file(admitted) if known is None else known
        return self.outcomes[admitted].facts

    @property
    def facts(self) -> dict[str, FileFacts]:
        """The facts of the files that have any, by path."""
        return {p: o.facts for p, o in self.outcomes.items() if o.facts is not None}

    def project(self) -> Project:
        """The files linked by their imports."""
        from bnlint.source.evaluate.explained import Explained
        from bnlint.source.project import Project

        return Project(self.root, self.facts, self.load, Explained.by(self.settings))

    @property
    def suppressions(self) -> dict[str, FileSuppressions]:
        """The suppression comments, by file; files without any are absent."""
        found = {path: outcome.suppressions for path, outcome in self.outcomes.items()}
        return {path: comments for path, comments in found.items() if comments is not None}


class Workspace:
    """A project that is read once and judged as often as its texts change."""

    def __init__(self, task: Task, links: Links | None = None) -> None:
        self._task = task
        self._links = _open(task) if links is None else links
        self._texts = dict(task.texts)
        self.given = frozenset(task.given.files)

    @property
    def root(self) -> Path:
        """The root of the project."""
        return self._links.root

    def lint(self) -> LintResult:
        """The findings in the given files."""
        result = judge_files(self._links, self.given, self._task.settings, dict(self._texts))
        walls = tuple(LintError(path, message) for path, message in self._task.given.unreadable)
        return replace(result, errors=(*walls, *result.errors))

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


def _open(task: Task) -> Links:
    """Read every file of the project that can matter."""
    root = Path(posix(task.settings.root or find_root(task.paths)))
    project = _project_files(task, root)
    everything = sorted({*task.given.files, *(project or ())})
    chosen = set(everything)
    if task.settings.prefilter:
        chosen = relevant(everything, task.given.files, task.given.named)
    admit = admission(project, root)
    return Links(root, admit, _read(sorted(chosen), task), task.settings)


def _project_files(task: Task, root: Path) -> Sequence[str] | None:
    """All files of the project; None when the root is too wide to be walked."""
    if any(posix(path) == posix(root) for path in task.paths):
        return task.given.files
    if is_too_wide(root):
        return None
    whole = discover([root], replace(task.settings, force_exclude=False), Path.cwd())
    return sorted({*whole.files, *task.given.files})


def _read(paths: Sequence[str], task: Task) -> dict[str, Outcome]:
    on_disk = [path for path in paths if path not in task.texts]
    outcomes = {path: read_text(path, text) for path, text in task.texts.items()}
    for outcome in read_files(on_disk, task.settings.jobs, task.executor):
        outcomes[outcome.path] = outcome
        if task.progress is not None:
            task.progress(len(outcomes), len(paths))
    return outcomes


def judge_files(
    links: Links, given: frozenset[str], settings: Settings, texts: Mapping[str, str]
) -> LintResult:
    """The findings in the given ones of the files that were opened."""
    findings, crashes = _apply_rules(links, settings)
    problems = [_cannot_parse(links.outcomes[p]) for p in given if p in links.outcomes]
    findings += [problem for problem in problems if problem is not None]
    text_of = cache(partial(read_code, texts=texts))
    sieve = Sieve(
        settings,
        given,
        links.suppressions,
        _silenced(crashes),
        text_of,
        Sources(texts).lines,
        None if settings.baseline is None else Baseline.read(settings.baseline),
    )
    sifted = sieve.sift(findings)
    return LintResult(
        findings=with_edits(sifted.findings, links.facts.get, text_of),
        errors=tuple(
            LintError(path, links.outcomes[path].unreadable)
            for path in sorted(given)
            if path in links.outcomes and links.outcomes[path].unreadable
        ),
        files=tuple(sorted(given)),
        crashes=(*crashes, *_gave_up(links, given)),
        texts=texts,
        slack=sifted.slack,
    )


def _silenced(crashes: Iterable[Crash]) -> frozenset[str]:
    """The codes of the rules that could not say all they had to say."""
    from bnlint.rules import all_rules

    crashed = {crash.what.removeprefix("rule ") for crash in crashes}
    codes = frozenset(rule.code for rule in all_rules())
    return codes if crashed - codes else frozenset(crashed)


def _apply_rules(links: Links, settings: Settings) -> tuple[list[Finding], tuple[Crash, ...]]:
    """The findings of all selected rules in the whole project."""
    from bnlint.rules import all_rules

    facts = links.facts
    if not facts:
        return [], ()
    from bnlint.rules.base import Pictures
    from bnlint.source.draw import draw
    from bnlint.source.isolation import Isolation
    from bnlint.source.recursion import room_to_recurse

    isolated = Isolation()
    pictures = Pictures()
    with room_to_recurse():
        with isolated("drawing the project", Place(min(facts), 1)):  # the last resort
            pictures = replace(draw(links.project(), isolated), options=settings.rules)
        rules = [rule for rule in all_rules() if rule.source and settings.selects(rule)]
        judgement = judge(rules, pictures)
    crashes = isolated.crashes or []
    found = [*judgement.findings, *map(crash_finding, crashes)]
    return found, (*crashes, *judgement.crashes)


def _cannot_parse(outcome: Outcome) -> Finding | None:
    problem = outcome.problem
    if problem is None:
        return None
    place = Place(
        outcome.path, problem.line, problem.column, problem.line, problem.column, problem.cell
    )
    finding = own_finding("BNL901", f"the file {problem.message}", place)
    return replace(finding, severity=Severity.NOTE) if problem.is_remark else finding


def _gave_up(links: Links, given: frozenset[str]) -> tuple[Crash, ...]:
    failed = ((path, links.outcomes[path].problem) for path in sorted(given & set(links.outcomes)))
    return tuple(
        Crash("the extraction", Place(path, 1), problem.message, problem.trace)
        for path, problem in failed
        if problem is not None and problem.trace
    )
