"""The registry of rules: one module of this package for each rule, found by its file name."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from bnlint.rules.base import Rule


@cache
def all_rules() -> tuple[Rule, ...]:
    """Every rule, ordered by code."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{n}") for n in names if n.startswith("bnl")]
    return tuple(sorted((module.RULE for module in modules), key=lambda rule: rule.code))


def find_rule(text: str) -> Rule | None:
    """The rule with this code or name (any case); None when there is none."""
    wanted = text.lower()
    return next((r for r in all_rules() if wanted in (r.code.lower(), r.name)), None)
