"""Findings on standard output or in a file, in the chosen format."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from bnlint.cli import CommandError
from bnlint.records import Struct
from bnlint.settings import Settings

if TYPE_CHECKING:
    from bnlint.source.result import LintResult


class Print(Struct, frozen=True):
    """How to print. file: where, None for standard output; statistics: counts for each rule in
    place of the findings; seconds: how long the run took; to_stderr: standard output has another
    use; hints: whether to say what can be done next."""

    file: Path | None = None
    statistics: bool = False
    seconds: float | None = None
    to_stderr: bool = False
    hints: bool = True


def print_result(result: LintResult, settings: Settings, how: Print) -> None:
    """Print what a run found."""
    from bnlint.output import renderer
    from bnlint.output.base import Printout
    from bnlint.source.excerpt import Sources

    stream = sys.stderr if how.to_stderr else sys.stdout
    on_terminal = how.file is None and stream.isatty()
    sources = Sources(result.texts)
    unread = tuple((error.path, error.message) for error in result.errors)
    printout = Printout(
        findings=result.findings,
        files=len(set(result.files) - {path for path, _ in unread}),
        lines=sources.lines,
        width=None if how.file is not None else _width(stream),
        colour=how.file is None and shows_colour(stream),
        fail_level=settings.fail_level,
        seconds=how.seconds if on_terminal else None,
        in_file=sources.in_file,
        slack=result.slack,
        unread=unread,
        hints=how.hints,
    )
    if how.statistics:
        from bnlint.output.statistics import render as render_statistics

        text = render_statistics(printout, as_json=settings.output_format == "json")
    else:
        text = renderer(settings.output_format)(printout)
    if how.file is not None:
        write_text(how.file, text)
        return
    if isinstance(stream, TextIOWrapper):  # a terminal that does not know a character
        stream.reconfigure(errors="backslashreplace")
    click.echo(text, file=stream, nl=False, color=printout.colour)


def _width(stream: TextIO) -> int | None:
    """Columns of the reader: what COLUMNS says, else the terminal; None where there is none."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        return int(said)
    if not stream.isatty():
        return None
    import shutil

    return shutil.get_terminal_size((80, 24)).columns


def write_text(file: Path, text: str | bytes) -> None:
    """Write the file of --output-file; raises CommandError."""
    data = text if isinstance(text, bytes) else text.encode("utf-8")
    try:
        file.write_bytes(data)
    except OSError as error:
        raise CommandError(f"--output-file {file}: {error.strerror or error}") from None


def shows_colour(stream: TextIO | None = None) -> bool:
    """Whether a stream (standard output) is a terminal that wants colours
    (https://no-color.org)."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return (stream or sys.stdout).isatty() and os.environ.get("TERM") != "dumb"
