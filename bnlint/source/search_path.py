"""Folders that a file adds to `sys.path`, as far as its text says which."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping

from bnlint.source import ir
from bnlint.source.facts import FileFacts
from bnlint.source.walk import walk

_SAME = frozenset(
    "abspath realpath normpath expanduser Path PurePath str resolve absolute as_posix".split()
)
"""Calls that leave a path what it is."""


def added_folders(facts: FileFacts) -> tuple[str, ...]:
    """The folders, absolute, that a file may add to `sys.path`; none where it does not speak of it.

    Every folder that the file writes down as a path counts: `sys.path` may be changed by a function
    that is given it. A relative one is meant from the file's own folder.
    """
    if not _imports_sys(facts.body) or not _speaks_of_it(facts.body):
        return ()
    folder = posixpath.dirname(facts.path)
    names: dict[str, str] = {"__file__": facts.path}
    found: dict[str, None] = {}
    for path in _paths(facts.body, names):
        joined = posixpath.normpath(posixpath.join(folder, path))
        if joined not in (folder, facts.path):
            found[joined] = None
    return tuple(found)


def _imports_sys(body: ir.Body) -> bool:
    return any(
        isinstance(statement, ir.Import) and any(name == "sys" for name, _ in statement.names)
        for statement in body
    )


def _speaks_of_it(body: ir.Body) -> bool:
    return any(
        type(node) is ir.Attribute and node.attr == "path" and _last_name(node.value) == "sys"
        for node in walk(body)
    )


def _paths(body: ir.Body, names: dict[str, str]) -> Iterator[str]:
    """The paths that statements assign to names, or give to calls, in order."""
    for node in walk(body):
        match node:
            case ir.Assign((ir.Name(name),), value):
                path = _folded(value, names)
                if path is not None:
                    names[name] = path
            case ir.Evaluate(ir.Call(_, arguments)):
                for argument in arguments:
                    path = _folded(argument.value, names)
                    if path is not None:
                        yield path


def _folded(value: ir.Expression, names: Mapping[str, str]) -> str | None:
    """The path that an expression is; None when it cannot be told."""
    match value:
        case ir.Constant(str(text)):
            return text
        case ir.Name(name):
            return names.get(name)
        case ir.Attribute(inner, "parent"):
            return _parent(_folded(inner, names))
        case ir.Subscript(ir.Attribute(inner, "parents"), ir.Constant(int(count))):
            path = _folded(inner, names)
            for _ in range(min(count, 20) + 1):
                path = _parent(path)
            return path
        case ir.Binary("Divide" | "Add" as operator, left, right):
            first, second = _folded(left, names), _folded(right, names)
            if first is None or second is None:
                return None
            return first + second if operator == "Add" else posixpath.join(first, second)
        case ir.Call(function, arguments):
            return _called(function, arguments, names)
    return None


def _called(
    function: ir.Expression, arguments: tuple[ir.Argument, ...], names: Mapping[str, str]
) -> str | None:
    name = _last_name(function)
    given = [_folded(argument.value, names) for argument in arguments]
    if name in _SAME and not given and isinstance(function, ir.Attribute):
        return _folded(function.value, names)
    if name == "getcwd" or name == "cwd":
        return "."
    parts = [part for part in given if part is not None]
    if not parts or len(parts) < len(given):
        return None
    if name == "join":
        return posixpath.join(*parts)
    if name == "dirname":
        return _parent(parts[0])
    return parts[0] if name in _SAME and len(parts) == 1 else None


def _last_name(expression: ir.Expression) -> str:
    match expression:
        case ir.Name(name) | ir.Attribute(_, name):
            return name
    return ""


def _parent(path: str | None) -> str | None:
    """The folder that holds a path; of a relative one without folders, one further up."""
    if path is None:
        return None
    plain = posixpath.normpath(path)
    if plain.rpartition("/")[2] in ("..", "."):
        return posixpath.normpath(f"{plain}/..")
    return posixpath.dirname(plain) or "."
