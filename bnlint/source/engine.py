"""The source half from paths to findings: every stage is a plain function of the one before."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from bnlint.finding import Finding, Place, Role, Severity
from bnlint.paths import shown_path
from bnlint.settings import Settings, load_settings
from bnlint.source.discover import Discovered, admission, discover, find_root, is_too_wide, posix
from bnlint.source.edits import with_edits
from bnlint.source.facts import FileFacts
from bnlint.source.judge import Crash, crash_of, judge, own_finding
from bnlint.source.pool import read_files
from bnlint.source.prefilter import relevant
from bnlint.source.reader import Outcome, read_code, read_file, read_text
from bnlint.suppress import FileSuppressions, apply_suppressions

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
    texts: documents that are not on disk (standard input), by path.
    """

    findings: tuple[Finding, ...]
    errors: tuple[LintError, ...] = ()
    files: tuple[str, ...] = ()
    crashes: tuple[Crash, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)

    def reaches(self, level: Severity) -> bool:
        """Whether a finding that is not suppressed is at least this severe."""
        return any(f.severity >= level and not f.suppressed for f in self.findings)


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
    given = discover(wanted, settings, Path.cwd())
    return _lint(_Task(given, wanted, settings, executor, progress))


def lint_source(
    text: str, path: str = "<string>", *, settings: Settings | None = None
) -> LintResult:
    """Lint one text by itself; a path that ends in .ipynb makes it a notebook."""
    outcome = read_text(path, text)
    links = _Links(Path("/"), lambda _: None, {path: outcome})
    return _judge(links, frozenset({path}), settings or Settings(), texts={path: text})


def lint_stdin(text: str, path: str, *, settings: Settings) -> LintResult:
    """Lint a text in place of the file `path`, linked with the project that the file is in."""
    file = Path(path)
    full = posix(file)
    given = Discovered((full,), frozenset({full}))
    return _lint(_Task(given, [file], settings, None, None, {full: text}))


def open_project(paths: Iterable[AnyPath], settings: Settings) -> Project:
    """The linked project around these paths, to look into; raises as `lint_paths` does."""
    wanted = [Path(path) for path in paths]
    given = discover(wanted, settings, Path.cwd())
    return _open(_Task(given, wanted, settings, None, None)).project()


@dataclass(frozen=True, slots=True)
class _Task:
    """What to lint. given: the files whose findings are wanted; paths: what was asked for."""

    given: Discovered
    paths: Sequence[Path]
    settings: Settings
    executor: Executor | None
    progress: Progress | None
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Links:
    """All files of the project that were opened. admit: see `discover.admission`."""

    root: Path
    admit: Callable[[str], str | None]
    outcomes: dict[str, Outcome]

    def load(self, path: str) -> FileFacts | None:
        """A file that an import asks for; None when it may not be opened."""
        admitted = self.admit(path)
        if admitted is None:
            return None
        if admitted not in self.outcomes:
            self.outcomes[admitted] = read_file(admitted)
        return self.outcomes[admitted].facts

    @property
    def facts(self) -> dict[str, FileFacts]:
        """The facts of the files that have any, by path."""
        return {p: o.facts for p, o in self.outcomes.items() if o.facts is not None}

    def project(self) -> Project:
        """The files linked by their imports."""
        from bnlint.source.project import Project

        return Project(self.root, self.facts, self.load)

    @property
    def suppressions(self) -> dict[str, FileSuppressions]:
        """The suppression comments, by file; files without any are absent."""
        found = {path: outcome.suppressions for path, outcome in self.outcomes.items()}
        return {path: comments for path, comments in found.items() if comments is not None}


def _lint(task: _Task) -> LintResult:
    links = _open(task)
    result = _judge(links, frozenset(task.given.files), task.settings, task.texts)
    walls = tuple(LintError(path, message) for path, message in task.given.unreadable)
    return replace(result, errors=(*walls, *result.errors))


def _open(task: _Task) -> _Links:
    """Read every file of the project that can matter."""
    root = Path(posix(task.settings.root or find_root(task.paths)))
    project = _project_files(task, root)
    everything = sorted({*task.given.files, *(project or ())})
    chosen = set(everything)
    if task.settings.prefilter:
        chosen = relevant(everything, task.given.files, task.given.named)
    return _Links(root, admission(project, root), _read(sorted(chosen), task))


def _project_files(task: _Task, root: Path) -> Sequence[str] | None:
    """All files of the project; None when the root is too wide to be walked."""
    if any(posix(path) == posix(root) for path in task.paths):
        return task.given.files
    if is_too_wide(root):
        return None
    whole = discover([root], replace(task.settings, force_exclude=False), Path.cwd())
    return sorted({*whole.files, *task.given.files})


def _read(paths: Sequence[str], task: _Task) -> dict[str, Outcome]:
    on_disk = [path for path in paths if path not in task.texts]
    outcomes = {path: read_text(path, text) for path, text in task.texts.items()}
    for outcome in read_files(on_disk, task.settings.jobs, task.executor):
        outcomes[outcome.path] = outcome
        if task.progress is not None:
            task.progress(len(outcomes), len(paths))
    return outcomes


def _judge(
    links: _Links, given: frozenset[str], settings: Settings, texts: Mapping[str, str]
) -> LintResult:
    findings, crashes = _apply_rules(links, settings)
    problems = [_cannot_parse(links.outcomes[p]) for p in given if p in links.outcomes]
    findings += [problem for problem in problems if problem is not None]
    wanted = [kept for f in findings if (kept := _concerning(f, given)) is not None]
    marked = apply_suppressions(wanted, links.suppressions).findings
    enabled = _enabled_codes(settings)
    shown = sorted((f for f in marked if f.code in enabled), key=sort_key)
    return LintResult(
        findings=with_edits(shown, links.facts.get, cache(partial(read_code, texts=texts))),
        errors=tuple(
            LintError(path, links.outcomes[path].unreadable)
            for path in sorted(given)
            if path in links.outcomes and links.outcomes[path].unreadable
        ),
        files=tuple(sorted(given)),
        crashes=(*crashes, *_gave_up(links, given)),
        texts=texts,
    )


def _enabled_codes(settings: Settings) -> frozenset[str]:
    from bnlint.rules import all_rules

    return frozenset(rule.code for rule in all_rules() if settings.selects(rule))


def _apply_rules(links: _Links, settings: Settings) -> tuple[list[Finding], tuple[Crash, ...]]:
    """The findings of all selected rules in the whole project."""
    from bnlint.rules import all_rules

    facts = links.facts
    if not facts:
        return [], ()
    from bnlint.source.draw import draw

    try:
        pictures = draw(links.project())
    except Exception as error:  # the last resort: the drawing isolates what it can
        crash = crash_of("drawing", Place(min(facts), 1), error)
        message = f"drawing the project crashed: {crash.error}"
        return [own_finding("BNL903", message, crash.place)], (crash,)
    rules = [rule for rule in all_rules() if rule.source and settings.selects(rule)]
    judgement = judge(rules, pictures)
    return list(judgement.findings), judgement.crashes


def _cannot_parse(outcome: Outcome) -> Finding | None:
    problem = outcome.problem
    if problem is None:
        return None
    place = Place(
        outcome.path, problem.line, problem.column, problem.line, problem.column, problem.cell
    )
    return own_finding("BNL901", f"the file {problem.message}", place)


def _gave_up(links: _Links, given: frozenset[str]) -> tuple[Crash, ...]:
    failed = ((path, links.outcomes[path].problem) for path in sorted(given & set(links.outcomes)))
    return tuple(
        Crash("the extraction", Place(path, 1), problem.message, problem.trace)
        for path, problem in failed
        if problem is not None and problem.trace
    )


def _concerning(finding: Finding, given: frozenset[str]) -> Finding | None:
    """The finding when it concerns a given file, else None.

    When its own place lies in another file, the message names the given file that decides it.
    """
    if finding.place is None or finding.place.path in given:
        return finding
    deciding = (Role.INSTANCE, Role.CAUSE)
    for evidence in finding.evidence:
        place = evidence.place
        if evidence.role in deciding and place.path in given:
            where = f"{shown_path(place.path)}:{place.line}"
            return replace(finding, message=f"{finding.message} (decided in {where})")
    return None


def sort_key(finding: Finding) -> tuple[str, int, int, int, str]:
    """Path, cell, line, column, code; findings without a place come first."""
    place = finding.place or Place("", 0, 0)
    cell = -1 if place.cell is None else place.cell
    return (place.path, cell, place.line, place.column, finding.code)
