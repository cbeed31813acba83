"""What is kept of a file comes back as it was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnlint.source import ir
from bnlint.source.cache.codec import decode, encode
from bnlint.source.outcome import Outcome
from bnlint.source.reader import read_text
from bnlint.source.walk import walk, walk_apart

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


def keep_bodies(body: ir.Body) -> None:
    """Read the bodies of all functions, for good."""
    for node in walk_apart(body, (ir.Function,)):
        if isinstance(node, ir.Function):
            keep_bodies(node.body)


@pytest.mark.parametrize("part", PART)
def test_the_facts_of_real_files_come_back(part: int) -> None:
    for path in FILES[part :: 4 * len(PART)]:
        outcome = read_text(str(path), path.read_text(encoding="utf-8"))
        assert outcome.facts is not None
        again = returned(outcome, str(path))
        assert again == outcome
        assert again is not None
        assert again.facts is not None
        keep_bodies(again.facts.body)
        assert repr(again.facts) == repr(outcome.facts)


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
