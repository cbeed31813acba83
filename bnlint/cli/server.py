"""`bnlint server`: findings in the editor."""

from __future__ import annotations

import click

from bnlint.cli import CommandError


@click.command()
def server() -> None:
    """Speak the language server protocol on standard input and output, for an editor.

    Needs the extra: pip install "bnlint[lsp]".
    """
    try:
        from bnlint.server.app import make_server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("pygls", "lsprotocol"):
            raise
        raise CommandError('the server needs pygls: pip install "bnlint[lsp]"') from None
    make_server().start_io()
