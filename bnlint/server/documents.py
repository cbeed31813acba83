"""What the editor has open: a file is a document; so is a notebook, or each of its cells."""

from __future__ import annotations

import json
from pathlib import Path

from lsprotocol import types
from pygls.uris import to_fs_path
from pygls.workspace import Workspace

from bnlint.finding import Place
from bnlint.source.discover import posix


class Documents:
    """The editor's documents, by the files that they show. Paths are absolute, with forward
    slashes; cells are counted from 0, Markdown included."""

    def __init__(self, workspace: Workspace) -> None:
        notebooks = workspace.notebook_documents.values()
        self._cells = {
            path: [cell.document for cell in notebook.cells]
            for notebook in notebooks
            if (path := path_of(notebook.uri)) is not None
        }

    def cell_uri(self, place: Place) -> str | None:
        """The document of the cell that a place is in; None when it is no document."""
        cells = self._cells.get(place.path, ())
        is_there = place.cell is not None and place.cell < len(cells)
        return cells[place.cell or 0] if is_there else None

    def of(self, path: str) -> list[str]:
        """The documents that show a file."""
        return self._cells.get(path) or [uri_of(path)]

    def file_of(self, uri: str) -> str:
        """The file that a document shows; empty when it shows none."""
        by_cells = (path for path, cells in self._cells.items() if uri in cells)
        return next(by_cells, None) or path_of(uri) or ""


def notebook_text(workspace: Workspace, notebook: types.NotebookDocument) -> str:
    """A notebook that is open cell by cell, as the .ipynb file that it would be."""
    cells = []
    for cell in notebook.cells:
        document = workspace.get_text_document(cell.document)
        is_code = cell.kind is types.NotebookCellKind.Code
        is_python = is_code and document.language_id in ("python", None)
        kind = "code" if is_python else "markdown"
        cells.append({"cell_type": kind, "source": document.source})
    return json.dumps({"cells": cells})


def is_same(uri: str, other: str) -> bool:
    """Whether two URIs, which may be escaped in different ways, name one document."""
    path = path_of(uri)
    return uri == other if path is None else path == path_of(other)


def path_of(uri: str) -> str | None:
    """The file behind a URI; None when it is none."""
    path = to_fs_path(uri)
    return None if path is None else posix(Path(path))


def uri_of(path: str) -> str:
    """The file's URI."""
    return Path(path).as_uri()
