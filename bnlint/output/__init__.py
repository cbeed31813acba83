"""The renderers: one module for each output format, found by the format's name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import cast

from bnlint.output.base import Printout


def renderer(output_format: str) -> Callable[[Printout], str]:
    """The function that renders this format; raises ModuleNotFoundError for an unknown one."""
    module = importlib.import_module(f"bnlint.output.{output_format}")
    return cast(Callable[[Printout], str], module.render)
