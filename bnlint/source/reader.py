"""One file from bytes to facts: size, decoding, notebook cells, guard, extraction."""

from __future__ import annotations

import ast
import os
import traceback
from collections.abc import Mapping
from pathlib import Path

from bnlint.records import replace
from bnlint.source.digests import digest_of
from bnlint.source.facts import FileFacts
from bnlint.source.guard import check_text
from bnlint.source.limits import LIMITS
from bnlint.source.notebook import Notebook, is_python, read_notebook, without_broken_cells
from bnlint.source.outcome import Outcome, Problem
from bnlint.source.plain import open_plain
from bnlint.source.python2 import as_python3
from bnlint.source.text import RefusedError, decode, split_lines
from bnlint.suppress import FileSuppressions, find_suppressions


def read_file(path: str) -> Outcome:
    """The facts of a file. Raises nothing that a file can cause."""
    try:
        size = os.stat(path).st_size
        if size > LIMITS.of(path):
            limit = f"{size:,} bytes, the limit is {LIMITS.of(path):,}"
            return Outcome(path, problem=Problem(f"is too large: {limit}"))
        with open_plain(path) as file:
            data = file.read(LIMITS.of(path) + 1)
    except OSError as error:
        return Outcome(path, unreadable=error.strerror or str(error))
    return read_bytes(path, data)


def read_bytes(path: str, data: bytes) -> Outcome:
    """The same for the content of a file."""
    digest = digest_of(data)
    try:
        return replace(read_text(path, decode(data)), digest=digest)
    except RefusedError as error:
        return Outcome(path, problem=_problem(error), digest=digest)


def read_text(path: str, document: str) -> Outcome:
    """The same for text at hand; a path that ends in .ipynb makes it a notebook."""
    try:
        is_notebook = path.endswith(".ipynb")
        notebook = read_notebook(document) if is_notebook else Notebook(document, ())
    except RefusedError as error:
        return Outcome(path, problem=_problem(error))
    try:
        parsed = check_text(notebook.text)
    except RefusedError as error:
        return Outcome(path, problem=_located(error.message, error.line, error.column, notebook))
    return _extract(path, notebook, parsed)


def read_code(path: str, texts: Mapping[str, str]) -> str | None:
    """The text that the facts of a file were extracted from; None when it is gone.

    texts: documents that are not on disk, by path.
    """
    try:
        document = texts[path] if path in texts else decode(Path(path).read_bytes())
        return _read_cells(read_notebook(document)) if path.endswith(".ipynb") else document
    except (OSError, RefusedError):
        return None


def _read_cells(notebook: Notebook) -> str:
    """The text of the cells that can be read; Python 2 stays as it is, as it gets no fixes."""
    if is_python(notebook.text) or as_python3(notebook.text) is not None:
        return notebook.text
    return without_broken_cells(notebook).text


def _extract(path: str, notebook: Notebook, parsed: ast.Module | SyntaxError) -> Outcome:
    from bnlint.source.extract import extract

    try:
        if isinstance(parsed, SyntaxError):
            return _extract_otherwise(path, notebook, parsed)
        facts = extract(path, notebook.text, notebook.cells, parsed)
    except Exception as error:  # a mistake in the extraction costs one file, not the run
        message = f"gave up: {type(error).__name__}: {error}"
        return Outcome(path, problem=Problem(message, trace=traceback.format_exc()))
    return _outcome(facts, notebook)


def _outcome(facts: FileFacts, notebook: Notebook) -> Outcome:
    comments = find_suppressions(notebook.text)
    found = FileSuppressions(comments, notebook.cells, facts.logical_lines) if comments else None
    return Outcome(facts.path, facts, found)


def _extract_otherwise(path: str, notebook: Notebook, objection: SyntaxError) -> Outcome:
    """The same for what this Python cannot parse: newer Python, Python 2, notebooks some of whose
    cells are broken."""
    facts = _extract_newer(path, notebook)
    if facts is not None:
        return _outcome(facts, notebook)
    old = _extract_python2(path, notebook)
    if old is not None:
        return old
    message, line, column = objection.msg, objection.lineno or 1, objection.offset or 1
    problem = _located(f"is not valid Python: {message}", line, column, notebook)
    rest = without_broken_cells(notebook) if notebook.cells else notebook
    if rest.text == notebook.text or not rest.text.strip():
        return Outcome(path, problem=problem)
    partial = replace(problem, message=f"{problem.message} (the other cells were linted)")
    return replace(_extract(path, rest, check_text(rest.text)), problem=partial)


def _extract_newer(path: str, notebook: Notebook) -> FileFacts | None:
    """The facts of a text in a newer Python; None for everything else."""
    from bnlint.source.extract import extract
    from bnlint.source.lowering import lower

    lowered = lower(notebook.text)
    if lowered is None:
        return None
    parsed = check_text(lowered.text)
    if isinstance(parsed, SyntaxError):
        return None
    return extract(path, lowered.text, notebook.cells, parsed, lowered.opaque)


def _extract_python2(path: str, notebook: Notebook) -> Outcome | None:
    """The same for Python 2; None for everything else."""
    text = as_python3(notebook.text)
    if text is None:
        return None
    try:
        parsed = check_text(text)
    except RefusedError:
        return None
    if isinstance(parsed, SyntaxError) and not notebook.cells:
        return None
    outcome = _extract(path, replace(notebook, text=text), parsed)
    if outcome.facts is None:
        return None
    if outcome.problem is not None:  # a notebook of which a cell is no Python at all
        return outcome
    pairs = zip(split_lines(text), split_lines(notebook.text))
    line = next(number for number, (new, old) in enumerate(pairs, 1) if new != old)
    message = "is written for an older Python, and was read as such (it gets no fixes)"
    remark = _located(message, line, 1, notebook)
    return replace(outcome, problem=replace(remark, is_remark=True))


def _located(message: str, line: int, column: int, notebook: Notebook) -> Problem:
    """A problem at a line of the joined text, as a place in its cell."""
    start = next((c for c in reversed(notebook.cells) if c.line <= line), None)
    if start is None:
        return Problem(message, max(line, 1), max(column, 1))
    return Problem(message, line - start.line + 1, max(column, 1), start.cell)


def _problem(error: RefusedError) -> Problem:
    return Problem(error.message, error.line, error.column)
