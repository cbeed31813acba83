"""What grows with a program grows in proportion: measured in CPU time, small against large."""

from __future__ import annotations

import time
from pathlib import Path
from textwrap import dedent

import pytest
from heavy_programs import PROGRAMS
from nesting import HEAD

import bnlint
from bnlint.settings import Settings

# Measuring coverage makes Python several times slower: tests of absolute limits go without.
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


@pytest.mark.no_cover
def test_wide_trees_of_what_cannot_be_seen_end_soon() -> None:
    assert seconds("recursion", 200) < 30


@pytest.mark.no_cover
def test_a_class_that_is_built_of_its_former_self_is_not_copied_without_end(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        dedent(
            """
            import torch.nn as nn

            for epoch in range(3):
                for batch in loader:
                    class Net(Net):
                        def __init__(self):
                            super().__init__()
                            self.body = nn.BatchNorm2d(8)
                            self.norm = Net()

                        def forward(self, x):
                            return self.norm(self.body(x))

                        def train(self, mode=True):
                            from net import *

                    optimizer.step()
            """
        )
    )
    start = time.process_time()
    assert not bnlint.lint_paths([tmp_path], settings=SETTINGS).crashes
    assert time.process_time() - start < 40
