"""Python that nests as deeply as it is told to, in every way that the grammar has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

HEAD: Final = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n"
BLOCKS: Final = 95
"""The deepest indentation that CPython's own parser takes is 100."""
LOOPS: Final = 19
"""So are nested loops, `try` and `with`, at 20."""


def blocks(opener: str, depth: int, inner: str = "pass") -> str:
    """A block in a block in a block; `@` in the opener becomes the level."""
    lines = [" " * n + opener.replace("@", str(n)) for n in range(depth)]
    return "\n".join([*lines, " " * depth + inner]) + "\n"


def around(before: str, inner: str, after: str) -> Callable[[int], str]:
    """A function that puts a text around another one so many times."""
    return lambda n: before * n + inner + after * n


def assigned(expression: Callable[[int], str]) -> Callable[[int], str]:
    """The expression on the right of `x =`."""
    return lambda n: f"x = {expression(n)}\n"


def mixed(depth: int) -> str:
    """Half of the levels are blocks, the other half brackets."""
    levels = min(depth // 2, 90)
    return blocks("if a@:", levels, "x = " + "(" * levels + "nn.BatchNorm2d(3)" + ",)" * levels)


EXPRESSIONS: Final = {
    "parentheses": around("(", "1", ")"),
    "lists": around("[", "1", "]"),
    "sets": around("{", "1", "}"),
    "tuples": around("(", "1", ",)"),
    "dictionaries": around("{1:", "1", "}"),
    "unpacked dictionaries": around("{**", "a", "}"),
    "unpacked lists": around("[*", "a", "]"),
    "minus": around("-", "1", ""),
    "not": around("not ", "1", ""),
    "lambdas": around("lambda: ", "1", ""),
    "lambda defaults": around("lambda a=", "1", ": a"),
    "attributes": around("", "torch", ".b"),
    "calls": around("", "torch.f", "()"),
    "subscripts": around("", "torch", "[0]"),
    "subscripts in subscripts": around("a[", "0", "]"),
    "slices": around("a[", "0", ":]"),
    "nested calls": around("nn.Sequential(", "nn.BatchNorm2d(3)", ")"),
    "keyword calls": around("f(a=", "1", ")"),
    "starred calls": around("f(*", "a", ")"),
    "generator calls": around("f(", "a", " for a in b)"),
    "methods": around("", "torch.zeros(3)", ".relu()"),
    "sums": around("1 + ", "1", ""),
    "sums from the left": around("", "1", " + 1"),
    "string sums": around("'a' + ", "'a'", ""),
    "strings in a row": around("'a' ", "'a'", ""),
    "powers": around("2 ** ", "1", ""),
    "and": around("a and ", "a", ""),
    "mixed logic": around("(a and not (b or ", "a", "))"),
    "comparisons": around("a < ", "a", ""),
    "nested comparisons": around("(a not in ", "a", ")"),
    "conditionals": around("1 if b else ", "a", ""),
    "conditionals in tests": around("1 if ", "a", " else b"),
    "walrus": around("(a := ", "1", ")"),
    "list comprehensions": around("[", "a", " for a in b]"),
    "dictionary comprehensions": around("{1: ", "a", " for a in b}"),
    "comprehensions over comprehensions": around("[a for a in ", "b", "]"),
    "comprehension conditions": around("[a for a in b if ", "a", "]"),
    "long comprehensions": lambda n: "[a" + " for a in a" * n + "]",
    "f-strings": lambda n: "f'{a:" + "{a}" * n + "}'",
    "brackets of three kinds": around("({1:[", "a", "]})"),
    "calls of calls": around("f(a)(", "a", ")"),
}

STATEMENTS: Final = {
    "elif": lambda n: "if a:\n    pass\n" + "elif b:\n    pass\n" * n,
    "elif with layers": lambda n: (
        "if a:\n    x = 1\n" + "elif b:\n    x = nn.BatchNorm2d(3)\n" * n + "x.eval()\n"
    ),
    "if": lambda n: blocks("if a@:", min(n, BLOCKS)),
    "for": lambda n: blocks("for a@ in b:", min(n, LOOPS)),
    "while": lambda n: blocks("while a:", min(n, LOOPS)),
    "with": lambda n: blocks("with torch.no_grad():", min(n, LOOPS)),
    "try": lambda n: (
        "".join(" " * i + "try:\n" for i in range(min(n, LOOPS)))
        + " " * min(n, LOOPS)
        + "pass\n"
        + "".join(" " * i + "finally: pass\n" for i in reversed(range(min(n, LOOPS))))
    ),
    "functions": lambda n: blocks("def f@():", min(n, BLOCKS)),
    "classes": lambda n: blocks("class C@(nn.Module):", min(n, BLOCKS)),
    "blocks and brackets": mixed,
    "decorators": lambda n: "@torch.jit.script\n" * n + "def f(): pass\n",
    "chained assignments": lambda n: "x = " * n + "1\n",
    "tuple targets": lambda n: "(" * n + "a" + ",)" * n + " = b\n",
    "yields": lambda n: "def f():\n    " + "(yield " * n + "1" + ")" * n + "\n",
    "awaits": lambda n: "async def f():\n    x = " + "(await " * n + "a" + ")" * n + "\n",
    "annotations": lambda n: "x: " + "list[" * n + "int" + "]" * n + " = 1\n",
    "forwards": lambda n: (
        f"def f(x):\n    return {'F.relu(' * n}x{')' * n}\n\n\nf(torch.ones(3))\n"
    ),
    "sequence patterns": lambda n: f"match x:\n    case {'[' * n}a{']' * n}: pass\n",
    "class patterns": lambda n: f"match x:\n    case {'A(' * n}a{')' * n}: pass\n",
    "mapping patterns": lambda n: f"match x:\n    case {'{1: ' * n}a{'}' * n}: pass\n",
    "alternative patterns": lambda n: f"match x:\n    case {'(1 | ' * n}2{')' * n}: pass\n",
    "cases": lambda n: "match x:\n" + "    case 1: pass\n" * n,
}

SHAPES: Final = {name: assigned(make) for name, make in EXPRESSIONS.items()} | STATEMENTS


def nested(shape: str, depth: int) -> str:
    """A file in which one shape nests so deeply."""
    return HEAD + SHAPES[shape](depth)
