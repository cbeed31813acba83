"""A planted mistake that is fixed is gone: on pytorchcv, and on the fixtures.

`benchmarks/planted_fixes.py` does the same with any project.
"""

from __future__ import annotations

import random
import runpy
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BENCHMARK = runpy.run_path(str(ROOT / "benchmarks/planted_fixes.py"))


def what_becomes_of(folder: Path, most: int, *not_planted: str) -> Counter[str]:
    planted = BENCHMARK["plant"](sorted(folder.rglob("*.py")))
    planted = [each for each in planted if each.code not in not_planted]
    random.Random(0).shuffle(planted)
    counts: Counter[str] = sum(BENCHMARK["tally"](planted[:most]).values(), Counter())
    return counts


@pytest.mark.slow
def test_mistakes_in_the_fixtures() -> None:
    counts = what_becomes_of(ROOT / "fixtures", 60)
    assert counts.keys() <= BENCHMARK["RIGHT"]
    assert counts["fixed"] > 30


@pytest.mark.slow
def test_mistakes_in_a_real_project() -> None:
    pytorchcv = pytest.importorskip("pytorchcv")
    models = Path(pytorchcv.__file__).parent / "models"
    counts = what_becomes_of(models, 15, "BNL101")  # which would link all of it each time
    assert counts.keys() <= BENCHMARK["RIGHT"]
    assert counts["fixed"] > 8
