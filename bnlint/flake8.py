"""The flake8 plugin: findings in flake8's own output, under the prefix BNL."""

from __future__ import annotations

import ast
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bnlint

if TYPE_CHECKING:
    from bnlint.finding import Finding, Place

_LOG = logging.getLogger("flake8.bnlint")


class Plugin:
    """flake8 makes one for each file; the project comes from the cache, or is read and linked, once
    for each process."""

    name = "bnlint"
    version = bnlint.__version__

    def __init__(self, tree: ast.AST, filename: str, lines: Sequence[str]) -> None:
        self._filename = filename
        self._lines = lines

    def run(self) -> Iterator[tuple[int, int, str, type[Any]]]:
        """Line, column (from 0), text and origin of each finding that no comment excuses."""
        for finding in self._findings():
            place = finding.place
            if place is None or finding.suppressed:
                continue
            text = f"{finding.code} {finding.message}"
            if place.cell is not None:  # flake8 names lines of the file, which are JSON
                text += f" (cell {place.cell}, line {place.line})"
                place = self._in_file(place)
            yield place.line, place.column - 1, text, type(self)

    def _in_file(self, place: Place) -> Place:
        from bnlint.source.excerpt import Sources

        return Sources({}).in_file(place)

    def _findings(self) -> list[Finding]:
        from bnlint.source.discover import find_root, posix

        file = Path(self._filename)
        if not file.is_file():  # standard input
            return list(bnlint.lint_source("".join(self._lines), "<stdin>").findings)
        path = posix(file)
        found = _by_path(find_root([file]))
        if path not in found:  # left out of the project's own discovery, but given to flake8
            return list(bnlint.lint_paths(file).findings)
        return found[path]


@cache
def _by_path(root: Path) -> dict[str, list[Finding]]:
    """The findings of a whole project, by file; files without findings are there, too."""
    from bnlint.source.discover import is_too_wide

    if is_too_wide(root):
        return {}
    from bnlint.source.engine import lint_paths

    result = lint_paths(root, settings=_one_process(root), progress=_say_cold(root))
    found: dict[str, list[Finding]] = {path: [] for path in result.files}
    for finding in result.findings:
        if finding.place is not None:
            found.setdefault(finding.place.path, []).append(finding)
    return found


def _say_cold(root: Path) -> Callable[[int, int], None]:
    """What to do when files are parsed: say so, once."""

    @cache
    def say() -> None:
        _LOG.warning("bnlint: reading the project in %s, which is not in the cache", root)

    return lambda done, total: say()


def _one_process(root: Path) -> bnlint.Settings:
    """The project's settings; flake8 has its own processes."""
    from bnlint.records import replace
    from bnlint.settings import load_settings

    return replace(load_settings(root), jobs=1, cache=True)
