"""How large a file may be that is read."""

from __future__ import annotations

from typing import Final

from bnlint.records import Struct


class Limits(Struct, frozen=True):
    """The largest file that is parsed.

    bytes of a Python file, bytes of a notebook (its outputs included), lines, code points in one
    line, nodes of the abstract syntax tree, nesting (a chain of n operators is nested n deep),
    brackets around each node, all nodes together (libcst's time grows with them), and steps that
    its parser needs for the patterns of `match` (exponential in their brackets).
    Chosen so that libcst stays under 7 s and 1 GB, and far from the end of an 8 MB stack.
    """

    bytes: int = 5_000_000
    notebook_bytes: int = 50_000_000
    lines: int = 20_000
    line_length: int = 200_000
    nodes: int = 200_000
    depth: int = 200
    brackets: int = 600_000
    pattern_steps: int = 2_000_000

    def of(self, path: str) -> int:
        """The limit on the size of this file in bytes."""
        return self.notebook_bytes if path.endswith(".ipynb") else self.bytes


LIMITS: Final = Limits()
