"""bnlint finds BatchNorm mistakes in PyTorch code: in the source, and on a live model.

Importing it imports neither torch nor libcst: the public names are loaded when they are used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bnlint import lightning, testing
    from bnlint.live.check import check
    from bnlint.live.errors import BatchNormWarning
    from bnlint.live.watch import watch
    from bnlint.settings import Settings
    from bnlint.source.engine import LintResult, lint_paths, lint_source

__version__ = "0.1.0"

__all__ = [
    "BatchNormWarning",
    "LintResult",
    "Settings",
    "__version__",
    "check",
    "lightning",
    "lint_paths",
    "lint_source",
    "testing",
    "watch",
]


def __getattr__(name: str) -> Any:
    """The public name, from the module that defines it."""
    match name:
        case "testing" | "lightning":
            return importlib.import_module(f"bnlint.{name}")
        case "lint_paths" | "lint_source" | "LintResult":
            module = "bnlint.source.engine"
        case "check" | "watch":
            module = f"bnlint.live.{name}"
        case "BatchNormWarning":
            module = "bnlint.live.errors"
        case "Settings":
            module = "bnlint.settings"
        case _:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "torch":
            raise
        remedy = f'bnlint.{name} needs torch: pip install "bnlint[torch]"'
        raise ModuleNotFoundError(remedy, name="torch") from error


def __dir__() -> list[str]:
    return __all__
