"""The registry of rules: one module of this package for each rule, found by its file name, and the
rules of other packages, found by the entry point group `bnlint.rules`."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bnlint.rules.base import Rule

GROUP: Final = "bnlint.rules"


class OwnRuleError(Exception):
    """A rule of another package that cannot be used; the message names the package."""


@cache
def all_rules() -> tuple[Rule, ...]:
    """Every rule, ordered by code. Raises OwnRuleError."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{n}") for n in names if n.startswith("bnl")]
    rules: list[Rule] = [module.RULE for module in modules]
    for origin, rule in _rules_of_others():
        if any(known.code == rule.code or known.name == rule.name for known in rules):
            problem = "there is already a rule of this code or name"
            raise OwnRuleError(f"{origin}: {rule.code} {rule.name}: {problem}")
        rules.append(rule)
    return tuple(sorted(rules, key=lambda rule: rule.code))


def find_rule(text: str) -> Rule | None:
    """The rule with this code or name (any case); None when there is none."""
    wanted = text.lower()
    return next((r for r in all_rules() if wanted in (r.code.lower(), r.name)), None)


def _rules_of_others() -> Iterator[tuple[str, Rule]]:
    """The rules that installed packages offer, with the entry point's name."""
    if not offers_rules():
        return  # the usual case, without the cost of reading all metadata
    from importlib.metadata import entry_points

    from bnlint.rules.base import Rule

    for point in sorted(entry_points(group=GROUP)):
        package = point.dist.name if point.dist is not None else "unknown"
        remedy = f"mend it, or: pip uninstall {package}"
        origin = f"package {package!r} ({remedy}): {point.name} = {point.value}"
        try:
            rule = point.load()
        except Exception as error:  # whatever the package does when it is imported
            raise OwnRuleError(f"{origin}: {type(error).__name__}: {error}") from error
        if not isinstance(rule, Rule):
            raise OwnRuleError(f"{origin}: is no bnlint.rules.base.Rule, but {rule!r}")
        yield origin, rule


def offers_rules() -> bool:
    """Whether an installed package offers rules of its own."""
    return any(map(_offers_rules, sys.path))


def _offers_rules(folder: str) -> bool:
    """Whether a folder of the import path holds a package that offers rules."""
    header = f"[{GROUP}]".encode()
    with suppress(OSError), os.scandir(folder or ".") as entries:
        for entry in entries:
            if entry.name.endswith((".dist-info", ".egg-info")):
                with suppress(OSError), open(f"{entry.path}/entry_points.txt", "rb") as file:
                    if header in file.read():
                        return True
    return False
