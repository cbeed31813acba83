"""The command line: a thin layer that parses options, calls the API, prints, and exits."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

import bnlint
from bnlint.printable import printable
from bnlint.rules import OwnRuleError

COMMANDS: Final = ("lint", "check", "rule", "server")
_OWN_OPTIONS: Final = frozenset({"-h", "--help", "-V", "--version"})


class CommandError(click.ClickException):
    """The run could not be done: one line on stderr, exit code 2."""

    exit_code = 2

    def format_message(self) -> str:
        """The message without what a terminal would obey."""
        return printable(self.message)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Wrong usage ends in one line that names the remedy, without the usage text before it."""
    try:
        yield
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx is not None else "bnlint"
        message = f"{error.format_message().rstrip('.')} (see `{command} --help`)"
        raise CommandError(message) from None
    except OwnRuleError as error:
        raise CommandError(f"a rule of another package cannot be used: {error}") from None


class _Group(click.Group):
    """Commands imported when they are called; anything that is no command is `lint`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"bnlint.cli.{cmd_name}"), cmd_name)
        return command if isinstance(command, click.Command) else None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in COMMANDS and args[0] not in _OWN_OPTIONS):
            args = ["lint", *args]
        return super().parse_args(ctx, args)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with one_line_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with one_line_errors():
            return super().invoke(ctx)


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`bnlint PATH...` is `bnlint lint PATH...`; no path means the current folder.",
)
@click.version_option(bnlint.__version__, "-V", "--version")
def main() -> None:
    """Find BatchNorm mistakes in PyTorch code: in the source, and on a live model."""
