"""Patterns in the form of .gitignore, and what matches them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec


def pattern_set(lines: Iterable[str]) -> GitIgnoreSpec:
    """What matches any of these patterns; raises ValueError for one that means nothing."""
    from pathspec import GitIgnoreSpec

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "[[a]": re will read it in another way one day
            return GitIgnoreSpec.from_lines(lines)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(str(error)) from None


def usable(lines: Sequence[str]) -> list[str]:
    """The patterns that mean something: git, too, lives with the others."""
    return [line for line in lines if _is_usable(line)]


def _is_usable(line: str) -> bool:
    try:
        pattern_set([line])
    except ValueError:
        return False
    return True
