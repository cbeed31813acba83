"""`python -m bnlint`."""

import os
import sys


def forget_current_folder() -> None:
    """Take back that `python -m` looks into the current folder first: there lies what is linted,
    and a `click.py` in it would be run in place of the package of that name."""
    if not sys.flags.safe_path and sys.path and os.path.abspath(sys.path[0]) == os.getcwd():
        del sys.path[0]


if __name__ == "__main__":
    forget_current_folder()
    from bnlint.cli import main

    main(prog_name="bnlint")
