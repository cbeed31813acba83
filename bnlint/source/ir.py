"""The intermediate representation: Python without layout, as nested records.

A span is a pair of offsets in code points; it excludes enclosing parentheses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import Raw, Struct
from msgspec.structs import force_setattr

Span: TypeAlias = tuple[int, int]

if TYPE_CHECKING:
    Code: TypeAlias = "Raw | Body"
    Hint: TypeAlias = "Raw | Expression | None"
else:
    Code = Hint = Raw  # as which msgspec reads them


_RECORDS: Final = (
    "Node Name Constant Attribute Argument Call Subscript Slice Display Starred DictDisplay "
    "Binary Compare Boolean Unary Conditional Parameter Lambda Clause Comprehension "
    "FormatString Walrus Opaque Yield Assign AugmentedAssign Declare Evaluate If For While With "
    "Handler Try Return Function Class Import ImportFrom Global Raise Assert Delete Break "
    "Continue Case Match"
).split()
"""All records, in an order that stays: their numbers tell them apart on disk."""


class Node(Struct, frozen=True, array_like=True, tag=_RECORDS.index, tag_field="node", gc=False):
    """What all records share: compared by value, small in memory, and written to disk as an array
    that begins with the number of its class."""


# --- expressions -----------------------------------------------------------------------------


class Name(Node, frozen=True):
    """A variable."""

    id: str
    span: Span


class Constant(Node, frozen=True):
    """A literal: int, float, complex, str, bytes, bool, None or Ellipsis."""

    value: object
    span: Span


class Attribute(Node, frozen=True):
    """`value.attr`."""

    value: Expression
    attr: str
    span: Span


class Argument(Node, frozen=True):
    """One argument of a call; star is "", "*" or "**"."""

    value: Expression
    keyword: str | None
    star: str
    span: Span


class Call(Node, frozen=True):
    """`function(arguments)`."""

    function: Expression
    arguments: tuple[Argument, ...]
    span: Span


class Subscript(Node, frozen=True):
    """`value[index]`."""

    value: Expression
    index: Expression
    span: Span


class Slice(Node, frozen=True):
    """`lower:upper:step`, each possibly absent."""

    lower: Expression | None
    upper: Expression | None
    step: Expression | None
    span: Span


class Display(Node, frozen=True):
    """A tuple, list or set display; kind is "tuple", "list" or "set"."""

    kind: str
    elements: tuple[Expression, ...]
    span: Span


class Starred(Node, frozen=True):
    """`*value` in a display or a target."""

    value: Expression
    span: Span


class DictDisplay(Node, frozen=True):
    """A dictionary display; a key of None stands for `**value`."""

    items: tuple[tuple[Expression | None, Expression], ...]
    span: Span


class Binary(Node, frozen=True):
    """`left operator right`; operator is the libcst class name ("Add", "Multiply", ...)."""

    operator: str
    left: Expression
    right: Expression
    span: Span


class Compare(Node, frozen=True):
    """`left < a < b`; operators are libcst class names."""

    left: Expression
    comparisons: tuple[tuple[str, Expression], ...]
    span: Span


class Boolean(Node, frozen=True):
    """`left and right`, `left or right`; operator is "And" or "Or"."""

    operator: str
    left: Expression
    right: Expression
    span: Span


class Unary(Node, frozen=True):
    """`-operand`, `not operand`; operator is "Minus", "Plus", "Not" or "BitInvert"."""

    operator: str
    operand: Expression
    span: Span


class Conditional(Node, frozen=True):
    """`body if test else orelse`."""

    test: Expression
    body: Expression
    orelse: Expression
    span: Span


class Parameter(Node, frozen=True):
    """A parameter; star is "", "*" (also keyword-only separator with an empty name) or "**".

    hint: the annotation; as bytes when it was read from some, since hardly any is looked at.
    """

    name: str
    default: Expression | None
    star: str
    keyword_only: bool
    hint: Hint

    @property
    def annotation(self) -> Expression | None:
        """The annotation; None where there is none."""
        if not isinstance(self.hint, Raw):
            return self.hint
        from bnlint.source.bodies import read_expression

        return read_expression(self.hint)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Parameter) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash((self.name, self.star, self.keyword_only))

    def _key(self) -> tuple[object, ...]:
        return (self.name, self.default, self.star, self.keyword_only, self.annotation)


class Lambda(Node, frozen=True):
    """`lambda parameters: body`."""

    parameters: tuple[Parameter, ...]
    body: Expression
    span: Span

    def read(self) -> Expression:
        """The body, as of a function."""
        return self.body


class Clause(Node, frozen=True):
    """`for target in iterable if conditions` of a comprehension."""

    target: Expression
    iterable: Expression
    conditions: tuple[Expression, ...]


class Comprehension(Node, frozen=True):
    """A comprehension; kind is "list", "set", "generator" or "dict" (then `key` is there)."""

    kind: str
    key: Expression | None
    element: Expression
    clauses: tuple[Clause, ...]
    span: Span


class FormatString(Node, frozen=True):
    """An f-string: literal text and expressions in order."""

    parts: tuple[Expression, ...]
    span: Span


class Walrus(Node, frozen=True):
    """`target := value`."""

    target: Name
    value: Expression
    span: Span


class Opaque(Node, frozen=True):
    """Any other expression: only its parts matter."""

    parts: tuple[Expression, ...]
    span: Span


class Yield(Node, frozen=True):
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


class Assign(Node, frozen=True):
    """`a = b = value`; annotated assignments too."""

    targets: tuple[Expression, ...]
    value: Expression
    span: Span


class AugmentedAssign(Node, frozen=True):
    """`target += value`; operator is the libcst name without "Assign" ("Add")."""

    target: Expression
    operator: str
    value: Expression
    span: Span


class Declare(Node, frozen=True):
    """`name: annotation` without a value."""

    target: Expression
    span: Span


class Evaluate(Node, frozen=True):
    """An expression as a statement."""

    value: Expression
    span: Span


class If(Node, frozen=True):
    """`if test: body else: orelse`."""

    test: Expression
    body: Body
    orelse: Body
    span: Span


class For(Node, frozen=True):
    """`for target in iterable: body else: orelse`."""

    target: Expression
    iterable: Expression
    body: Body
    orelse: Body
    span: Span


class While(Node, frozen=True):
    """`while test: body else: orelse`."""

    test: Expression
    body: Body
    orelse: Body
    span: Span


class With(Node, frozen=True):
    """`with context as target, ...: body`."""

    items: tuple[tuple[Expression, Expression | None], ...]
    body: Body
    span: Span


class Handler(Node, frozen=True):
    """`except type as name: body`."""

    type: Expression | None
    name: str | None
    body: Body


class Try(Node, frozen=True):
    """`try: body except ...: else: orelse finally: final`."""

    body: Body
    handlers: tuple[Handler, ...]
    orelse: Body
    final: Body
    span: Span


class Return(Node, frozen=True):
    """`return value`."""

    value: Expression | None
    span: Span


class Function(Node, frozen=True):
    """`def name(parameters): body`; header is the span of the name.

    code: the body; as bytes for as long as nobody has run it, since most functions of a large
    project are never run.
    """

    name: str
    parameters: tuple[Parameter, ...]
    code: Code
    decorators: tuple[Expression, ...]
    span: Span
    header: Span

    @property
    def body(self) -> Body:
        """The statements, the same objects each time."""
        if not isinstance(self.code, Raw):
            return self.code
        from bnlint.source.bodies import shared

        body = shared(self.read())
        force_setattr(self, "code", body)
        return body

    def read(self) -> Body:
        """The statements, for a look at them: they are not kept."""
        if not isinstance(self.code, Raw):
            return self.code
        from bnlint.source.bodies import read_body

        return read_body(self.code)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Function) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash((self.name, self.span))

    def _key(self) -> tuple[object, ...]:
        return (self.name, self.parameters, self.read(), self.decorators, self.span, self.header)


class Class(Node, frozen=True):
    """`class name(bases): body`; header is the span of the name."""

    name: str
    bases: tuple[Argument, ...]
    body: Body
    decorators: tuple[Expression, ...]
    span: Span
    header: Span


class Import(Node, frozen=True):
    """`import a.b as c`: pairs of dotted name and alias."""

    names: tuple[tuple[str, str | None], ...]
    span: Span


class ImportFrom(Node, frozen=True):
    """`from ..module import name as alias`; names of None is a star import."""

    module: str
    level: int
    names: tuple[tuple[str, str | None], ...] | None
    span: Span


class Global(Node, frozen=True):
    """`global names` or `nonlocal names`."""

    names: tuple[str, ...]
    nonlocal_: bool
    span: Span


class Raise(Node, frozen=True):
    """`raise value`."""

    value: Expression | None
    span: Span


class Assert(Node, frozen=True):
    """`assert test`."""

    test: Expression
    span: Span


class Delete(Node, frozen=True):
    """`del targets`."""

    targets: tuple[Expression, ...]
    span: Span


class Break(Node, frozen=True):
    """`break`."""

    span: Span


class Continue(Node, frozen=True):
    """`continue`."""

    span: Span


class Case(Node, frozen=True):
    """One case of a match: the constants it accepts (None: cannot tell), names it binds, body."""

    values: tuple[Expression, ...] | None
    names: tuple[str, ...]
    guarded: bool
    body: Body


class Match(Node, frozen=True):
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
