"""A notebook is one program in cell order: it is told what its script is told, by cell and line."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from generated_programs import generate
from judging import findings_of
from notebooks import as_notebook

PROGRAMS = 60


@pytest.fixture(scope="module")
def scripts() -> list[str]:
    """Programs of one file."""
    found = []
    for seed in range(3 * PROGRAMS):
        texts = generate(seed).texts
        if len(texts) == 1:
            found += texts.values()
    return found[:PROGRAMS]


def test_findings_by_cell_and_line(scripts: list[str], tmp_path: Path) -> None:
    accused = 0
    for seed, script in enumerate(scripts):
        document, where = as_notebook(script, Random(seed))
        told = findings_of(tmp_path, {"run.py": script})
        notebook = findings_of(tmp_path, {"run.ipynb": document})
        wanted = {(finding.code, finding.place.line) for finding in told if finding.place}
        found = {
            (finding.code, where[finding.place.cell, finding.place.line])
            for finding in notebook
            if finding.place is not None and finding.place.cell is not None
        }
        assert found == wanted, f"{document}\n{script}"
        accused += len(wanted)
    assert accused > 0.2 * len(scripts)
