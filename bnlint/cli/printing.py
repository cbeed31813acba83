"""Findings on standard output or in a file, in the chosen format."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bnlint.cli import CommandError
from bnlint.settings import Settings

if TYPE_CHECKING:
    from bnlint.source.engine import LintResult


@dataclass(frozen=True, slots=True)
class Print:
    """How to print. file: where, None for standard output; statistics: counts for each rule in
    place of the findings; seconds: how long the run took."""

    file: Path | None = None
    statistics: bool = False
    seconds: float | None = None


def print_result(result: LintResult, settings: Settings, how: Print) -> None:
    """Print what a run found."""
    from bnlint.output import renderer
    from bnlint.output.base import Printout
    from bnlint.output.statistics import render as render_statistics
    from bnlint.source.excerpt import Sources

    on_terminal = how.file is None and sys.stdout.isatty()
    sources = Sources(result.texts)
    printout = Printout(
        findings=result.findings,
        files=len(result.files),
        lines=sources.lines,
        width=shutil.get_terminal_size((80, 24)).columns if on_terminal else 80,
        colour=how.file is None and shows_colour(),
        fail_level=settings.fail_level,
        seconds=how.seconds if on_terminal else None,
        in_file=sources.in_file,
    )
    if how.statistics:
        text = render_statistics(printout, as_json=settings.output_format == "json")
    else:
        text = renderer(settings.output_format)(printout)
    _write(text, how.file, printout.colour)


def _write(text: str, file: Path | None, colour: bool) -> None:
    if file is None:
        if isinstance(sys.stdout, TextIOWrapper):  # a terminal that does not know a character
            sys.stdout.reconfigure(errors="backslashreplace")
        click.echo(text, nl=False, color=colour)
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"--output-file {file}: {error.strerror or error}") from None


def shows_colour() -> bool:
    """Whether standard output is a terminal that wants colours (https://no-color.org)."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
