"""One file from bytes to facts: size, decoding, notebook cells, guard, extraction."""

from __future__ import annotations

import hashlib
import os
import pickle
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from bnlint.source.facts import FileFacts
from bnlint.source.guard import LIMITS, check_text
from bnlint.source.notebook import Notebook, read_notebook, without_broken_cells
from bnlint.source.python2 import as_python3
from bnlint.source.recursion import room_to_recurse
from bnlint.source.text import RefusedError, decode, split_lines
from bnlint.suppress import FileSuppressions, find_suppressions


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a file has no facts. trace: the traceback when the extraction itself failed, else "".

    is_remark: the file has facts, and this only says how it was read.
    """

    message: str
    line: int = 1
    column: int = 1
    cell: int | None = None
    trace: str = ""
    is_remark: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file.

    facts with suppressions, or a problem that is a finding (BNL901; both for a notebook with a
    broken cell and for Python 2), or unreadable: what the operating system said. digest: of the
    bytes that were read, empty for a text that is not on disk.
    """

    path: str
    facts: FileFacts | None = None
    suppressions: FileSuppressions | None = None
    problem: Problem | None = None
    unreadable: str = ""
    digest: str = ""

    def __reduce__(self) -> tuple[Callable[[bytes], Outcome], tuple[bytes]]:
        """Facts nest as deeply as the file does: more than pickle may by default."""
        with room_to_recurse():
            return _unpacked, (pickle.dumps([getattr(self, f.name) for f in fields(self)]),)


def _unpacked(data: bytes) -> Outcome:
    return Outcome(*pickle.loads(data))


def digest_of(data: bytes) -> str:
    """What tells one content of a file from another."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def read_file(path: str) -> Outcome:
    """The facts of a file. Raises nothing that a file can cause."""
    try:
        size = os.stat(path).st_size
        if size > LIMITS.of(path):
            limit = f"{size:,} bytes, the limit is {LIMITS.of(path):,}"
            return Outcome(path, problem=Problem(f"is too large: {limit}"))
        with open(path, "rb") as file:
            data = file.read(LIMITS.of(path) + 1)
    except OSError as error:
        return Outcome(path, unreadable=error.strerror or str(error))
    try:
        return replace(read_text(path, decode(data)), digest=digest_of(data))
    except RefusedError as error:
        return Outcome(path, problem=Problem(error.message, error.line, error.column))


def read_text(path: str, document: str) -> Outcome:
    """The same for text at hand; a path that ends in .ipynb makes it a notebook."""
    try:
        is_notebook = path.endswith(".ipynb")
        notebook = read_notebook(document) if is_notebook else Notebook(document, ())
    except RefusedError as error:
        return Outcome(path, problem=Problem(error.message, error.line, error.column))
    try:
        objection = check_text(notebook.text)
    except RefusedError as error:
        return Outcome(path, problem=_located(error.message, error.line, error.column, notebook))
    return _extract(path, notebook, objection)


def read_code(path: str, texts: Mapping[str, str]) -> str | None:
    """The text that the facts of a file were extracted from; None when it is gone.

    texts: documents that are not on disk, by path.
    """
    try:
        document = texts[path] if path in texts else decode(Path(path).read_bytes())
        return read_notebook(document).text if path.endswith(".ipynb") else document
    except (OSError, RefusedError):
        return None


def _extract(path: str, notebook: Notebook, objection: SyntaxError | None) -> Outcome:
    from libcst import ParserSyntaxError

    from bnlint.source.extract import extract

    try:
        facts = extract(path, notebook.text, notebook.cells)
    except ParserSyntaxError as error:
        old = _extract_python2(path, notebook)
        if old is not None:
            return old
        message, line, column = error.message, error.editor_line, error.editor_column
        if objection is not None:
            message, line, column = objection.msg, objection.lineno or 1, objection.offset or 1
        problem = _located(f"is not valid Python: {message}", line, column, notebook)
        rest = without_broken_cells(notebook) if notebook.cells else notebook
        if rest.text == notebook.text or not rest.text.strip():
            return Outcome(path, problem=problem)
        partial = replace(problem, message=f"{problem.message} (the other cells were linted)")
        return replace(_extract(path, rest, None), problem=partial)
    except Exception as error:  # a mistake in the extraction costs one file, not the run
        message = f"gave up: {type(error).__name__}: {error}"
        return Outcome(path, problem=Problem(message, trace=traceback.format_exc()))
    comments = find_suppressions(notebook.text)
    found = FileSuppressions(comments, notebook.cells, facts.logical_lines) if comments else None
    return Outcome(path, facts, found)


def _extract_python2(path: str, notebook: Notebook) -> Outcome | None:
    """The same for Python 2; None for everything else."""
    text = as_python3(notebook.text)
    if text is None:
        return None
    try:
        objection = check_text(text)
    except RefusedError:
        return None
    if objection is not None and not notebook.cells:
        return None
    outcome = _extract(path, replace(notebook, text=text), objection)
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
