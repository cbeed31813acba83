"""Notebooks become one text; cells are counted over all cells."""

from __future__ import annotations

import ast
import json

import pytest

from bnlint.source.engine import lint_source
from bnlint.source.facts import CellStart
from bnlint.source.notebook import blank_magics, cell_lines, read_notebook
from bnlint.source.reader import read_text
from bnlint.source.text import RefusedError


def document(*cells: tuple[str, str | list[str]], language: str = "python") -> str:
    return json.dumps(
        {
            "cells": [{"cell_type": kind, "source": source} for kind, source in cells],
            "metadata": {"language_info": {"name": language}},
            "nbformat": 4,
        }
    )


def test_code_cells_are_joined_and_counted_over_all_cells() -> None:
    text = document(("markdown", "# T"), ("code", ["a = 1\n", "b = 2"]), ("code", "c = 3"))
    notebook = read_notebook(text)
    assert notebook.text == "a = 1\nb = 2\nc = 3\n"
    assert notebook.cells == (CellStart(1, 1), CellStart(2, 3))
    assert cell_lines(text, 2) == ["c = 3"]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("%matplotlib inline\nx = 1", "\nx = 1"),
        ("!pip install torch\nx = 1", "\nx = 1"),
        ("?torch\nnn.Module?\nx = 1", "\n\nx = 1"),
        ("files = !ls\nx = 1", "\nx = 1"),
        ("%%bash\necho hi\nls", "\n\n"),
        ("%%time\nx = 1", "\nx = 1"),
        ("!a \\\n  b\nx = 1", "\n\nx = 1"),
        ("if a:\n    !ls\nx = 1", "if a:\n    pass\nx = 1"),
        ("!ls\ny = ('%d'\n  % x)", "\ny = ('%d'\n  % x)"),
        ("y = ('%d'\n  % x)", "y = ('%d'\n  % x)"),
        ("y = a \\\n% b", "y = a \\\n% b"),
    ],
)
def test_magics_are_blanked_and_lines_keep_their_numbers(cell: str, expected: str) -> None:
    lines = blank_magics(cell.split("\n"))
    assert "\n".join(lines) == expected
    ast.parse("\n".join(lines))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cells": 3}', "{}", "[" * 100_000, "9" * 5_000])
def test_a_broken_notebook_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match="not a valid notebook"):
        read_notebook(text)


def test_other_languages_have_no_python() -> None:
    assert read_notebook(document(("code", "x <- 1"), language="R")).cells == ()


def test_format_3_keeps_cells_in_worksheets() -> None:
    old = {"worksheets": [{"cells": [{"cell_type": "code", "input": ["x = 1"]}]}], "nbformat": 3}
    assert read_notebook(json.dumps(old)).text == "x = 1\n"


def test_a_syntax_error_is_placed_in_its_cell() -> None:
    problem = read_text("/a.ipynb", document(("code", "a = 1"), ("code", "b = 1\nc = = 2"))).problem
    assert problem is not None
    assert (problem.cell, problem.line) == (1, 2)


def test_a_notebook_without_code_is_fine() -> None:
    assert read_text("/a.ipynb", document(("markdown", "text"))).problem is None


def test_a_broken_cell_does_not_hide_the_mistakes_of_the_others() -> None:
    cells = [
        "import torch\nfrom torch import nn\n",
        "model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))\n"
        "model.load_state_dict(torch.load('a.pt'))\n",
        "def exercise(x) = # fill this in\n    return\n",
        "with torch.no_grad():\n    scores = model(torch.load('x.pt'))\nprint(scores.argmax(1))\n",
    ]
    document = json.dumps(
        {"cells": [{"cell_type": "code", "source": source} for source in cells], "metadata": {}}
    )
    found = lint_source(document, "n.ipynb").findings
    places = {(f.code, f.place.cell, f.place.line) for f in found if f.place is not None}
    assert places == {("BNL901", 2, 1), ("BNL101", 3, 2)}
