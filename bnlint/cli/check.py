"""`bnlint check`: the live check from the command line."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bnlint.cli import CommandError
from bnlint.cli.options import SELECTION, selection_from, selector_option
from bnlint.finding import Severity
from bnlint.printable import printable
from bnlint.settings import LEVELS, SettingsError

if TYPE_CHECKING:
    from bnlint.live.report import Report

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(
    epilog="""\b
Examples:
  bnlint check nets.py:build                       shapes are made up
  bnlint check nets.py:Net --input 8,3,224,224     random numbers of this shape
  bnlint check train.py:build --input-file x.pt --weights best.pt --phase inference
  bnlint check nets.py:build --extend-select BNL205,BNL405"""
)
@click.argument("target")
@click.option(
    "inputs",
    "--input",
    multiple=True,
    metavar="SHAPE",
    help="Random input of this shape, e.g. 8,3,32,32 or int64:8,128; repeat for more arguments. "
    "The report is then synthetic.",
)
@click.option(
    "--input-file",
    multiple=True,
    type=_FILE,
    help="Real input: a .pt file (tensor, tuple or dict) or a .npy file; repeat for more.",
)
@click.option("--weights", type=_FILE, help="State dict to load first (tensors only).")
@click.option(
    "--phase",
    type=click.Choice(["inference", "training"]),
    help="What the forward is for: judges the mode. Without it the mode is only measured.",
)
@click.option("--device", help="Where to run, e.g. cuda; default: where the model is.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of every pass.")
@click.option(
    "--batches",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Batches to measure, where TARGET brings a loader along.",
)
@click.option("--recalibrate", is_flag=True, help="Re-estimate the statistics and measure again.")
@click.option(
    "--output-format",
    type=click.Choice(["full", "json", "html"]),
    default="full",
    show_default=True,
    help="How to print the report.",
)
@click.option("--output-file", type=_FILE, help="Write the report there, not to the terminal.")
@click.option(
    "--fail-level",
    type=click.Choice(LEVELS),
    help="Exit with 1 from this severity on. [default: warning]",
)
@selector_option("--select", "Only these rules: BNL101, BNL1, a rule's name, or ALL.")
@selector_option("--extend-select", "These rules as well, such as opt-in ones.")
@selector_option("--ignore", "Not these rules.")
@selector_option("--extend-ignore", "Not these rules either.")
@click.option("--config", type=_FILE, help="Read this file, not the nearest pyproject.toml.")
@click.option("--isolated", is_flag=True, help="Read no configuration file.")
@click.option(
    "--distributed/--no-distributed",
    default=True,
    show_default=True,
    help="Under torchrun: compare with the other processes.",
)
def check(
    target: str,
    inputs: tuple[str, ...],
    input_file: tuple[Path, ...],
    weights: Path | None,
    output_format: str,
    output_file: Path | None,
    fail_level: str | None,
    **options: Any,
) -> None:
    """Run a model and measure what its BatchNorm layers do.

    TARGET is file.py:name or package.module:name: a module, or a callable that returns a module
    or (module, inputs). It is executed: the file is imported, the callable is called and the
    model is run, like any program of yours. Weights are only read, nothing in them is executed.

    Rules and their options are those of [tool.bnlint], as for `bnlint lint`.
    Exit code: 0 clean, 1 findings, 2 the check could not be done.
    """
    if importlib.util.find_spec("torch") is None:
        raise CommandError('torch is not installed: pip install "bnlint[torch]"')
    if inputs and input_file:
        raise CommandError("give --input or --input-file, not both")
    choice = {key: options.pop(key) for key in SELECTION}
    try:
        settings = selection_from(_folder(target), choice)
    except SettingsError as error:
        raise CommandError(str(error)) from None
    options["settings"] = settings
    # what the target prints must not end up inside the report
    with contextlib.redirect_stdout(sys.stderr):
        report = _checked(target, inputs, input_file, weights, options)
    _write(report, output_format, output_file)
    if not report.ok(settings.fail_level if fail_level is None else Severity.parse(fail_level)):
        raise SystemExit(1)


def _folder(target: str) -> Path:
    """Where the settings are looked for: at the file, or in the current folder."""
    file = Path(target.rpartition(":")[0])
    return file.absolute().parent if file.suffix == ".py" else Path.cwd()


def _checked(
    target: str,
    shapes: tuple[str, ...],
    files: tuple[Path, ...],
    weights: Path | None,
    options: dict[str, Any],
) -> Report:
    from bnlint.live.check import check as run
    from bnlint.live.errors import CheckError
    from bnlint.live.target import load_input, load_target, load_weights, random_inputs

    try:
        model, given = load_target(target)
        if weights is not None:
            load_weights(model, weights)
        if shapes:
            given = random_inputs(model, shapes)
        if files:
            loaded = [load_input(file) for file in files]
            given = loaded[0] if len(loaded) == 1 else tuple(loaded)
        return run(model, given, **options)
    except CheckError as error:
        raise CommandError(str(error)) from error
    except Exception as error:  # the model is foreign code and may raise anything
        reason = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
        raise CommandError(f"{target} raised {reason} ({_given(shapes, files)})") from error


def _given(shapes: tuple[str, ...], files: tuple[Path, ...]) -> str:
    """What the model ran on, for somebody who has to change it."""
    if shapes:
        return f"with --input {' --input '.join(shapes)}: does that fit its forward?"
    if files:
        return f"with the inputs in {', '.join(map(str, files))}: do they fit its forward?"
    return "with the inputs that come with it: do they fit its forward?"


def _write(report: Report, output_format: str, output_file: Path | None) -> None:
    match output_format:
        case "json":
            text = report.to_json()
        case "html":
            from bnlint.live.html import page

            text = page(report)
        case _:
            text = str(report)
    if output_file is None:
        click.echo(printable(text, keep="\n"))
        return
    try:
        output_file.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise CommandError(f"cannot write {output_file}: {error.strerror}") from error
