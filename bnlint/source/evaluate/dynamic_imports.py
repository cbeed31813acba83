"""`importlib.import_module(name)`, also with a name of which only the beginning is known."""

from __future__ import annotations

from bnlint.source.evaluate.core import Core
from bnlint.source.joining import MAXIMAL_ALTERNATIVES, one_of
from bnlint.source.values import (
    ANYTHING,
    Arguments,
    Begins,
    External,
    Frame,
    Known,
    ModuleReference,
    ModuleScope,
    Soft,
    Value,
    alternatives,
    hard,
)


def import_by_name(machine: Core, arguments: Arguments, frame: Frame) -> Value:
    """The module of that name, or one of those that it may be."""
    name = arguments.get(0, "name") or ANYTHING
    package = hard(arguments.get(1, "package") or ANYTHING)
    base = package.value if isinstance(package, Known) else ""
    return one_of(_import(machine, single, str(base or ""), frame) for single in alternatives(name))


def has_name(machine: Core, module: Value, name: str) -> bool:
    """Whether a module of the project defines a name; other values may have any."""
    if not isinstance(module, ModuleReference):
        return True
    machine.import_module(module.scope)
    machine.noticed.asked(module.scope, (name,))
    found = module.scope.value(name) is not None
    return found or machine.project.submodule(module.scope, name) is not None


def _import(machine: Core, name: Value, package: str, frame: Frame) -> Value:
    text = hard(name)
    if isinstance(text, Begins):
        return _one_below(machine, text.beginning, package, frame)
    if not isinstance(text, Known) or not isinstance(text.value, str):
        return ANYTHING
    complete = not text.value.endswith(".")
    scope = _resolve(machine, text.value, package, frame) if complete else None
    if scope is not None:
        machine.import_module(scope)
        return ModuleReference(scope)
    if isinstance(name, Soft):  # the default names no module: the user names one
        return _one_below(machine, text.value.rpartition(".")[0] + ".", package, frame)
    return ANYTHING if text.value.startswith(".") else External(text.value)


def _one_below(machine: Core, beginning: str, package: str, frame: Frame) -> Value:
    """Any module of the package that a beginning ("models.") names."""
    scope = _resolve(machine, beginning.removesuffix("."), package, frame)
    below = machine.project.submodules(scope) if scope is not None else []
    if not 0 < len(below) <= MAXIMAL_ALTERNATIVES:
        return ANYTHING
    for module in below:
        machine.import_module(module)
    return one_of(ModuleReference(module) for module in below)


def _resolve(machine: Core, name: str, package: str, frame: Frame) -> ModuleScope | None:
    importer = frame.module.facts.path
    plain = name.lstrip(".")
    level = len(name) - len(plain)
    own_package = package in ("", frame.module.name, frame.module.name.rpartition(".")[0])
    if level == 0 or own_package:
        return machine.project.resolve(plain, level, importer)
    parts = package.split(".")
    parent = parts[: len(parts) - level + 1]
    return machine.project.resolve(".".join([*parent, plain] if plain else parent), 0, importer)
