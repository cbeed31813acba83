"""Extraction: the text of one file, parsed by libcst, as FileFacts."""

from __future__ import annotations

from bisect import bisect_right

import libcst as cst

from bnlint.source.extract_statements import StatementExtractor
from bnlint.source.facts import CellStart, FileFacts
from bnlint.source.offsets import spans_of
from bnlint.source.recursion import room_to_recurse
from bnlint.source.text import line_starts

FRAMES = 20_000
"""Frames for one file: the guard bounds its depth, and each level costs a handful of frames."""


def extract(path: str, text: str, cells: tuple[CellStart, ...] = ()) -> FileFacts:
    """The facts of one file.

    path: absolute, forward slashes; text: decoded, without a byte order mark; cells: the starts of
    notebook cells in the joined text. The caller has passed the text through the guard. Raises
    libcst.ParserSyntaxError for text that libcst cannot parse.
    """
    with room_to_recurse(FRAMES):
        module = cst.parse_module(text)
        spans = spans_of(module)
        extractor = StatementExtractor(spans)
        body = extractor.body(module.body)
    starts = tuple(line_starts(text))
    logical = {
        (first, last)
        for start, end in extractor.logical_spans
        if (first := bisect_right(starts, start))
        < (last := bisect_right(starts, max(start, end - 1)))
    }
    mentions = "BatchNorm" in text or "batch_norm" in text
    return FileFacts(path, body, starts, cells, tuple(sorted(logical)), mentions)
