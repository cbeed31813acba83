"""What grows with a program grows in proportion: measured in CPU time, small against large."""

from __future__ import annotations

import time

import pytest
from heavy_programs import PROGRAMS
from nesting import HEAD

import bnlint
from bnlint.settings import Settings

SETTINGS = Settings(select=("ALL",))


def seconds(name: str, size: int) -> float:
    start = time.process_time()
    result = bnlint.lint_source(f"{HEAD}{PROGRAMS[name](size)}", settings=SETTINGS)
    assert not result.crashes
    return time.process_time() - start


@pytest.mark.parametrize(
    ("name", "small", "large"), [("tries", 150, 900), ("training", 80, 480), ("functions", 50, 300)]
)
def test_six_times_as_much_takes_six_times_as_long(name: str, small: int, large: int) -> None:
    seconds(name, 10)  # what is loaded at first use is loaded now
    assert seconds(name, large) < 14 * seconds(name, small)


def test_many_layers_are_built_one_after_the_other_in_linear_time() -> None:
    assert seconds("comprehensions", 90) < 14 * seconds("comprehensions", 37)


def test_wide_trees_of_what_cannot_be_seen_end_soon() -> None:
    assert seconds("recursion", 200) < 15
