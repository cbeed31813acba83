"""The command line: a thin layer that parses options, calls the API, prints, and exits."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

import bnlint
from bnlint.printable import printable
from bnlint.rules import OwnRuleError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS: Final = ("lint", "check", "rule", "server")
_MEANT: Final = {"help": "--help", "version": "--version", **{name: name for name in COMMANDS}}
"""What a word is likely to mean that is neither a command nor a file."""
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
        raise CommandError(f"a rule that a package brings cannot be used: {error}") from None


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
        if not args and ctx.resilient_parsing:  # a shell completes the first word
            return super().parse_args(ctx, args)
        if not args or (args[0] not in COMMANDS and args[0] not in _OWN_OPTIONS):
            _refuse_mistyped(ctx, args)
            args = ["lint", *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The first word: a command, an option of the command `lint`, or a file."""
        from click.shell_completion import CompletionItem

        found = super().shell_complete(ctx, incomplete)
        if not incomplete.startswith("-"):
            return [CompletionItem(incomplete, type="file"), *found]
        lint = self.get_command(ctx, "lint")
        known = {item.value for item in found}
        more = [] if lint is None else lint.shell_complete(ctx, incomplete)
        return [*found, *(item for item in more if item.value not in known)]

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with one_line_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with one_line_errors():
            return super().invoke(ctx)


def _refuse_mistyped(ctx: click.Context, args: list[str]) -> None:
    """Raise UsageError for a first word that is like a command, and no path."""
    word = args[0] if args else ""
    if not word.isalpha() or os.path.lexists(word):
        return
    from bnlint.spelling import closest

    guess = closest(word, _MEANT)
    if guess is not None:
        meant = f"did you mean `bnlint {_MEANT[guess]}`?"
        raise click.UsageError(f"{word}: no such command, file or folder ({meant})", ctx)


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`bnlint PATH...` is `bnlint lint PATH...`; no path means the current folder.",
)
@click.version_option(bnlint.__version__, "-V", "--version")
def main() -> None:
    """Find BatchNorm mistakes in PyTorch code: in the source, and on a live model."""
