"""What is kept of a file comes back as it was."""

from __future__ import annotations

import json
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from bnlint.records import replace
from bnlint.source import ir
from bnlint.source.bodies import read_body, read_expression
from bnlint.source.cache.codec import decode, encode
from bnlint.source.compact import compact
from bnlint.source.outcome import Outcome
from bnlint.source.reader import read_text
from bnlint.source.walk import walk

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path
    for folder in ("bnlint", "fixtures")
    for path in (ROOT / folder).rglob("*.py")
    if path.parent.name != "bnl901-cannot-parse"
)
PART = 0, 1, 2, 3


def returned(outcome: Outcome, path: str) -> Outcome | None:
    data = encode(outcome)
    return None if data is None else decode(data, path)


def plainly(body: ir.Body) -> list[str]:
    """All that is no record in some code, in order, with its type."""
    return [
        f"{type(node).__name__} {name} {value!r}"
        for node in walk(body)
        if isinstance(node, ir.Node)
        for name in node.__struct_fields__
        if not isinstance(value := getattr(node, name), Raw | tuple | ir.Node)
        and name not in ("code", "hint")
    ]


@pytest.mark.parametrize("part", PART)
def test_the_facts_of_real_files_come_back(part: int) -> None:
    for path in FILES[part :: 4 * len(PART)]:
        outcome = read_text(str(path), path.read_text(encoding="utf-8"))
        assert outcome.facts is not None
        again = returned(outcome, str(path))
        assert again == outcome
        assert again is not None
        assert again.facts is not None
        assert plainly(again.facts.body) == plainly(outcome.facts.body)
        assert again.facts.logical_lines == outcome.facts.logical_lines


CONSTANTS = (
    st.integers()
    | st.integers(-(2**200), 2**200)
    | st.floats()
    | st.complex_numbers(allow_nan=True)
    | st.text(st.characters())
    | st.binary()
    | st.sampled_from([None, True, False, ...])
)


@given(CONSTANTS)
def test_every_constant_comes_back(value: object) -> None:
    outcome = read_text("/a.py", "x = f(1)\n")
    assert outcome.facts is not None
    body = (ir.Evaluate(ir.Constant(value, (0, 1)), (0, 1)),)
    again = returned(replace(outcome, facts=replace(outcome.facts, body=body)), "/a.py")
    assert again is not None
    assert again.facts is not None
    (constant,) = (node for node in walk(again.facts.body) if isinstance(node, ir.Constant))
    assert type(constant.value) is type(value)
    assert constant.value == value or repr(constant.value) == repr(value)


@pytest.mark.parametrize(
    "text",
    [
        "x = 1e999 + 2j\ny = ...\nz = 10**400\n",
        f"x = {2**64}\ny = {2**70}\nz = -{2**63}\n",
        "x = '\\ud800'  # bnlint: ignore[BNL101] why\ny = b'\\xff'\n",
        "x = f'{a}\\udfff' 'b'\n",
        "def f(\n",
        "",
    ],
)
def test_special_texts_come_back(text: str) -> None:
    outcome = read_text("/a.py", text)
    again = returned(outcome, "/b.py")
    assert again is not None
    assert again.path == "/b.py"
    assert repr(again).replace("/b.py", "/a.py") == repr(outcome)


def test_a_notebook_comes_back() -> None:
    cells = [
        {"cell_type": "code", "source": text, "metadata": {}, "outputs": []}
        for text in ("import torch\n", "x = = 1\n", "y = 2  # noqa\n")
    ]
    document = json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    outcome = read_text("/a.ipynb", document)
    assert outcome.problem is not None
    assert returned(outcome, "/a.ipynb") == outcome


@given(st.binary(max_size=200))
def test_bytes_of_others_are_refused_and_do_nothing(data: bytes) -> None:
    assert decode(data, "/a.py") is None


def test_bodies_are_bytes_until_they_are_run() -> None:
    text = "def f(x: int = 0) -> int:\n    return g(x)\n"
    again = returned(read_text("/a.py", text), "/a.py")
    assert again is not None
    assert again.facts is not None
    (function,) = again.facts.body
    assert isinstance(function, ir.Function)
    assert len(list(walk(function))) > len(function.parameters)
    assert isinstance(function.code, Raw)  # a look at them does not keep them
    assert isinstance(function.parameters[0].annotation, ir.Name)
    assert function.body is function.body
    assert function.code is function.body


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x91\x05", b"\x93\x01\x02\x03"])
def test_bytes_that_are_no_code_are_none(data: bytes) -> None:
    assert read_body(Raw(data)) == ()
    assert read_expression(Raw(data)) is None


def test_a_large_project_in_little_memory_says_the_same() -> None:
    for path in FILES[::9]:
        outcome = read_text(str(path), path.read_text(encoding="utf-8"))
        small = compact(outcome)
        assert outcome.facts is not None
        assert small.facts is not None
        assert isinstance(small.facts.line_starts, array)
        assert plainly(small.facts.body) == plainly(outcome.facts.body)
        assert encode(small) == encode(outcome)
