"""The intermediate representation: Python without layout, as nested named tuples.

Named tuples because a file makes tens of thousands of them: they are the cheapest immutable
records to build, to pickle and to match. A span is a pair of offsets in code points; it excludes
enclosing parentheses.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

Span: TypeAlias = tuple[int, int]

# --- expressions -----------------------------------------------------------------------------


class Name(NamedTuple):
    """A variable."""

    id: str
    span: Span


class Constant(NamedTuple):
    """A literal: int, float, complex, str, bytes, bool, None or Ellipsis."""

    value: object
    span: Span


class Attribute(NamedTuple):
    """`value.attr`."""

    value: Expression
    attr: str
    span: Span


class Argument(NamedTuple):
    """One argument of a call; star is "", "*" or "**"."""

    value: Expression
    keyword: str | None
    star: str
    span: Span


class Call(NamedTuple):
    """`function(arguments)`."""

    function: Expression
    arguments: tuple[Argument, ...]
    span: Span


class Subscript(NamedTuple):
    """`value[index]`."""

    value: Expression
    index: Expression
    span: Span


class Slice(NamedTuple):
    """`lower:upper:step`, each possibly absent."""

    lower: Expression | None
    upper: Expression | None
    step: Expression | None
    span: Span


class Display(NamedTuple):
    """A tuple, list or set display; kind is "tuple", "list" or "set"."""

    kind: str
    elements: tuple[Expression, ...]
    span: Span


class Starred(NamedTuple):
    """`*value` in a display or a target."""

    value: Expression
    span: Span


class DictDisplay(NamedTuple):
    """A dictionary display; a key of None stands for `**value`."""

    items: tuple[tuple[Expression | None, Expression], ...]
    span: Span


class Binary(NamedTuple):
    """`left operator right`; operator is the libcst class name ("Add", "Multiply", ...)."""

    operator: str
    left: Expression
    right: Expression
    span: Span


class Compare(NamedTuple):
    """`left < a < b`; operators are libcst class names."""

    left: Expression
    comparisons: tuple[tuple[str, Expression], ...]
    span: Span


class Boolean(NamedTuple):
    """`left and right`, `left or right`; operator is "And" or "Or"."""

    operator: str
    left: Expression
    right: Expression
    span: Span


class Unary(NamedTuple):
    """`-operand`, `not operand`; operator is "Minus", "Plus", "Not" or "BitInvert"."""

    operator: str
    operand: Expression
    span: Span


class Conditional(NamedTuple):
    """`body if test else orelse`."""

    test: Expression
    body: Expression
    orelse: Expression
    span: Span


class Parameter(NamedTuple):
    """A parameter; star is "", "*" (also keyword-only separator with an empty name) or "**"."""

    name: str
    default: Expression | None
    star: str
    keyword_only: bool
    annotation: Expression | None


class Lambda(NamedTuple):
    """`lambda parameters: body`."""

    parameters: tuple[Parameter, ...]
    body: Expression
    span: Span


class Clause(NamedTuple):
    """`for target in iterable if conditions` of a comprehension."""

    target: Expression
    iterable: Expression
    conditions: tuple[Expression, ...]


class Comprehension(NamedTuple):
    """A comprehension; kind is "list", "set", "generator" or "dict" (then `key` is there)."""

    kind: str
    key: Expression | None
    element: Expression
    clauses: tuple[Clause, ...]
    span: Span


class FormatString(NamedTuple):
    """An f-string: literal text and expressions in order."""

    parts: tuple[Expression, ...]
    span: Span


class Walrus(NamedTuple):
    """`target := value`."""

    target: Name
    value: Expression
    span: Span


class Opaque(NamedTuple):
    """Any other expression: only its parts matter (await, yield)."""

    parts: tuple[Expression, ...]
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
)

# --- statements ------------------------------------------------------------------------------


class Assign(NamedTuple):
    """`a = b = value`; annotated assignments too."""

    targets: tuple[Expression, ...]
    value: Expression
    span: Span


class AugmentedAssign(NamedTuple):
    """`target += value`; operator is the libcst name without "Assign" ("Add")."""

    target: Expression
    operator: str
    value: Expression
    span: Span


class Declare(NamedTuple):
    """`name: annotation` without a value."""

    target: Expression
    span: Span


class Evaluate(NamedTuple):
    """An expression as a statement."""

    value: Expression
    span: Span


class If(NamedTuple):
    """`if test: body else: orelse`."""

    test: Expression
    body: Body
    orelse: Body
    span: Span


class For(NamedTuple):
    """`for target in iterable: body else: orelse`."""

    target: Expression
    iterable: Expression
    body: Body
    orelse: Body
    span: Span


class While(NamedTuple):
    """`while test: body else: orelse`."""

    test: Expression
    body: Body
    orelse: Body
    span: Span


class With(NamedTuple):
    """`with context as target, ...: body`."""

    items: tuple[tuple[Expression, Expression | None], ...]
    body: Body
    span: Span


class Handler(NamedTuple):
    """`except type as name: body`."""

    type: Expression | None
    name: str | None
    body: Body


class Try(NamedTuple):
    """`try: body except ...: else: orelse finally: final`."""

    body: Body
    handlers: tuple[Handler, ...]
    orelse: Body
    final: Body
    span: Span


class Return(NamedTuple):
    """`return value`."""

    value: Expression | None
    span: Span


class Function(NamedTuple):
    """`def name(parameters): body`; header is the span of the name."""

    name: str
    parameters: tuple[Parameter, ...]
    body: Body
    decorators: tuple[Expression, ...]
    span: Span
    header: Span


class Class(NamedTuple):
    """`class name(bases): body`; header is the span of the name."""

    name: str
    bases: tuple[Argument, ...]
    body: Body
    decorators: tuple[Expression, ...]
    span: Span
    header: Span


class Import(NamedTuple):
    """`import a.b as c`: pairs of dotted name and alias."""

    names: tuple[tuple[str, str | None], ...]
    span: Span


class ImportFrom(NamedTuple):
    """`from ..module import name as alias`; names of None is a star import."""

    module: str
    level: int
    names: tuple[tuple[str, str | None], ...] | None
    span: Span


class Global(NamedTuple):
    """`global names` or `nonlocal names`."""

    names: tuple[str, ...]
    nonlocal_: bool
    span: Span


class Raise(NamedTuple):
    """`raise value`."""

    value: Expression | None
    span: Span


class Assert(NamedTuple):
    """`assert test`."""

    test: Expression
    span: Span


class Delete(NamedTuple):
    """`del targets`."""

    targets: tuple[Expression, ...]
    span: Span


class Break(NamedTuple):
    """`break`."""

    span: Span


class Continue(NamedTuple):
    """`continue`."""

    span: Span


class Case(NamedTuple):
    """One case of a match: the constants it accepts (None: cannot tell), names it binds, body."""

    values: tuple[Expression, ...] | None
    names: tuple[str, ...]
    guarded: bool
    body: Body


class Match(NamedTuple):
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
