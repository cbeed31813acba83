"""What grows with a program grows in proportion: measured in CPU time, small against large.

Six times as much may take 22 times as long, since times are noisy; quadratic would be 36.
"""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path
from textwrap import dedent

import pytest
from heavy_programs import PROGRAMS
from nesting import HEAD

import bnlint
from bnlint.output import renderer
from bnlint.output.base import Printout
from bnlint.settings import Settings
from bnlint.source.excerpt import Sources

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
    assert seconds(name, large) < 22 * seconds(name, small)


def test_many_layers_are_built_one_after_the_other_in_linear_time() -> None:
    assert seconds("comprehensions", 90) < 22 * seconds("comprehensions", 37)


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


def printed(text: str) -> float:
    start = time.process_time()
    result = bnlint.lint_source(text, settings=SETTINGS)
    sources = Sources({"<string>": text})
    printout = Printout(result.findings, 1, sources.lines, colour=False, in_file=sources.in_file)
    renderer("full")(printout)
    assert len(result.findings) > 50
    return time.process_time() - start


def test_thousands_of_needless_comments_are_told_and_fixed_in_linear_time() -> None:
    comment = f"{HEAD}# bnlint: ignore[BNL101] because\n"
    printed(comment * 60)
    assert printed(comment + "# bnlint: ignore[BNL101] because\n" * 3_000) < 22 * printed(
        comment + "# bnlint: ignore[BNL101] because\n" * 500
    )


def test_thousands_of_codes_in_one_comment_are_told_in_linear_time() -> None:
    def comments(codes: int) -> str:
        listed = ",".join(f"A{number}" for number in range(codes))
        return "".join(f"x = 1  # bnlint: ignore[{listed}] {n}\n" for n in range(60))

    printed(comments(5))
    assert printed(comments(120)) < 22 * printed(comments(20))


def test_a_name_of_many_parts_takes_memory_in_proportion(tmp_path: Path) -> None:
    (tmp_path / "names.py").write_text(f"{HEAD}import a{'.a' * 20_000}\n")
    tracemalloc.start()
    try:
        bnlint.lint_paths([tmp_path], settings=SETTINGS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000_000
