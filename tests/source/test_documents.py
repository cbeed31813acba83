"""Edits of documents, whatever their layout: what is decoded is the edited code, nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnlint.finding import Edit, Place
from bnlint.source.document import Document, EditError, edited
from bnlint.source.notebook_layout import NotebookLayout
from bnlint.source.text import line_starts, split_lines

LINES = ("x = 1", "é = '\U0001f600\\n\"'", "", "    # tab\t|", "y = [1,", "2]")
TEXTS = st.lists(st.sampled_from(LINES), min_size=1, max_size=6).map("\n".join).filter(bool)
NEW = st.sampled_from(("", "z", "new()\n", "'é\U0001f600\\\"'", "a\nb\n"))


def as_lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def in_pieces(text: str) -> list[str]:
    return [text[:3], text[3:4], text[4:]]


@st.composite
def notebooks(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A notebook in some layout, and the sources of its code cells."""
    sources = draw(st.lists(TEXTS, min_size=1, max_size=3))
    shape = draw(st.sampled_from((str, as_lines, in_pieces)))
    cells: list[dict[str, Any]] = []
    for source in sources:
        cells.append({"outputs": [{"text": source}], "cell_type": "code", "source": shape(source)})
        cells.append({"source": "# x = 1", "cell_type": "markdown"})
    indent = draw(st.sampled_from((None, 1, 4, "\t")))
    ascii_only = draw(st.booleans())
    content = {"nbformat": 4, "metadata": {"source": "x = 1"}, "cells": cells}
    return json.dumps(content, indent=indent, ensure_ascii=ascii_only), sources


@st.composite
def edits(draw: st.DrawFn, text: str) -> Edit:
    starts = line_starts(text)
    offsets = sorted(draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
    places = []
    for offset in offsets:
        line = max(n for n, start in enumerate(starts) if start <= offset)
        places += [line + 1, offset - starts[line] + 1]
    return Edit(*places, draw(NEW))


def replaced(text: str, edit: Edit) -> str:
    starts = line_starts(text)
    start = starts[edit.line - 1] + edit.column - 1
    end = starts[edit.end_line - 1] + edit.end_column - 1
    return text[:start] + edit.text + text[end:]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_an_edit_of_a_cell_changes_that_cell_alone(data: st.DataObject) -> None:
    document, sources = data.draw(notebooks())
    number = data.draw(st.integers(0, len(sources) - 1))
    edit = data.draw(edits(sources[number]))
    ((start, end, text),) = NotebookLayout(document).edited(2 * number, [edit])
    after = json.loads(document[:start] + text + document[end:])
    wanted = json.loads(document)
    wanted["cells"][2 * number]["source"] = replaced(sources[number], edit)
    after["cells"][2 * number]["source"] = "".join(after["cells"][2 * number]["source"])
    assert after["cells"][2 * number] == wanted["cells"][2 * number]
    del after["cells"][2 * number], wanted["cells"][2 * number]
    assert after == wanted


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_place_in_a_cell_is_found_in_the_file(data: st.DataObject) -> None:
    document, sources = data.draw(notebooks())
    number = data.draw(st.integers(0, len(sources) - 1))
    edit = data.draw(edits(sources[number]))
    place = Place("n.ipynb", edit.line, edit.column, edit.line, edit.column, 2 * number)
    found = NotebookLayout(document).in_file(place)
    assert found.cell is None
    rest = split_lines(document)[found.line - 1][found.column - 1 :]
    line = split_lines(sources[number])[edit.line - 1][edit.column - 1 :]
    if line.isascii() and line and not set(line) & set('"\\\t'):
        assert rest.startswith(line[:1])


def cell(edit: Edit) -> tuple[None, list[Edit]]:
    return None, [edit]


def test_the_first_of_two_edits_that_touch_wins() -> None:
    document = Document("a.py", "a = 1\nb = 2\n")
    one, other = Edit(1, 1, 1, 6, "c = 3"), Edit(1, 5, 1, 6, "9")
    far = Edit(2, 5, 2, 6, "8")
    assert edited(document, map(cell, (one, other, far))) == ("c = 3\nb = 8\n", [0, 2])
    insert = Edit(1, 1, 1, 1, "x; ")
    assert edited(document, map(cell, (insert, insert))) == ("x; a = 1\nb = 2\n", [0])


def test_edits_that_do_not_parse_together_are_not_made_together() -> None:
    document = Document("a.py", "f(a)\n")
    opened, closed = Edit(1, 2, 1, 3, "["), Edit(1, 4, 1, 5, "]")
    assert edited(document, [(None, [opened, closed])]) == ("f[a]\n", [0])
    assert edited(document, map(cell, (Edit(1, 3, 1, 4, "b"), opened))) == ("f(b)\n", [0])
    assert edited(document, [cell(opened)]) == ("f(a)\n", [])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\xfea\x00", "null bytes"),
        ("# coding: utf-7\n+AGE-\n".encode("ascii"), "without changing more than the fix"),
        ("# coding: rot13\n".encode("ascii"), "cannot be decoded"),
    ],
)
def test_bytes_that_would_not_come_back_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(EditError, match=words):
        Document.of("a.py", data)


def test_a_text_that_the_encoding_cannot_say_is_refused() -> None:
    document = Document.of("a.py", b"# coding: latin-1\n")
    with pytest.raises(EditError, match="cannot be written as iso-8859-1"):
        document.encoded("\u65e5")
