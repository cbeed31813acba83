"""`bnlint lint`: the source half from the command line."""

from __future__ import annotations

import atexit
import gc
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bnlint.cli import CommandError
from bnlint.cli.given import Fixing, Given, Outcome
from bnlint.cli.options import (
    FORMATS,
    pattern_option,
    selector_option,
    settings_from,
)
from bnlint.cli.printing import Print, print_result
from bnlint.printable import printable
from bnlint.records import replace
from bnlint.settings import LEVELS, Settings, SettingsError

if TYPE_CHECKING:
    from bnlint.source.result import LintResult

_PATH = click.Path(path_type=Path)


@click.command(
    epilog="""\b
Examples:
  bnlint                                     lint the current folder
  bnlint lint train.py notebooks/            these only; the rest is read along
  bnlint lint --diff --unsafe-fixes          show what can be repaired
  bnlint lint --fix --unsafe-fixes           repair it
  bnlint lint --write-baseline known.json    accept what is there now
  bnlint lint --baseline known.json          show what is new since
  bnlint lint --output-format github         annotate a pull request
  bnlint lint - --stdin-filename x.py < x.py"""
)
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, readable=False))
@selector_option("--select", "Only these rules: BNL101, BNL1, a rule's name, or ALL.")
@selector_option("--extend-select", "These rules as well, such as opt-in ones.")
@selector_option("--ignore", "Not these rules.")
@selector_option("--extend-ignore", "Not these rules either.")
@pattern_option("--exclude", "Leave these files and folders out, in place of the usual ones.")
@pattern_option("--extend-exclude", "Leave these files and folders out, too.")
@click.option("--force-exclude", is_flag=True, help="Exclude also files that are given by name.")
@click.option("--root", type=_PATH, help="Root of the project, for imports.")
@click.option("--fix", is_flag=True, help="Fix what has a safe fix.")
@click.option(
    "--unsafe-fixes",
    is_flag=True,
    help="With --fix or --diff: also fixes that may change what the program does.",
)
@click.option("--diff", is_flag=True, help="Print the fixes as a patch; write nothing.")
@click.option("--add-ignores", is_flag=True, help="Excuse everything that is found by comments.")
@click.option("--baseline", type=_PATH, help="Show only what this file does not have.")
@click.option(
    "--write-baseline", type=_PATH, help="Write all findings to this file, for --baseline."
)
@click.option("--output-format", type=FORMATS, help="How to print the findings. [default: full]")
@click.option("--output-file", type=_PATH, help="Write the findings there.")
@click.option("--fail-level", type=click.Choice(LEVELS), help="Exit with 1 from this severity on.")
@click.option("--exit-zero", is_flag=True, help="Exit with 0 whatever is found.")
@click.option("--statistics", is_flag=True, help="Print counts for each rule, not the findings.")
@click.option("--show-settings", is_flag=True, help="Print the settings and exit.")
@click.option("--show-graph", metavar="CLASS", help="Print the layer graph of a class and exit.")
@click.option("--config", type=_PATH, help="Read this file, not the nearest pyproject.toml.")
@click.option("--isolated", is_flag=True, help="Read no configuration file.")
@click.option("--no-prefilter", is_flag=True, help="Parse files that cannot matter as well.")
@click.option("--jobs", "-j", type=click.IntRange(0), help="Processes; 0 is one for each core.")
@click.option("--executor", metavar="ADDRESS", help="Parse on a Dask cluster: dask://HOST:8786.")
@click.option("--stdin-filename", type=_PATH, help="Where the text of `-` belongs.")
@click.option("--no-cache", is_flag=True, help="Neither use nor keep what earlier runs found.")
@click.option(
    "--cache-dir",
    type=_PATH,
    envvar="BNLINT_CACHE_DIR",
    show_envvar=True,
    help="Keep it there. [default: .bnlint_cache in the project's root]",
)
@click.option(
    "--verbose",
    "-v",
    is_flag=True,
    help="Show the tracebacks of crashes, and why it is linked anew.",
)
def lint(
    paths: tuple[Path, ...],
    fix: bool,
    unsafe_fixes: bool,
    diff: bool,
    add_ignores: bool,
    write_baseline: Path | None,
    output_file: Path | None,
    exit_zero: bool,
    statistics: bool,
    show_settings: bool,
    show_graph: str | None,
    stdin_filename: Path | None,
    executor: str | None,
    verbose: bool,
    **options: Any,
) -> None:
    """Lint Python files and notebooks (`-` is standard input); without PATHS the current folder.

    The whole project is linked, also when only a few of its files are given. Exit code: 0 nothing
    at or above the fail level, 1 findings, 2 the run could not be done.
    """
    from bnlint.source.collecting import collecting_rarely
    from bnlint.source.discover import MissingPathError

    start = time.monotonic()
    atexit.register(gc.freeze)  # or the interpreter looks for garbage in all that the run has made
    fixing = Fixing(fix, unsafe_fixes, diff, add_ignores, write_baseline)
    wanted = paths or (Path("."),)
    try:
        settings = _settings(wanted, stdin_filename, options)
        if show_settings:
            from bnlint.settings_text import to_toml

            click.echo(to_toml(settings), nl=False)
            return
        if show_graph is not None:
            click.echo(printable(_graph(wanted, settings, show_graph), keep="\n"))
            return
        if write_baseline is not None:  # of all that is found, also of what was known before
            settings = replace(settings, baseline=None)
        given = Given(wanted, settings, stdin_filename, executor)
        with collecting_rarely():  # what is imported now stays, too
            outcome = _work(given, fixing)
    except (SettingsError, MissingPathError) as error:
        raise CommandError(str(error)) from None
    if outcome.prints:
        seconds = time.monotonic() - start
        to_stderr = fixing.wanted and given.is_stdin
        hints = not (fixing.wanted or fixing.ignore)
        how = Print(output_file, statistics, seconds, to_stderr, hints)
        print_result(outcome.result, settings, how)
    for remark in given.remarks if verbose else ():
        click.echo(f"bnlint: {remark}", err=True)
    _report_failures(outcome.result, verbose)
    if outcome.result.errors:
        raise SystemExit(2)
    if outcome.worst >= settings.fail_level and not exit_zero:
        raise SystemExit(1)


def _work(given: Given, fixing: Fixing) -> Outcome:
    """Lint, and do what is asked for."""
    if fixing.wanted:
        from bnlint.cli.fix import fix_given

        return fix_given(given, fixing)
    if fixing.ignore:
        from bnlint.cli.fix import ignore_given

        return ignore_given(given)
    result = given.lint()
    if fixing.baseline is not None:
        from bnlint.cli.baseline import write_baseline

        return write_baseline(result, fixing.baseline)
    return Outcome(result, result.worst)


def _settings(
    paths: tuple[Path, ...], stdin_filename: Path | None, options: dict[str, Any]
) -> Settings:
    from bnlint.source.discover import find_root

    root: Path | None = options["root"]
    if root is not None and not root.is_dir():
        raise CommandError(f"--root {root}: no such folder: name the folder that holds the project")
    start = [stdin_filename or Path.cwd()] if paths == (Path("-"),) else list(paths)
    return settings_from(find_root(start), options)


def _graph(paths: tuple[Path, ...], settings: Settings, name: str) -> str:
    from bnlint.source.engine import open_project

    project = open_project(paths, settings)
    from bnlint.source.draw import show_graph

    try:
        return show_graph(project, name)
    except LookupError as error:
        raise CommandError(f"--show-graph {name}: {error.args[0]}") from None


def _report_failures(result: LintResult, verbose: bool) -> None:
    from bnlint.paths import shown_path

    if not result.files and not result.errors:
        click.echo("bnlint: warning: no Python files or notebooks in the given paths", err=True)
    for error in result.errors:
        message = f"{shown_path(error.path)}: cannot be read: {error.message}"
        remedy = "(make it readable, or leave it out with --exclude)"
        click.echo(f"Error: {printable(message)} {remedy}", err=True)
    for crash in result.crashes if verbose else ():
        click.echo(printable(f"{crash.what} crashed:\n{crash.trace}", keep="\n"), err=True)
