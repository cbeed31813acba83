"""What the drawing of a project has looked at: whatever else its files say changes no picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bnlint.source import ir

if TYPE_CHECKING:
    from bnlint.source.values import FunctionObject, ModuleScope

ALL_NAMES = "*"
"""Stands for every name of a module, where somebody went through all of them."""
TIGHT = 2_000
"""Steps that must be left at the end of a drawing for a little more code to change nothing."""


@dataclass(slots=True)
class Noticed:
    """functions: those that were run or whose text was read, by the id of their definitions. names:
    of modules, by file, that were asked for from outside of the file, found or not. parts: words
    by which the methods of a file were searched. called: names of methods of which a call was
    searched in all files. strained: files of which something took nearly too many steps.
    left: steps that nobody has used, of those for the whole project.
    """

    functions: dict[int, tuple[str, ir.Function | ir.Lambda]] = field(default_factory=dict)
    names: dict[str, set[str]] = field(default_factory=dict)
    parts: dict[str, set[str]] = field(default_factory=dict)
    called: set[str] = field(default_factory=set)
    strained: set[str] = field(default_factory=set)
    left: int = 0

    def read(self, function: FunctionObject) -> None:
        """A function is run, or its text decides something."""
        self.read_text(function.frame.module.facts.path, function.definition)

    def read_text(self, path: str, definition: ir.Function | ir.Lambda) -> None:
        """The text of a function in a file decides something."""
        if id(definition) not in self.functions:
            self.functions[id(definition)] = (path, definition)

    def searched(self, path: str, parts: Iterable[str]) -> None:
        """The methods of a file's class that mention one of these attributes decide something."""
        self.parts.setdefault(path, set()).update(parts)

    def asked(self, scope: ModuleScope, names: Iterable[str]) -> None:
        """Names of a module are asked for by other files, found or not."""
        self.names.setdefault(scope.facts.path, set()).update(names)

    def spent(self, path: str, left: int) -> None:
        """A drawing of a file has ended with so many steps left."""
        if left < TIGHT:
            self.strained.add(path)

    def read_spans(self) -> dict[str, list[int]]:
        """Where the functions begin that were read, by file."""
        found: dict[str, set[int]] = {}
        for path, definition in self.functions.values():
            if isinstance(definition, ir.Function):
                found.setdefault(path, set()).add(definition.span[0])
        return {path: sorted(starts) for path, starts in found.items()}
