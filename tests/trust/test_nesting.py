"""Every way to nest, as deep as the guard allows and far deeper: nothing crashes, nothing hangs."""

from __future__ import annotations

import ast
import pickle
import sys
import time

import pytest
from nesting import HEAD, SHAPES, nested

import bnlint
from bnlint.settings import Settings
from bnlint.source.guard import check_text
from bnlint.source.reader import read_text
from bnlint.source.recursion import room_to_recurse
from bnlint.source.text import RefusedError

EVERYTHING = Settings(select=("ALL",))
HANGS = 60
"""Seconds of CPU time: far above what it takes, also where coverage is measured, and far below a
hang. How long it takes is measured by benchmarks/hostile.py."""
pytestmark = pytest.mark.no_cover


@pytest.mark.parametrize("depth", [60, 195])
@pytest.mark.parametrize("shape", SHAPES)
def test_what_the_guard_allows_is_linted_without_a_crash(shape: str, depth: int) -> None:
    start = time.process_time()
    result = bnlint.lint_source(nested(shape, depth), settings=EVERYTHING)
    assert time.process_time() - start < HANGS
    assert not result.crashes
    assert {f.code for f in result.findings} & {"BNL901", "BNL903"} <= {"BNL901"}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_goes_deeper_is_refused_or_read_in_time(shape: str) -> None:
    start = time.process_time()
    result = bnlint.lint_source(nested(shape, 10_000), settings=EVERYTHING)
    assert time.process_time() - start < HANGS
    assert not result.crashes


def test_findings_do_not_depend_on_how_deep_the_caller_is() -> None:
    text = nested("elif with layers", 190)

    def below(frames: int) -> tuple[object, ...]:
        return below(frames - 1) if frames else bnlint.lint_source(text).findings

    assert below(0) == below(sys.getrecursionlimit() - 300)


PATTERNS = [
    "((((((((((((a,),),),),),),),),),),),)",
    "{1: " * 12 + "a" + "}" * 12,
    "[" * 22 + "a" + "]" * 22,
    "A(" * 22 + "a" + ")" * 22,
    "((((((((((\\\n((((((a))))))))))))))))",
    "((((((((((  # (:\n((((((a))))))))))))))))",
    f"((((((({', '.join('abc' * 300)},),),),),),),)",
]


@pytest.mark.parametrize("newline", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("broken", ["", "print 'old'\n"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_that_take_the_parser_exponential_time(
    pattern: str, broken: str, newline: str
) -> None:
    text = f"{broken}match x:\n    case {pattern}:\n        pass\n".replace("\n", newline)
    with pytest.raises(RefusedError, match="pattern"):
        check_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "match x:\n    case {'a': [A(b=(1, 2)), *_], **rest} if f(g(h(i(j(1))))):\n        pass\n",
        "case(f(g(h(i(j(k(l(m(n(o(p(1))))))))))))\n",
        '"""\ncase (of an open bracket\n"""\nx = f(g(h(i(j(k([[[[1]]]]))))))\n' * 500,
        "def case(x):\n    match x:\n        case 1: return (((((((((((2)))))))))))\n",
    ],
)
def test_ordinary_patterns_pass(text: str) -> None:
    assert isinstance(check_text(text), ast.Module)


@pytest.mark.parametrize("broken", ["", "print 'old'\n"])
@pytest.mark.parametrize("depth", [8, 60])
@pytest.mark.parametrize("shape", ["brackets of three kinds", "parentheses", "calls of calls"])
def test_brackets_everywhere_are_refused_before_they_cost_minutes(
    shape: str, depth: int, broken: str
) -> None:
    line = SHAPES[shape](depth)
    with pytest.raises(RefusedError):
        check_text(broken + line * min(19_000, 4_500_000 // len(line)))


def test_names_with_dots_without_end_are_refused() -> None:
    for text in (f"import a{'.a' * 20_000}\n", f"from a{'.a' * 20_000} import b\n"):
        for broken in ("", "print 'old'\n"):
            with pytest.raises(RefusedError, match="parts"):
                check_text(broken + text)


def test_deep_facts_pass_between_processes() -> None:
    outcome = read_text("/a.py", HEAD + f"x = {'F.relu(' * 190}y{')' * 190}\n")
    assert outcome.facts is not None
    again = pickle.loads(pickle.dumps(outcome))
    with room_to_recurse():
        assert again == outcome


def test_thousands_of_comments_take_time_in_proportion() -> None:
    text = "import torch\n" + "# bnlint: ignore[BNL101] because\n" * 4_000
    start = time.process_time()
    assert len(bnlint.lint_source(text, settings=EVERYTHING).findings) == 4_000
    assert time.process_time() - start < HANGS
