"""What the drawing of a project has looked at: whatever else its files say changes no picture."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from bnlint.records import Struct, field
from bnlint.source import ir
from bnlint.source.values import ClassObject, FunctionObject, ModuleScope

Spot: TypeAlias = tuple[str, int]
"""Where a definition begins: its file, and the offset in it."""
ALL_NAMES = "*"
"""Stands for every name of a module, where somebody went through all of them."""
TIGHT = 2_000
"""Steps that must be left at the end of a drawing for a little more code to change nothing."""


class Noticed(Struct):
    """functions: those that were run or whose text was read, by the id of their definitions. names:
    of modules, by file, that were asked for from outside of the file, found or not. parts: words
    by which the methods of a file were searched. called: names of methods of which a call was
    searched in all files. strained: files of which something took nearly too many steps.
    left: steps that nobody has used, of those for the whole project. spots: where those begin that
    were read, and the classes of which objects were built. reading: those, by number, on which
    depends what is being drawn now. shared: those that decide what all drawings share: what runs
    while a module is imported.
    """

    functions: dict[int, tuple[str, ir.Function | ir.Lambda]] = field(default_factory=dict)
    names: dict[str, set[str]] = field(default_factory=dict)
    parts: dict[str, set[str]] = field(default_factory=dict)
    called: set[str] = field(default_factory=set)
    strained: set[str] = field(default_factory=set)
    left: int = 0
    spots: list[Spot] = field(default_factory=list)
    reading: set[int] = field(default_factory=set)
    shared: set[int] = field(default_factory=set)
    _numbers: dict[int, int] = field(default_factory=dict)
    _classes: list[ir.Class] = field(default_factory=list)
    _sets: dict[frozenset[int], frozenset[int]] = field(default_factory=dict)

    def read(self, function: FunctionObject) -> None:
        """A function is run, or its text decides something."""
        number = self._numbers.get(id(function.definition))
        if number is None:
            number = self._number(function.frame.module.facts.path, function.definition)
        self.reading.add(number)

    def read_text(self, path: str, definition: ir.Function | ir.Lambda) -> None:
        """The text of a function in a file decides what an import does."""
        self.shared.add(self._number(path, definition))

    def _number(self, path: str, definition: ir.Function | ir.Lambda | ir.Class) -> int:
        """The number of a definition, which is kept alive, so that its id stays its own."""
        key = id(definition)
        if key not in self._numbers:
            if isinstance(definition, ir.Class):
                self._classes.append(definition)
            else:
                self.functions[key] = (path, definition)
            self._numbers[key] = len(self.spots)
            self.spots.append((path, definition.span[0]))
        return self._numbers[key]

    def build(self, cls: ClassObject) -> None:
        """An object of a class is built, or its attributes are asked for: all that it and its bases
        say may decide something."""
        for base in cls.linearization():
            if isinstance(base, ClassObject):
                number = self._numbers.get(id(base.definition))
                if number is None:
                    number = self._number(base.frame.module.facts.path, base.definition)
                self.reading.add(number)

    def listen(self) -> set[int]:
        """Begin to note what something depends on by itself; what was noted before it."""
        outer, self.reading = self.reading, set()
        return outer

    def heard(self, outer: set[int]) -> frozenset[int]:
        """What it depends on; so does what it is a part of. Equal sets are one and the same."""
        inner, self.reading = frozenset(self.reading), outer
        outer |= inner
        return self._sets.setdefault(inner, inner)

    def share(self, outer: set[int]) -> None:
        """What was noted since `listen` decides what all drawings share."""
        inner, self.reading = self.reading, outer
        self.shared |= inner

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
