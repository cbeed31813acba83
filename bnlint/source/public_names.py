"""The names that `from module import *` brings in, by the module's text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bnlint.source import ir
from bnlint.source.bindings import global_name, names_of, statements_of
from bnlint.source.noticed import ALL_NAMES
from bnlint.source.project import Project
from bnlint.source.values import ModuleScope
from bnlint.source.walk import walk, walk_apart
from bnlint.torchnames import CONTAINERS, TABLE

_INSIDE = (ir.Function, ir.Class, ir.Lambda)
_MAKE_NAMES = frozenset({"globals", "vars", "locals", "exec", "setattr"})
"""Functions that may bind names which the text does not show."""


def public_names(project: Project, scope: ModuleScope) -> list[str] | None:
    """The names that a star import of a module brings in; None where the text does not say."""
    found = _names(project, scope, set())
    return None if found is None else list(found)


def _names(project: Project, scope: ModuleScope, seen: set[str]) -> dict[str, None] | None:
    if scope.facts.path in seen:
        return {}
    seen.add(scope.facts.path)
    listed, found = _bound(project, scope, seen)
    is_told = listed is not None and found is not None
    project.noticed.asked(scope, (*(listed or ()), "__all__") if is_told else (ALL_NAMES,))
    if found is None or listed is not None:
        return None if found is None else dict.fromkeys(listed or ())
    return {name: None for name in found if not name.startswith("_")}


def _bound(
    project: Project, scope: ModuleScope, seen: set[str]
) -> tuple[list[str] | None, dict[str, None] | None]:
    """The names in a module's `__all__`, None where it has none, and all that it binds; None where
    the text does not say."""
    listed: list[str] | None = None
    found: dict[str, None] = {}
    for statement in statements_of(scope.facts.body, types=True):
        if _may_bind_others(statement):
            return listed, None
        if "__all__" in names_of(statement) or _extends_list(statement):
            more = _written_out(statement)
            if more is None:
                return listed, None
            listed = [*(listed or ()), *more]
        elif isinstance(statement, ir.ImportFrom) and statement.names is None:
            inner = _of_star(project, statement, scope, seen)
            if inner is None:
                return listed, None
            found.update(inner)
        else:
            found.update(dict.fromkeys(names_of(statement)))
    return listed, found


def _of_star(
    project: Project, statement: ir.ImportFrom, scope: ModuleScope, seen: set[str]
) -> dict[str, None] | None:
    source = project.resolve(statement.module, statement.level, scope.facts.path)
    if source is None:
        return dict.fromkeys(star_exports(statement.module))
    return _names(project, source, seen)


def _may_bind_others(statement: ir.Statement) -> bool:
    if isinstance(statement, ir.Function | ir.Class):
        return False
    calls = Counter(
        node.function.id
        for node in _own_code(statement)
        if isinstance(node, ir.Call) and isinstance(node.function, ir.Name)
    )
    if isinstance(statement, ir.Assign):  # `globals()["name"]` is looked up, and nothing else
        calls["globals"] -= sum(global_name(node) is not None for node in walk(statement.value))
    return any(calls[name] > 0 for name in _MAKE_NAMES)


def _own_code(statement: ir.Statement) -> Iterator[ir.Node]:
    """The expressions of a statement, without those of the blocks in it."""
    match statement:
        case ir.If(value) | ir.While(value) | ir.For(_, value) | ir.Match(value):
            return walk_apart(value, _INSIDE)
        case ir.With(items):
            return walk_apart(items, _INSIDE)
        case ir.Try():
            return iter(())
    return walk_apart(statement, _INSIDE)


def _extends_list(statement: ir.Statement) -> bool:
    match statement:
        case ir.AugmentedAssign(ir.Name("__all__")):
            return True
        case ir.Evaluate(ir.Call(ir.Attribute(ir.Name("__all__")))):
            return True
    return False


def _written_out(statement: ir.Statement) -> list[str] | None:
    """The names in a list that is written out; None for any other."""
    match statement:
        case ir.Assign(_, ir.Display(_, elements)) | ir.AugmentedAssign(
            _, _, ir.Display(_, elements)
        ):
            names = [e.value for e in elements if isinstance(e, ir.Constant)]
            texts = [name for name in names if isinstance(name, str)]
            return texts if len(texts) == len(elements) else None
    return None


def star_exports(module: str) -> list[str]:
    """The names that `from <module> import *` brings in, as far as torch's names are known."""
    prefix = f"{module}."
    names = [n.removeprefix(prefix) for n in (*TABLE, *CONTAINERS) if n.startswith(prefix)]
    extra = ["Module", "Parameter", "DataParallel", "functional"] if module == "torch.nn" else []
    return [name for name in names if "." not in name] + extra
