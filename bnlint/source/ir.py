"""The intermediate representation: Python without layout, as nested records.

A span is a pair of offsets in code points; it excludes enclosing parentheses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Span: TypeAlias = tuple[int, int]

# --- expressions -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Name:
    """A variable."""

    id: str
    span: Span


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal: int, float, complex, str, bytes, bool, None or Ellipsis."""

    value: object
    span: Span


@dataclass(frozen=True, slots=True)
class Attribute:
    """`value.attr`."""

    value: Expression
    attr: str
    span: Span


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a call; star is "", "*" or "**"."""

    value: Expression
    keyword: str | None
    star: str
    span: Span


@dataclass(frozen=True, slots=True)
class Call:
    """`function(arguments)`."""

    function: Expression
    arguments: tuple[Argument, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Subscript:
    """`value[index]`."""

    value: Expression
    index: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Slice:
    """`lower:upper:step`, each possibly absent."""

    lower: Expression | None
    upper: Expression | None
    step: Expression | None
    span: Span


@dataclass(frozen=True, slots=True)
class Display:
    """A tuple, list or set display; kind is "tuple", "list" or "set"."""

    kind: str
    elements: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Starred:
    """`*value` in a display or a target."""

    value: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class DictDisplay:
    """A dictionary display; a key of None stands for `**value`."""

    items: tuple[tuple[Expression | None, Expression], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Binary:
    """`left operator right`; operator is the libcst class name ("Add", "Multiply", ...)."""

    operator: str
    left: Expression
    right: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Compare:
    """`left < a < b`; operators are libcst class names."""

    left: Expression
    comparisons: tuple[tuple[str, Expression], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Boolean:
    """`left and right`, `left or right`; operator is "And" or "Or"."""

    operator: str
    left: Expression
    right: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Unary:
    """`-operand`, `not operand`; operator is "Minus", "Plus", "Not" or "BitInvert"."""

    operator: str
    operand: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Conditional:
    """`body if test else orelse`."""

    test: Expression
    body: Expression
    orelse: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter; star is "", "*" (also keyword-only separator with an empty name) or "**"."""

    name: str
    default: Expression | None
    star: str
    keyword_only: bool
    annotation: Expression | None


@dataclass(frozen=True, slots=True)
class Lambda:
    """`lambda parameters: body`."""

    parameters: tuple[Parameter, ...]
    body: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Clause:
    """`for target in iterable if conditions` of a comprehension."""

    target: Expression
    iterable: Expression
    conditions: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Comprehension:
    """A comprehension; kind is "list", "set", "generator" or "dict" (then `key` is there)."""

    kind: str
    key: Expression | None
    element: Expression
    clauses: tuple[Clause, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class FormatString:
    """An f-string: literal text and expressions in order."""

    parts: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Walrus:
    """`target := value`."""

    target: Name
    value: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Opaque:
    """Any other expression: only its parts matter."""

    parts: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Yield:
    """`yield value`, or `yield from value`."""

    value: Expression
    delegates: bool
    span: Span


Expression: TypeAlias = (
    Name
    | Constant
    | Attribute
    | Call
    | Subscript
    | Slice
    | Display
    | Starred
    | DictDisplay
    | Binary
    | Compare
    | Boolean
    | Unary
    | Conditional
    | Lambda
    | Comprehension
    | FormatString
    | Walrus
    | Opaque
    | Yield
)

# --- statements ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Assign:
    """`a = b = value`; annotated assignments too."""

    targets: tuple[Expression, ...]
    value: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class AugmentedAssign:
    """`target += value`; operator is the libcst name without "Assign" ("Add")."""

    target: Expression
    operator: str
    value: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Declare:
    """`name: annotation` without a value."""

    target: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Evaluate:
    """An expression as a statement."""

    value: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class If:
    """`if test: body else: orelse`."""

    test: Expression
    body: Body
    orelse: Body
    span: Span


@dataclass(frozen=True, slots=True)
class For:
    """`for target in iterable: body else: orelse`."""

    target: Expression
    iterable: Expression
    body: Body
    orelse: Body
    span: Span


@dataclass(frozen=True, slots=True)
class While:
    """`while test: body else: orelse`."""

    test: Expression
    body: Body
    orelse: Body
    span: Span


@dataclass(frozen=True, slots=True)
class With:
    """`with context as target, ...: body`."""

    items: tuple[tuple[Expression, Expression | None], ...]
    body: Body
    span: Span


@dataclass(frozen=True, slots=True)
class Handler:
    """`except type as name: body`."""

    type: Expression | None
    name: str | None
    body: Body


@dataclass(frozen=True, slots=True)
class Try:
    """`try: body except ...: else: orelse finally: final`."""

    body: Body
    handlers: tuple[Handler, ...]
    orelse: Body
    final: Body
    span: Span


@dataclass(frozen=True, slots=True)
class Return:
    """`return value`."""

    value: Expression | None
    span: Span


@dataclass(frozen=True, slots=True)
class Function:
    """`def name(parameters): body`; header is the span of the name."""

    name: str
    parameters: tuple[Parameter, ...]
    body: Body
    decorators: tuple[Expression, ...]
    span: Span
    header: Span


@dataclass(frozen=True, slots=True)
class Class:
    """`class name(bases): body`; header is the span of the name."""

    name: str
    bases: tuple[Argument, ...]
    body: Body
    decorators: tuple[Expression, ...]
    span: Span
    header: Span


@dataclass(frozen=True, slots=True)
class Import:
    """`import a.b as c`: pairs of dotted name and alias."""

    names: tuple[tuple[str, str | None], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class ImportFrom:
    """`from ..module import name as alias`; names of None is a star import."""

    module: str
    level: int
    names: tuple[tuple[str, str | None], ...] | None
    span: Span


@dataclass(frozen=True, slots=True)
class Global:
    """`global names` or `nonlocal names`."""

    names: tuple[str, ...]
    nonlocal_: bool
    span: Span


@dataclass(frozen=True, slots=True)
class Raise:
    """`raise value`."""

    value: Expression | None
    span: Span


@dataclass(frozen=True, slots=True)
class Assert:
    """`assert test`."""

    test: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Delete:
    """`del targets`."""

    targets: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Break:
    """`break`."""

    span: Span


@dataclass(frozen=True, slots=True)
class Continue:
    """`continue`."""

    span: Span


@dataclass(frozen=True, slots=True)
class Case:
    """One case of a match: the constants it accepts (None: cannot tell), names it binds, body."""

    values: tuple[Expression, ...] | None
    names: tuple[str, ...]
    guarded: bool
    body: Body


@dataclass(frozen=True, slots=True)
class Match:
    """`match subject: cases`."""

    subject: Expression
    cases: tuple[Case, ...]
    span: Span


Statement: TypeAlias = (
    Assign
    | AugmentedAssign
    | Declare
    | Evaluate
    | If
    | For
    | While
    | With
    | Try
    | Return
    | Function
    | Class
    | Import
    | ImportFrom
    | Global
    | Raise
    | Assert
    | Delete
    | Break
    | Continue
    | Match
)
Body: TypeAlias = tuple[Statement, ...]
