"""A planted mistake that is fixed is gone: on real projects, and on the fixtures.

`benchmarks/planted_fixes.py` does the same with any project.
"""

from __future__ import annotations

import random
import runpy
from collections import Counter
from importlib import util
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
@pytest.mark.parametrize(
    ("package", "folder", "least"),
    [("pytorchcv", "models", 8), ("torch", "ao", 5), ("lightning", "pytorch", 1)],
)
def test_mistakes_in_real_projects(package: str, folder: str, least: int) -> None:
    found = util.find_spec(package)
    if found is None or found.origin is None:
        pytest.skip(f"needs {package}")
    # without BNL101, which would link all of the package each time
    counts = what_becomes_of(Path(found.origin).parent / folder, 15, "BNL101")
    assert counts.keys() <= BENCHMARK["RIGHT"]
    assert counts["fixed"] >= least
