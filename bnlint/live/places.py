"""Where in the source a layer is constructed and where it is called."""

from __future__ import annotations

import ast
import inspect
import linecache
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import FrameType

import torch
from torch import nn

import bnlint
from bnlint.finding import Place

_OWN_FOLDERS = (
    str(Path(torch.__file__).parent) + "/",
    str(Path(bnlint.__file__).parent) + "/",
)

_TYPED_IN = ("<stdin>", "<python-input", "<ipython-input")
"""What Python calls the file of code that is typed in."""


def display_path(file: str) -> str:
    """A path relative to the working directory where it lies below it, with forward slashes."""
    path = Path(file)
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.as_posix()


def is_own(file: str) -> bool:
    """Whether a source file is torch's or ours (or none: generated code)."""
    if file.startswith("<"):
        return not file.startswith(_TYPED_IN)
    return file.startswith(_OWN_FOLDERS)


def calling_place() -> Place | None:
    """The expression that the innermost frame evaluates which is neither torch's nor ours."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and is_own(frame.f_code.co_filename):
        frame = frame.f_back
    return None if frame is None else place_of_frame(frame)


def computing_module() -> nn.Module | None:
    """The innermost module among whose methods the current call is, up to the user's own code."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        candidate = frame.f_locals.get("self")
        if isinstance(candidate, nn.Module):
            return candidate
        if not is_own(frame.f_code.co_filename):
            return None
        frame = frame.f_back
    return None


def place_of_frame(frame: FrameType) -> Place:
    """The expression that a frame evaluates now."""
    code = frame.f_code
    position = next(islice(code.co_positions(), frame.f_lasti // 2, None), None)
    if position is None or None in position:
        return Place(display_path(code.co_filename), frame.f_lineno)
    line, end_line, column, end_column = (value or 0 for value in position)
    return _span(code.co_filename, line, column, end_line, end_column)


def _span(file: str, line: int, start: int, end_line: int, end: int) -> Place:
    """The place of a span whose columns are counted in bytes from 0."""
    return Place(
        display_path(file), line, _column(file, line, start), end_line, _column(file, end_line, end)
    )


def _column(file: str, line: int, offset: int) -> int:
    text = linecache.getline(file, line).encode()
    return len(text[:offset].decode(errors="replace")) + 1 if text else offset + 1


@dataclass(frozen=True, slots=True)
class _Source:
    """A class statement, and the values that its body assigns to each attribute."""

    file: str
    line: int
    column: int
    assigned: Mapping[str, Sequence[ast.expr]]


class Places:
    """Looks up where attributes are assigned in the source of a model's classes, each file once."""

    def __init__(self) -> None:
        self._files: dict[str, dict[str, _Source]] = {}
        self._classes: dict[type, _Source | None] = {}

    def of_class(self, cls: type) -> Place | None:
        """The class statement; None for a class of torch's or without source."""
        found = self._class(cls)
        if found is None:
            return None
        end = found.column + len("class")
        return _span(found.file, found.line, found.column, found.line, end)

    def of_layer(self, holders: Sequence[tuple[nn.Module, str]], path: str) -> Place | None:
        """Where the layer at `path` is constructed, as closely as it can be known.

        holders: the modules that hold it with their paths, outermost first. The innermost holder
        with source decides: the assignment of the layer (or of the container that it is in) to an
        attribute, else the class itself.
        """
        for holder, holder_path in reversed(holders):
            own = self.of_class(type(holder))
            if own is None:
                continue
            below = path[len(holder_path) :].lstrip(".")
            return self._assignment(type(holder), below.split(".")[0]) or own
        return None

    def of_attribute(self, cls: type, attribute: str) -> Place | None:
        """Where a class assigns to an attribute, else the class; None where it has no source."""
        return self._assignment(cls, attribute) or self.of_class(cls)

    def _assignment(self, cls: type, attribute: str) -> Place | None:
        return next((_place(file, value) for file, _, value in self.assigned(cls, attribute)), None)

    def assigned(self, cls: type, attribute: str) -> Iterator[tuple[str, type, ast.expr]]:
        """What a class assigns to an attribute: the file, the class in whose body, the value."""
        for base in cls.__mro__:
            found = self._class(base)
            if found is not None:
                for value in found.assigned.get(attribute, ()):
                    yield found.file, base, value

    def _class(self, cls: type) -> _Source | None:
        if cls not in self._classes:
            self._classes[cls] = self._find_class(cls)
        return self._classes[cls]

    def _find_class(self, cls: type) -> _Source | None:
        try:
            file = inspect.getsourcefile(cls)
        except (TypeError, OSError):
            return None
        if file is None or is_own(file):
            return None
        if file not in self._files:
            self._files[file] = _sources(file)
        return self._files[file].get(cls.__qualname__)


def _sources(file: str) -> dict[str, _Source]:
    """The classes of a file by qualified name; the rest of its tree is not kept."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    found: dict[str, _Source] = {}
    for name, node in _classes(tree):
        if name not in found:
            assigned: dict[str, list[ast.expr]] = {}
            for attribute, value in _attribute_assignments(node):
                assigned.setdefault(attribute, []).append(value)
            found[name] = _Source(file, node.lineno, node.col_offset, assigned)
    return found


def _place(file: str, node: ast.expr) -> Place:
    end_line, end = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
    return _span(file, node.lineno, node.col_offset, end_line, end)


def _classes(tree: ast.Module) -> Iterator[tuple[str, ast.ClassDef]]:
    """Every class with the qualified name that Python gives it."""
    pending: list[tuple[str, ast.AST]] = [("", tree)]
    while pending:
        prefix, node = pending.pop()
        for child in ast.iter_child_nodes(node):
            match child:
                case ast.ClassDef(name=name):
                    yield prefix + name, child
                    pending.append((f"{prefix}{name}.", child))
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    pending.append((f"{prefix}{name}.<locals>.", child))
                case ast.stmt() | ast.ExceptHandler():
                    pending.append((prefix, child))


def _attribute_assignments(node: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    """`self.name = value` anywhere in the class, and `self.add_module("name", value)`."""
    for statement in ast.walk(node):
        match statement:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
                        yield target.attr, value
            case ast.AnnAssign(target=ast.Attribute(attr=name), value=ast.expr() as value):
                yield name, value
            case ast.Call(
                func=ast.Attribute(attr="add_module" | "register_module"),
                args=[ast.Constant(value=str(name)), value],
            ):
                yield name, value
