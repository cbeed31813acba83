"""Each form of Python -> the intermediate representation."""

from __future__ import annotations

from pathlib import Path

import pytest

from bnlint.finding import Place
from bnlint.source import ir
from bnlint.source.extract import extract
from bnlint.source.facts import CellStart, FileFacts
from bnlint.source.reader import read_text
from bnlint.source.walk import fields_of


def shown(node: object) -> object:
    """A record as nested tuples, without spans: the class name, then the fields."""
    if isinstance(node, tuple):
        return tuple(shown(part) for part in node)
    if not isinstance(node, ir.Node):
        return node
    kept = [name for name in node.__struct_fields__ if name not in ("span", "header")]
    match node:
        case ir.Name():
            return node.id
        case ir.Constant():
            return ("=", node.value)
    return (type(node).__name__, *(shown(getattr(node, name)) for name in kept))


def statements(text: str) -> tuple[ir.Statement, ...]:
    return extract("/a.py", text).body


def expression(text: str) -> object:
    (statement,) = statements(text)
    assert isinstance(statement, ir.Evaluate)
    return shown(statement.value)


def argument(value: object, keyword: str | None = None, star: str = "") -> object:
    return ("Argument", value, keyword, star)


def parameter(
    name: str, default: object = None, star: str = "", only: bool = False, kind: object = None
) -> object:
    return ("Parameter", name, default, star, only, kind)


ONE = ("=", 1)
TWO = ("=", 2)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a", "a"),
        ("(a)", "a"),
        ("1", ONE),
        ("0x10", ("=", 16)),
        ("1_0.5", ("=", 10.5)),
        ("2j", ("=", 2j)),
        ("-1", ("=", -1)),
        ("-a", ("Unary", "Minus", "a")),
        ("not a", ("Unary", "Not", "a")),
        ("~a", ("Unary", "BitInvert", "a")),
        ("True", ("=", True)),
        ("None", ("=", None)),
        ("...", ("=", ...)),
        ("'a'", ("=", "a")),
        ("r'\\a' 'b'", ("=", "\\ab")),
        ("b'a'", ("=", b"a")),
        ("f'a{b}'", ("FormatString", (("=", "a"), "b"))),
        ("f'{b!r}'", ("FormatString", (("Opaque", ("b",)),))),
        ("f'{b:>3}'", ("FormatString", (("Opaque", ("b",)),))),
        ("'a' f'{b}'", ("FormatString", (("=", "a"), "b"))),
        ("b'a' b'b'", ("=", b"ab")),
        ("f'{b=}'", ("FormatString", (("=", "b="), ("Opaque", ("b",))))),
        ("a.b.c", ("Attribute", ("Attribute", "a", "b"), "c")),
        ("a()", ("Call", "a", ())),
        (
            "a(b, *c, d=1, **e)",
            (
                "Call",
                "a",
                (
                    argument("b"),
                    argument("c", star="*"),
                    argument(ONE, "d"),
                    argument("e", None, "**"),
                ),
            ),
        ),
        ("a[1]", ("Subscript", "a", ONE)),
        ("a[1, b]", ("Subscript", "a", ("Display", "tuple", (ONE, "b")))),
        ("a[1,]", ("Subscript", "a", ("Display", "tuple", (ONE,)))),
        ("a[1:]", ("Subscript", "a", ("Slice", ONE, None, None))),
        ("a[:1:2]", ("Subscript", "a", ("Slice", None, ONE, TWO))),
        ("(a, 1)", ("Display", "tuple", ("a", ONE))),
        ("a, *b", ("Display", "tuple", ("a", ("Starred", "b")))),
        ("[]", ("Display", "list", ())),
        ("{1}", ("Display", "set", (ONE,))),
        ("{1: a, **b}", ("DictDisplay", ((ONE, "a"), (None, "b")))),
        ("a + b", ("Binary", "Add", "a", "b")),
        ("a ** b", ("Binary", "Power", "a", "b")),
        ("a < b is not c", ("Compare", "a", (("LessThan", "b"), ("IsNot", "c")))),
        ("a not in b", ("Compare", "a", (("NotIn", "b"),))),
        ("a and b or c", ("Boolean", "Or", ("Boolean", "And", "a", "b"), "c")),
        ("a if b else c", ("Conditional", "b", "a", "c")),
        ("lambda: 1", ("Lambda", (), ONE)),
        ("lambda a, *b: a", ("Lambda", (parameter("a"), parameter("b", star="*")), "a")),
        (
            "[a for b in c if d if e for f in g]",
            (
                "Comprehension",
                "list",
                None,
                "a",
                (("Clause", "b", "c", ("d", "e")), ("Clause", "f", "g", ())),
            ),
        ),
        ("(a for a in b)", ("Comprehension", "generator", None, "a", (("Clause", "a", "b", ()),))),
        ("{a for a in b}", ("Comprehension", "set", None, "a", (("Clause", "a", "b", ()),))),
        ("{a: 1 for a in b}", ("Comprehension", "dict", "a", ONE, (("Clause", "a", "b", ()),))),
        ("(a := 1)", ("Walrus", "a", ONE)),
        ("(yield)", ("Yield", ("=", None), False)),
        ("(yield a)", ("Yield", "a", False)),
        ("(yield from a)", ("Yield", "a", True)),
    ],
)
def test_expressions(text: str, wanted: object) -> None:
    assert expression(text) == wanted


def test_a_number_with_too_many_digits_is_opaque() -> None:
    assert expression("1" * 4_000) == ("Opaque", ())


def test_nor_is_one_that_python_refuses() -> None:
    facts = read_text("/a.py", f"{'1' * 5_000}\n").facts
    assert facts is not None
    assert shown(facts.body) == (("Evaluate", ("Opaque", ())),)


def test_await_is_what_it_awaits() -> None:
    (function,) = statements("async def f():\n    await a")
    assert isinstance(function, ir.Function)
    assert shown(function.body) == (("Evaluate", "a"),)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a = b = 1", ("Assign", ("a", "b"), ONE)),
        ("a, b = c", ("Assign", (("Display", "tuple", ("a", "b")),), "c")),
        ("a: int = 1", ("Assign", ("a",), ONE)),
        ("a: int", ("Declare", "a")),
        ("a += 1", ("AugmentedAssign", "a", "Add", ONE)),
        ("a @= b", ("AugmentedAssign", "a", "MatrixMultiply", "b")),
        ("a()", ("Evaluate", ("Call", "a", ()))),
        (
            "if a: b\nelif c: d\nelse: e",
            (
                "If",
                "a",
                (("Evaluate", "b"),),
                (("If", "c", (("Evaluate", "d"),), (("Evaluate", "e"),)),),
            ),
        ),
        (
            "for a in b:\n    c\nelse:\n    d",
            ("For", "a", "b", (("Evaluate", "c"),), (("Evaluate", "d"),)),
        ),
        ("while a: break", ("While", "a", (("Break",),), ())),
        ("while a: continue", ("While", "a", (("Continue",),), ())),
        ("with a as b, c: d", ("With", (("a", "b"), ("c", None)), (("Evaluate", "d"),))),
        (
            "try: a\nexcept B as c: d\nexcept: e\nelse: f\nfinally: g",
            (
                "Try",
                (("Evaluate", "a"),),
                (
                    ("Handler", "B", "c", (("Evaluate", "d"),)),
                    ("Handler", None, None, (("Evaluate", "e"),)),
                ),
                (("Evaluate", "f"),),
                (("Evaluate", "g"),),
            ),
        ),
        (
            "try: a\nexcept* B: c",
            ("Try", (("Evaluate", "a"),), (("Handler", "B", None, (("Evaluate", "c"),)),), (), ()),
        ),
        ("return", ("Return", None)),
        ("return a", ("Return", "a")),
        (
            "@d\ndef f(a, /, b: int = 1, *c, e, **g): pass",
            (
                "Function",
                "f",
                (
                    parameter("a"),
                    parameter("b", ONE, kind="int"),
                    parameter("c", star="*"),
                    parameter("e", only=True),
                    parameter("g", star="**"),
                ),
                (),
                ("d",),
            ),
        ),
        (
            "def f(a, *, b=1): pass",
            ("Function", "f", (parameter("a"), parameter("b", ONE, "", True)), (), ()),
        ),
        (
            "class A(B, metaclass=C): d = 1",
            (
                "Class",
                "A",
                (argument("B"), argument("C", "metaclass")),
                (("Assign", ("d",), ONE),),
                (),
            ),
        ),
        ("import a.b, c as d", ("Import", (("a.b", None), ("c", "d")))),
        ("from a.b import c as d, e", ("ImportFrom", "a.b", 0, (("c", "d"), ("e", None)))),
        ("from .. import a", ("ImportFrom", "", 2, (("a", None),))),
        ("from .a import *", ("ImportFrom", "a", 1, None)),
        ("global a, b", ("Global", ("a", "b"), False)),
        ("nonlocal a", ("Global", ("a",), True)),
        ("raise", ("Raise", None)),
        ("raise a from b", ("Raise", "a")),
        ("assert a, b", ("Assert", "a")),
        ("del a, b", ("Delete", (("Display", "tuple", ("a", "b")),))),
        (
            "match a:\n    case 1 | 2: pass\n    case None: pass\n    case B(): pass\n"
            "    case c if d: pass\n    case _: pass",
            (
                "Match",
                "a",
                (
                    ("Case", (ONE, TWO), (), False, ()),
                    ("Case", (("=", None),), (), False, ()),
                    ("Case", None, (), False, ()),
                    ("Case", (), ("c",), True, ()),
                    ("Case", (), (), False, ()),
                ),
            ),
        ),
    ],
)
def test_statements(text: str, wanted: object) -> None:
    assert shown(statements(text)) == (wanted,)


def test_statements_on_one_line_are_apart() -> None:
    assert shown(statements("a = 1; b; pass")) == (("Assign", ("a",), ONE), ("Evaluate", "b"))


def at(facts: FileFacts, span: ir.Span) -> tuple[int, int, int, int]:
    place = facts.place(span)
    return place.line, place.column, place.end_line, place.end_column


def test_places_count_code_points() -> None:
    facts = extract("/a.py", "é = '🎉'; b = (\n    c)\r\nd\n")
    first, second, third = facts.body
    assert at(facts, first.span) == (1, 1, 1, 8)
    assert at(facts, second.span) == (1, 10, 2, 7)
    assert isinstance(second, ir.Assign)
    assert at(facts, second.value.span) == (2, 5, 2, 6)
    assert at(facts, third.span) == (3, 1, 3, 2)


def test_a_header_is_the_name() -> None:
    facts = extract("/a.py", "@d\nclass  A (B): pass\n\ndef f(): pass\n")
    cls, function = facts.body
    assert isinstance(cls, ir.Class)
    assert isinstance(function, ir.Function)
    assert at(facts, cls.header) == (2, 8, 2, 9)
    assert at(facts, function.header) == (4, 5, 4, 6)


def test_every_span_holds_its_expression() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    facts = extract("/a.py", text)
    pending: list[object] = [*facts.body]
    seen = 0
    while pending:
        node = pending.pop()
        if isinstance(node, tuple):
            pending += node
        elif isinstance(node, ir.Node):
            pending += fields_of(node)
            match node:
                case ir.Name():
                    assert text[slice(*node.span)] == node.id
                    seen += 1
                case ir.Attribute():
                    assert text[slice(*node.span)].endswith(node.attr)
                case ir.Call():
                    assert text[slice(*node.span)].endswith(")")
    assert seen > 200


def test_logical_lines_are_those_of_several_lines() -> None:
    text = (
        "a = (1,\n  2)\nb\nif c(\n  d\n):\n    e(\n      f)\nelse:\n    g\n"
        "@h\ndef i(\n    j):\n    k\n'''\nl'''\n"
    )
    assert extract("/a.py", text).logical_lines == ((1, 2), (4, 6), (7, 8), (12, 13), (15, 16))


def test_places_in_notebooks_count_within_their_cell() -> None:
    text = "a\nb\nc = (\n  d)\ne\n"
    cells = (CellStart(0, 1), CellStart(2, 3), CellStart(5, 5))
    facts = extract("/a.ipynb", text, cells)
    places = [facts.place(statement.span) for statement in facts.body]
    assert places == [
        Place("/a.ipynb", 1, 1, 1, 2, 0),
        Place("/a.ipynb", 2, 1, 2, 2, 0),
        Place("/a.ipynb", 1, 1, 2, 5, 2),
        Place("/a.ipynb", 1, 1, 1, 2, 5),
    ]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("nn.BatchNorm2d(3)", True), ("F.batch_norm(x)", True), ("nn.LayerNorm(3)", False)],
)
def test_files_that_can_build_a_batchnorm_are_told(text: str, wanted: bool) -> None:
    assert extract("/a.py", text).mentions_batchnorm is wanted
