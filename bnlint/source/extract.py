"""Extraction: the text of one file, parsed by Python itself, as FileFacts."""

from __future__ import annotations

import ast

from bnlint.source.extract_statements import StatementExtractor
from bnlint.source.facts import CellStart, FileFacts
from bnlint.source.guard import parse
from bnlint.source.layout import Layout
from bnlint.source.recursion import room_to_recurse
from bnlint.source.text import line_starts

FRAMES = 20_000
"""Frames for one file: the guard bounds its depth, and each level costs a handful of frames."""


def extract(
    path: str,
    text: str,
    cells: tuple[CellStart, ...] = (),
    tree: ast.Module | None = None,
    opaque: frozenset[int] = frozenset(),
) -> FileFacts:
    """The facts of one file.

    path: absolute, forward slashes; text: decoded, without a byte order mark; cells: the starts of
    notebook cells in the joined text; tree: the text as it was parsed by the guard, which the
    caller has passed it through; opaque: see `lowering`. Raises SyntaxError for text that Python
    cannot parse.
    """
    starts = tuple(line_starts(text))
    with room_to_recurse(FRAMES):
        extractor = StatementExtractor(Layout(text, starts), opaque)
        body = extractor.body((parse(text) if tree is None else tree).body)
    logical = tuple(sorted(extractor.logical_lines.items()))
    mentions = "BatchNorm" in text or "batch_norm" in text
    return FileFacts(path, body, starts, cells, logical, mentions)
