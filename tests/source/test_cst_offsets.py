"""Spans of libcst's nodes, against its own PositionProvider; spans of ours, against libcst's."""

from __future__ import annotations

import argparse
import dataclasses
import re
import shutil
import typing
from pathlib import Path

import libcst as cst
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from libcst.metadata import MetadataWrapper, PositionProvider

from bnlint.source import ir
from bnlint.source.cst_offsets import spans_of
from bnlint.source.extract import extract
from bnlint.source.walk import walk

FILES = [
    *sorted(Path(__file__).parent.glob("test_*.py")),
    *(Path(module.__file__ or "") for module in (argparse, dataclasses, typing, shutil)),
]
NEEDED = (
    cst.BaseExpression,
    cst.BaseStatement,
    cst.BaseSmallStatement,
    cst.BaseSuite,
    cst.BaseElement,
    cst.Arg,
)
"""Nodes whose spans the extraction reads."""
DECORATED = """\
@first
# between
@second(
    1,
)
async def f(a, /, b: int = (1), *, c=[2], **d) -> None:  # why
    await a  ; return (  b  )


@dataclass
class C(Base, metaclass=M): x: int = 3; y = (4)
"""
MATCHED = """\
match point(x):
    case {"a": 1, **rest} if rest: pass
    case [Point(x=0), *_] | (None): y = -1
    case str() as text:
        print(text)
    case _:
        del x, y
try:
    pass
except* (A, B) as e: raise e from None
else:
    ...
finally:
    with (open("a") as f, open('b')): global g
"""
STRINGS = """\
a = f"x{y!r:>{width}}z" 'and' r"\\x00" if f'{f"{1}"}' else f\"\"\"
{
  q
}\"\"\"
b = [*a, (i := 3), *(j for j in k if j if not j)][1:2, ::3, ...]
c = lambda *args, k=1, **kw: (yield from args)
"""
UNICODE = 'naïve = "日本語 🎉"; größe = naïve + "e\u0301"  # 🎉\nπ = größe[0]\n'
TABBED = "if a:\n\tif b:\n\t\tc = (\n  1,\n\t)\n\telse:\n\t\td\n"
TEXTS = {
    "decorated": DECORATED,
    "matched": MATCHED,
    "strings": STRINGS,
    "unicode": UNICODE,
    "tuples": "a = f'{b, (c)} {(d, {e},)}', {f}, (g)\nh((i), *(j), (k, ), l=(m))\nn[(o, p), q]\n",
    "tabs": TABBED,
    "crlf": DECORATED.replace("\n", "\r\n"),
    "mac": TABBED.replace("\n", "\r"),
    "mixed": "a = 1\r\nb = (2,\n  3)\r\nif a:\r\n    b\n    c\r\n",
    "form feed": "import a\n\x0c\nclass B:\n    \x0c\n    c = 1\n\x0c\nd = 2\n",
    "no newline at the end": "if a:\n    b = (c)",
    "comment at the end": "a = b\n# c",
    "spaces": "  \n\na   =  (  b  )\\\n   + c ; d\n   # e\n\n",
    "empty": "",
    "only a comment": "# a",
    "line continuation": "assert a, \\\n    b\nx = a \\\n  .b\\\n  (c)\n",
}


def expected(module: cst.Module, text: str) -> dict[cst.CSTNode, tuple[int, int]]:
    starts = [0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", text)), len(text)]
    wrapper = MetadataWrapper(module, unsafe_skip_copy=True)
    return {
        node: (
            starts[at.start.line - 1] + at.start.column,
            starts[at.end.line - 1] + at.end.column,
        )
        for node, at in wrapper.resolve(PositionProvider).items()
        if not isinstance(node, cst.TrailingWhitespace)
    }


def check(text: str) -> int:
    """Compare the spans of all nodes; how many were compared."""
    module = cst.parse_module(text)
    spans = spans_of(module)
    wanted = expected(module, text)
    wrong = [
        (type(node).__name__, span, spans.get(id(node)), text[slice(*span)])
        for node, span in wanted.items()
        if (isinstance(node, NEEDED) or id(node) in spans) and spans.get(id(node)) != span
    ]
    assert wrong == []
    check_ours(text, set(spans.values()))
    return sum(isinstance(node, NEEDED) for node in wanted)


def check_ours(text: str, known: set[ir.Span]) -> None:
    """Every span of the intermediate representation is libcst's, which has none of slices."""
    nodes = (n for n in walk(extract("/a.py", text).body) if not isinstance(n, ir.Slice))
    spans = [(type(n).__name__, n.span) for n in nodes if hasattr(n, "span")]
    assert [(k, s, text[slice(*s)]) for k, s in spans if s not in known] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_spans_in_real_files(path: Path) -> None:
    assert check(path.read_text(encoding="utf-8")) > 100


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_spans_in_odd_texts(text: str) -> None:
    check(text)


def test_a_span_leaves_out_the_parentheses_around_it() -> None:
    text = "é = (( a.b(  c ) ))\n"
    module = cst.parse_module(text)
    spans = spans_of(module)
    statement = cst.ensure_type(module.body[0], cst.SimpleStatementLine)
    value = cst.ensure_type(statement.body[0], cst.Assign).value
    assert text[slice(*spans[id(value)])] == "a.b(  c )"


SPACE = st.sampled_from(["", " ", "  ", " \\\n "])
ATOMS = st.sampled_from(["a", "12", "'é'", "f'{b}'", "[]", "(c, )", "...", '"🎉"'])


def compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, SPACE, inner).map(lambda p: f"({p[0]}{p[1]}+{p[1]}{p[2]})"),
        st.tuples(SPACE, inner, inner).map(lambda p: f"f({p[0]}{p[1]},{p[0]}k={p[2]})"),
        st.tuples(SPACE, inner).map(lambda p: f"x[{p[0]}{p[1]}:{p[0]}]"),
        st.tuples(SPACE, inner, inner).map(lambda p: f"{{{p[0]}{p[1]} :{p[2]}{p[0]}}}"),
        inner.map(lambda p: f"(lambda q: {p})"),
        inner.map(lambda p: f"[z for z in {p} if z]"),
        inner.map(lambda p: f"(\n{p}  # note\n)"),
    )


EXPRESSIONS = st.recursive(ATOMS, compound, max_leaves=6)
SIMPLE = st.one_of(
    EXPRESSIONS.map(lambda e: f"v = {e}"),
    EXPRESSIONS.map(lambda e: f"w: int = {e}; pass"),
    EXPRESSIONS.map(lambda e: f"assert {e}  # é"),
)


def block(parts: tuple[str, list[str], str]) -> str:
    head, lines, indent = parts
    body = "\n".join(lines).replace("\n", f"\n{indent}")
    return f"{head}:\n{indent}{body}"


HEADS = st.one_of(
    st.just("class C"),
    st.just("@d\ndef f(a, *, b=1)"),
    EXPRESSIONS.map(lambda e: f"while {e}"),
    EXPRESSIONS.map(lambda e: f"for t in {e}"),
)
STATEMENTS = st.recursive(
    SIMPLE,
    lambda inner: st.tuples(
        HEADS, st.lists(inner, min_size=1, max_size=3), st.sampled_from(["  ", "\t"])
    ).map(block),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(STATEMENTS, max_size=4), st.sampled_from(["\n", "\r\n"]))
def test_spans_in_generated_programs(statements: list[str], newline: str) -> None:
    check("\n".join(statements).replace("\n", newline))
