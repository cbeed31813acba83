"""`bnlint lint --fix` and `--diff`: fixes written, or shown as a patch."""

from __future__ import annotations

import os
import sys
from collections import Counter
from typing import TYPE_CHECKING

import click

from bnlint.cli.given import Fixing, Given, Outcome
from bnlint.paths import shown_path
from bnlint.printable import counted, printable

if TYPE_CHECKING:
    from pathlib import Path

    from bnlint.finding import Finding
    from bnlint.source.fixing import FileChange


def fix_given(given: Given, fixing: Fixing) -> Outcome:
    """Make the fixes. What was done is said on stderr; a patch, and the fixed text of the standard
    input, go to standard output."""
    from bnlint.source.fixing import fix, is_wanted

    workspace = given.open()
    fixed = fix(workspace, unsafe=fixing.unsafe, data=given.data)
    for path, reason in fixed.refused.items():
        _left_alone(path, reason)
    result = fixed.result
    written = frozenset(change.path for change in fixed.changes)
    if fixing.diff:
        from bnlint.output.patch import patch

        write_bytes(patch((c.path, c.before, c.after) for c in fixed.changes))
    elif given.is_stdin:
        before = next(iter(given.data.values()))
        write_bytes(next((change.after for change in fixed.changes), before))
    else:
        _tidy(workspace.given)
        written = write_changes(fixed.changes, workspace.root)
        if len(written) < len(fixed.changes):
            result = given.open().lint()
    made = [f for f in fixed.made if f.place is not None and f.place.path in written]
    if made:
        did = "Would fix" if fixing.diff else "Fixed"
        click.echo(f"{did} {_by_code(made)} in {counted(len(written), 'file')}.", err=True)
    if not fixing.unsafe:
        _say_unsafe(sum(is_wanted(finding, unsafe=True) for finding in result.findings))
    worst = max(result.worst, *(f.severity for f in made), 0) if fixing.diff else result.worst
    return Outcome(result, worst, prints=not fixing.diff)


def ignore_given(given: Given) -> Outcome:
    """Write a comment for everything that is found; what is left is what cannot be excused."""
    from bnlint.output.base import where
    from bnlint.source.ignores import add_ignores

    workspace = given.open()
    ignored = add_ignores(workspace, workspace.lint().findings, given.data)
    for path, reason in ignored.refused.items():
        _left_alone(path, reason)
    for place in ignored.places:
        at = printable(where(place))
        click.echo(f"bnlint: warning: {at}: no comment can stand in this statement", err=True)
    if given.is_stdin:
        before = next(iter(given.data.values()))
        write_bytes(next((change.after for change in ignored.changes), before))
        return Outcome(workspace.lint(), 0, prints=False)
    written = write_changes(ignored.changes, workspace.root)
    comments = counted(ignored.comments, "comment")
    if len(written) == len(ignored.changes):
        click.echo(f"Wrote {comments} in {counted(len(written), 'file')}.", err=True)
    result = given.open().lint()
    return Outcome(result, result.worst)


def write_changes(changes: tuple[FileChange, ...], root: Path) -> frozenset[str]:
    """Write changed files; the paths of those that could be written."""
    from bnlint.source.writing import NotWrittenError, write

    written: set[str] = set()
    for change in changes:
        try:
            write(change, root)
            written.add(change.path)
        except NotWrittenError as error:
            _left_alone(change.path, str(error))
    return frozenset(written)


def _tidy(files: frozenset[str]) -> None:
    from bnlint.source.writing import remove_leftovers

    remove_leftovers({os.path.dirname(path) for path in files})


def write_bytes(data: bytes) -> None:
    """Bytes on standard output, as they are."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _left_alone(path: str, reason: str) -> None:
    where = printable(shown_path(path))
    click.echo(f"bnlint: warning: {where} {printable(reason)}: it was left alone", err=True)


def _by_code(made: list[Finding]) -> str:
    counts = Counter(finding.code for finding in made)
    return ", ".join(f"{count} {code}" for code, count in sorted(counts.items()))


def _say_unsafe(number: int) -> None:
    if number:
        what = "finding has a fix" if number == 1 else "findings have fixes"
        click.echo(f"{number} {what} that --unsafe-fixes makes.", err=True)
