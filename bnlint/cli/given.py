"""What a command line asks for: files or the standard input, and what is to be done with them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bnlint.cli import CommandError
from bnlint.records import Struct, replace
from bnlint.settings import Settings

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from bnlint.source.cache.start import Start
    from bnlint.source.engine import Workspace
    from bnlint.source.result import LintResult

STDIN = Path("-")


class Fixing(Struct, frozen=True):
    """What to do about findings. diff: show the fixes, and write nothing; ignore: write comments
    that excuse them; baseline: write them to this file."""

    fix: bool = False
    unsafe: bool = False
    diff: bool = False
    ignore: bool = False
    baseline: Path | None = None

    def __post_init__(self) -> None:
        if self.unsafe and not self.wanted:
            raise CommandError("--unsafe-fixes: says which fixes to make with --fix or --diff")
        names = ("--fix or --diff", "--add-ignores", "--write-baseline")
        chosen = (self.wanted, self.ignore, self.baseline is not None)
        asked = [name for name, is_asked in zip(names, chosen) if is_asked]
        if len(asked) > 1:
            raise CommandError(f"{' and '.join(asked)}: give one at a time")

    @property
    def wanted(self) -> bool:
        """Whether fixes are to be made or shown."""
        return self.fix or self.diff


class Outcome(Struct, frozen=True):
    """result: what is found now. worst: the severity that decides the exit code. prints: whether
    the findings are printed."""

    result: LintResult
    worst: int
    prints: bool = True


class Given:
    """The files, or the text on standard input, that a run is about."""

    def __init__(
        self,
        paths: tuple[Path, ...],
        settings: Settings,
        stdin_filename: Path | None,
        executor: str | None = None,
    ) -> None:
        self.settings = settings
        self.is_stdin = STDIN in paths
        if self.is_stdin and len(paths) > 1:
            raise CommandError("`-` is standard input alone: give no other path beside it")
        if stdin_filename is not None and not self.is_stdin:
            raise CommandError(
                "--stdin-filename: says where the text of `-` belongs: give `-`, too"
            )
        self._paths = paths
        self._name = stdin_filename
        self._executor = executor
        self.remarks: list[str] = []
        """Why an earlier run could not answer, nor its drawings."""
        self.data: dict[str, bytes] = {}
        """The standard input, by the path that it has in findings."""

    def lint(self) -> LintResult:
        """The findings, from an earlier run if nothing has changed; raises as `open` does."""
        if self.is_stdin:
            return self.open().lint()
        from bnlint.source.cache.start import start_run

        start = start_run(self._paths, self.settings)
        known = start.recall()
        if known is None:
            from bnlint.source.engine import lint_from

            known = lint_from(start, self.open)
        if start.runs is not None:
            told = ("linked", start.runs.reason), ("drawn", start.runs.objection)
            self.remarks = [f"{what} anew: {why}" for what, why in told if why]
        return known

    def open(self, start: Start | None = None) -> Workspace:
        """Read the files, from where a run was started if it was; raises CommandError and what
        `lint_paths` raises."""
        from bnlint.source.engine import open_workspace
        from bnlint.source.reading import available_cores

        if self.is_stdin:
            return self._open_stdin()
        from bnlint.cli.progress import progress_bar

        settings = replace(self.settings, jobs=self.settings.jobs or available_cores())
        with progress_bar() as progress, self._connected() as executor:
            return open_workspace(
                self._paths, settings, executor=executor, progress=progress, start=start
            )

    @contextmanager
    def _connected(self) -> Iterator[Executor | None]:
        """The executor that was asked for."""
        if self._executor is None:
            yield None
            return
        from bnlint.source.remote import ExecutorError, connected

        try:
            with connected(self._executor) as executor:
                yield executor
        except ExecutorError as error:
            raise CommandError(f"--executor: {error}") from None

    def _open_stdin(self) -> Workspace:
        from bnlint.source.engine import workspace_of_text
        from bnlint.source.notebook import is_notebook
        from bnlint.source.text import RefusedError, decode

        data = next(iter(self.data.values()), None)
        data = sys.stdin.buffer.read() if data is None else data
        try:
            text = decode(data)
        except RefusedError as error:
            raise CommandError(f"standard input {error.message}") from None
        if self._name is None and is_notebook(text):
            remedy = "name it with --stdin-filename NAME.ipynb"
            raise CommandError(f"standard input is a notebook: {remedy}")
        name = "<stdin>" if self._name is None else str(self._name)
        workspace = workspace_of_text(text, name, self.settings, linked=self._name is not None)
        self.data = dict.fromkeys(workspace.given, data)
        return workspace
