"""Notebooks: the code cells of an .ipynb file as one text, with the place of each cell."""

from __future__ import annotations

import ast
import json
import re
import warnings
from typing import Any, Final

from bnlint.records import Struct
from bnlint.source.facts import CellStart
from bnlint.source.text import NO_FILE, RefusedError, split_lines

_MAGIC: Final = re.compile(r"\s*(?:[%!]|\?|[\w.]+\?\??\s*$)")
_ASSIGNED_MAGIC: Final = re.compile(r"\s*[\w.,\s]+=\s*[%!]")
_STRING_OR_COMMENT: Final = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|#.*")
_PYTHON_CELLS: Final = frozenset({"%%time", "%%timeit", "%%capture", "%%prun"})


class Notebook(Struct, frozen=True):
    """text: the code cells joined by newlines, magics blanked; cells: where each one starts, by its
    index among all cells (Markdown included), counted from 0."""

    text: str
    cells: tuple[CellStart, ...]


def read_notebook(document: str) -> Notebook:
    """The code of a notebook; raises RefusedError when it is not one."""
    try:
        content = json.loads(document)
    except json.JSONDecodeError as error:
        message = f"is not a valid notebook: {error.msg}"
        raise RefusedError(message, error.lineno, error.colno) from None
    except RecursionError:
        raise RefusedError("is not a valid notebook: nested too deeply") from None
    except ValueError as error:  # a number of thousands of digits
        raise RefusedError(f"is not a valid notebook: {error}") from None
    if not _is_for_python(content):
        return Notebook("", ())
    lines: list[str] = []
    starts: list[CellStart] = []
    for index, source in _code_cells(content):
        starts.append(CellStart(index, len(lines) + 1))
        lines += blank_magics(split_lines(source))
    return Notebook("\n".join(lines) + "\n", tuple(starts))


def is_notebook(document: str) -> bool:
    """Whether a text is a notebook, whatever it is called."""
    if not document.lstrip().startswith("{"):
        return False
    try:
        content = json.loads(document)
    except (ValueError, RecursionError):
        return False
    return isinstance(content.get("cells"), list) and "nbformat" in content


def without_broken_cells(notebook: Notebook) -> Notebook:
    """The notebook with every cell blanked that is no Python by itself: an exercise that is not yet
    filled in does not hide the rest. All offsets stay as they are."""
    lines = notebook.text.split("\n")
    for own in _broken(notebook, lines).values():
        lines[own] = [" " * len(line) for line in lines[own]]
    return Notebook("\n".join(lines), notebook.cells)


def broken_cells(notebook: Notebook) -> frozenset[int]:
    """The cells that are no Python by themselves."""
    return frozenset(_broken(notebook, notebook.text.split("\n")))


def _broken(notebook: Notebook, lines: list[str]) -> dict[int, slice]:
    """The cells that are no Python by themselves, and their lines."""
    ends = [start.line - 1 for start in notebook.cells[1:]] + [len(lines)]
    spans = ((start.cell, slice(start.line - 1, end)) for start, end in zip(notebook.cells, ends))
    return {cell: own for cell, own in spans if not is_python("\n".join(lines[own]))}


def cell_lines(document: str, cell: int) -> list[str]:
    """The lines of one code cell as they stand in the notebook; empty when there is none."""
    source = cell_sources(document).get(cell)
    return [] if source is None else split_lines(source)


def cell_sources(document: str) -> dict[int, str]:
    """The source of each code cell as it stands in the notebook, by the index of the cell."""
    return dict(_code_cells(json.loads(document)))


def _is_for_python(content: Any) -> bool:
    """Whether the notebook's language is Python, or not said."""
    language: Any = content
    for key in ("metadata", "language_info", "name"):
        language = language.get(key) if isinstance(language, dict) else None
    return not isinstance(language, str) or "python" in language.lower()


def _code_cells(content: Any) -> list[tuple[int, str]]:
    """Index and source of each code cell, for notebook formats 3 and 4."""
    if not isinstance(content, dict):
        raise RefusedError("is not a valid notebook: the top level is not an object")
    cells = content.get("cells", _old_cells(content))
    if not isinstance(cells, list):
        raise RefusedError("is not a valid notebook: it has no list of cells")
    found = []
    for index, cell in enumerate(cells):
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            source: Any = cell.get("source", cell.get("input", ""))
            found.append((index, source if isinstance(source, str) else _joined(source)))
    return found


def _joined(source: Any) -> str:
    return "".join(map(str, source)) if isinstance(source, list) else ""


def _old_cells(content: dict[str, Any]) -> list[Any] | None:
    """The cells of format 3, which keeps them in worksheets."""
    match content.get("worksheets"):
        case [{"cells": list(cells)}]:
            return cells
        case _:
            return None


def blank_magics(lines: list[str]) -> list[str]:
    """The lines of one cell with everything that is IPython's rather than Python's made blank.

    A `%%` cell is blank altogether, except for those that time or capture Python code. A line that
    a backslash continues is blanked with its continuation.
    """
    if not any(_looks_magic(line) for line in lines) or is_python("\n".join(lines)):
        return lines
    first = next(line.strip() for line in lines if line.strip())
    if first.startswith("%%") and first.split()[0] not in _PYTHON_CELLS:
        return [""] * len(lines)
    blanked: list[str] = []
    continues = False
    depth = 0
    for line in lines:
        if continues or (depth == 0 and _looks_magic(line)):
            continues = line.endswith("\\")
            blanked.append(_placeholder(line, blanked))
        else:
            depth = max(0, depth + _opened(line))
            blanked.append(line)
    return blanked


def _looks_magic(line: str) -> bool:
    return bool(_MAGIC.match(line) or _ASSIGNED_MAGIC.match(line))


def is_python(text: str) -> bool:
    """Whether the text parses."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text, NO_FILE)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _opened(line: str) -> int:
    """How many brackets the line leaves open (closed: negative)."""
    bare = _STRING_OR_COMMENT.sub("", line)
    return sum(bare.count(c) for c in "([{") - sum(bare.count(c) for c in ")]}")


def _placeholder(line: str, before: list[str]) -> str:
    """Blank, or `pass` where a block would otherwise be left without a statement."""
    previous = next((text.rstrip() for text in reversed(before) if text.strip()), "")
    indent = line[: len(line) - len(line.lstrip())]
    return f"{indent}pass" if indent and previous.endswith(":") else ""
