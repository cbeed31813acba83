"""A script as a notebook: its statements over cells, with magics and Markdown between."""

from __future__ import annotations

import ast
import json
from random import Random

MAGICS = ("%matplotlib inline", "!pip install -q torch", "%%time", "%load_ext autoreload", "")
Lines = dict[tuple[int, int], int]
"""Line of the script by cell and line in the cell."""


def as_notebook(script: str, random: Random) -> tuple[str, Lines]:
    """The notebook's document, and where the script's lines have gone."""
    lines = script.splitlines()
    starts = [min([n.lineno, *(d.lineno for d in _decorators(n))]) for n in ast.parse(script).body]
    first = [line for i, line in enumerate(starts) if i == 0 or random.random() < 0.5]
    cells: list[dict[str, object]] = []
    where: Lines = {}
    for begin, end in zip(first, [*first[1:], len(lines) + 1]):
        if random.random() < 0.3:
            cells.append({"cell_type": "markdown", "metadata": {}, "source": ["model.eval()"]})
        magic = random.choice(MAGICS)
        source = [magic] if magic else []
        for number in range(begin, end):
            source.append(lines[number - 1])
            where[len(cells), len(source)] = number
        cells.append(_code("\n".join(source)))
    document = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(document), where


def _code(source: str) -> dict[str, object]:
    text = source.splitlines(keepends=True)
    return {
        "cell_type": "code",
        "metadata": {},
        "source": text,
        "outputs": [],
        "execution_count": None,
    }


def _decorators(node: ast.stmt) -> list[ast.expr]:
    return getattr(node, "decorator_list", [])
