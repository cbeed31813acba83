"""The mutants of a module, as mutmut makes them, and how one is put into the running process."""

from __future__ import annotations

import builtins
import difflib
import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Final

import libcst as cst
from mutmut.mutation.file_mutation import create_mutations

SEVERITIES: Final = {"ERROR": "NOTE", "WARNING": "NOTE", "NOTE": "ERROR"}
MAKES_WORDS: Final = ("str", "Evidence", "Finding", "Fix", "AddCall", "ReplaceArgument")
"""What a function returns (its annotation contains it) that only says what others have decided."""


@dataclass(frozen=True)
class Mutant:
    """One change of one function of a module, or of a constant of it.

    function: its qualified name, empty for the module itself; line: where it begins; words:
    whether only the text, the evidence or the fix of a finding can change.
    """

    module: str
    function: str
    line: int
    words: bool
    before: str
    after: str

    @property
    def name(self) -> str:
        return f"{self.module}:{self.function or 'module'}:{self.line}"

    @cached_property
    def diff(self) -> str:
        """The lines that differ."""
        lines = difflib.unified_diff(self.before.splitlines(), self.after.splitlines(), n=0)
        return "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))

    def apply(self) -> None:
        """Put the change into the modules as they are loaded, for good."""
        module = importlib.import_module(self.module)
        fresh = _executed(module, self.after)
        if self.function:
            _exchange(_function(module, self.function), _function(fresh, self.function))
        else:
            _exchange_constants(module, fresh, _executed(module, self.before))


def mutants(module: str, path: Path) -> list[Mutant]:
    """Every mutant of a module that can be compiled and differs, in the order of its text."""
    text = path.read_text(encoding="utf-8")
    tree, mutations, _, _ = create_mutations(str(path), text)
    names, lines = _places(tree, text)
    statements = _Statements(tree)
    found: dict[str, Mutant] = {}
    for mutation in mutations:
        function = mutation.contained_by_top_level_function
        if function is not None and function not in names:
            continue  # the body of a class
        is_text = isinstance(mutation.original_node, cst.BaseString)
        if function is None and (is_text or not _is_constant(mutation.original_node)):
            continue
        changed = statements.with_other(mutation.original_node, mutation.mutated_node)
        name = names.get(function, "")
        words = is_text or (function is not None and _makes_words(function))
        found.setdefault(changed, Mutant(module, name, lines.get(name, 0), words, text, changed))
    for node, other, name in _severities(tree, names):
        changed = statements.with_other(node, other)
        found.setdefault(changed, Mutant(module, name, lines.get(name, 0), False, text, changed))
    return [mutant for mutant in found.values() if _compiles(mutant.after)]


class _Statements:
    """The statements of a module and their texts, so that a change costs only its own."""

    def __init__(self, tree: cst.Module) -> None:
        self._tree = tree
        self._texts = [tree.code_for_node(statement) for statement in tree.body]
        self._head = "".join(tree.code_for_node(line) for line in tree.header)
        self._of: dict[int, int] = {}
        for number, statement in enumerate(tree.body):
            pending: list[cst.CSTNode] = [statement]
            while pending:
                node = pending.pop()
                self._of[id(node)] = number
                pending += node.children

    def with_other(self, node: cst.CSTNode, other: cst.CSTNode) -> str:
        """The text of the module with another node in a node's place."""
        number = self._of[id(node)]
        changed = self._tree.body[number].deep_replace(node, other)
        text = self._tree.code_for_node(changed)
        return self._head + "".join([*self._texts[:number], text, *self._texts[number + 1 :]])


def _places(tree: cst.Module, text: str) -> tuple[dict[cst.CSTNode, str], dict[str, int]]:
    """The functions and methods by node, and the lines they begin at by qualified name."""
    names: dict[cst.CSTNode, str] = {}
    lines: dict[str, int] = {}
    for statement in tree.body:
        match statement:
            case cst.FunctionDef(name=name):
                names[statement] = name.value
            case cst.ClassDef(name=owner, body=cst.IndentedBlock(body=body)):
                for method in body:
                    if isinstance(method, cst.FunctionDef):
                        names[method] = f"{owner.value}.{method.name.value}"
    for number, line in enumerate(text.splitlines(), 1):
        for name in names.values():
            if line.lstrip().startswith(f"def {name.rpartition('.')[2]}("):
                lines.setdefault(name, number)
    return names, lines


def _is_constant(node: cst.CSTNode) -> bool:
    return isinstance(node, (cst.BaseNumber, cst.Name))


def _makes_words(function: cst.FunctionDef) -> bool:
    if function.returns is None:
        return False
    returned = cst.Module([]).code_for_node(function.returns.annotation)
    return returned.startswith(MAKES_WORDS) or "[Evidence" in returned


def _severities(
    tree: cst.Module, names: dict[cst.CSTNode, str]
) -> Iterator[tuple[cst.CSTNode, cst.CSTNode, str]]:
    """Each severity replaced by one that counts otherwise: mutmut leaves attributes alone."""

    class Finder(cst.CSTVisitor):
        def __init__(self) -> None:
            self.found: list[tuple[cst.Attribute, str]] = []
            self.within: list[str] = []

        def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
            self.within.append(names.get(node, ""))

        def leave_FunctionDef(self, original_node: cst.FunctionDef) -> None:
            self.within.pop()

        def visit_Attribute(self, node: cst.Attribute) -> None:
            owner = node.value
            if isinstance(owner, cst.Name) and owner.value == "Severity":
                self.found.append((node, self.within[0] if self.within else ""))

    finder = Finder()
    tree.visit(finder)
    for node, name in finder.found:
        if node.attr.value in SEVERITIES:
            yield node, node.with_changes(attr=cst.Name(SEVERITIES[node.attr.value])), name


def _compiles(text: str) -> bool:
    try:
        compile(text, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def _executed(module: ModuleType, text: str) -> ModuleType:
    """The text run as the module, beside it."""
    fresh = ModuleType(module.__name__)
    fresh.__dict__.update(
        __file__=module.__file__, __package__=module.__package__, __builtins__=builtins
    )
    exec(compile(text, str(module.__file__), "exec"), fresh.__dict__)
    return fresh


def _function(module: ModuleType, name: str) -> FunctionType:
    owner: object = module
    for part in name.split("."):
        owner = vars(owner)[part]
    for wrapped in ("__func__", "fget", "func", "__wrapped__"):
        owner = getattr(owner, wrapped, owner)
    if not isinstance(owner, FunctionType):
        raise TypeError(f"{name} is no function, but {owner!r}")
    return owner


def _exchange(function: FunctionType, other: FunctionType) -> None:
    """Whoever holds the function has the other's code from now on."""
    function.__code__ = other.__code__
    function.__defaults__ = other.__defaults__
    function.__kwdefaults__ = other.__kwdefaults__


def _exchange_constants(module: ModuleType, fresh: ModuleType, before: ModuleType) -> None:
    """The values of the module that came out otherwise, wherever they were imported to."""
    for name, value in list(vars(before).items()):
        changed = vars(fresh).get(name)
        if name.startswith("__") or callable(value) or repr(changed) == repr(value):
            continue
        old = vars(module)[name]
        if name == "RULE":  # held by the registry
            for field in type(old).__dataclass_fields__:
                if field != "check":
                    object.__setattr__(old, field, getattr(changed, field))
            continue
        for other in list(sys.modules.values()):
            if getattr(other, "__name__", "").startswith("bnlint") and (
                vars(other).get(name) is old
            ):
                setattr(other, name, changed)
