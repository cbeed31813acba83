"""Python 2 is read in place: as many characters, the same lines, the same findings."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnlint import lint_source
from bnlint.finding import Severity
from bnlint.settings import Settings
from bnlint.source.python2 import as_python3
from bnlint.source.reader import read_text

REWRITTEN = {
    'print "a", x': 'print,"a", x',
    'print"a"': 'prin,"a"',
    "if x: print `y`; exec code in names": "if x: print,(y); exec,code in names",
    "else: print not x,": "else: print,not x,",
    "print -1": "print,-1",
    "print \\\n  x": "print,\\\n  x",
    "except (A, B), e:": "except (A, B)| e:",
    'raise E, "no %s" % (1, 2)': 'raise E| "no %s" % (1, 2)',
    "x <> 0777 + 10L + 0xFFl + 00": "x !=  511 +  10 +  0xFF +  0",
    "x = ur'a', UR'b'": "x =  r'a',  R'b'",
    "f(lambda (a, (b, c)), d=(1, 2): (a))": "f(lambda  a,  b, c  , d=(1, 2): (a))",
    "x.cuda(async=True)": "x.cuda(_sync=True)",
    "async = 3": "_sync = 3",
}
SAME = [
    "print",
    'print("a", x)',
    "print >>f, x",
    "print.x = 3",
    "x = 'print y'  # print z",
    '"""\nprint x\n"""',
    "async def f(): pass",
    "raise E",
    "raise E(1, 2)",
    "except (A, B):",
    "def f(print): pass",
    "x = {1: lambda a=(1, 2): (a)}",
    "0",
    "0.07 + 1e-07 + 0x07",
]


@pytest.mark.parametrize(("text", "expected"), REWRITTEN.items())
def test_rewritten(text: str, expected: str) -> None:
    assert as_python3(text) == expected
    assert len(expected) == len(text)


@pytest.mark.parametrize("text", SAME)
def test_what_python_3_reads_is_left_alone(text: str) -> None:
    assert as_python3(text) is None


@given(st.text("printexcasy 01L`<>'\"()[],:;=\\\n#|", max_size=60))
def test_nothing_moves(text: str) -> None:
    rewritten = as_python3(text)
    if rewritten is not None:
        assert len(rewritten) == len(text)
        assert [len(line) for line in rewritten.split("\n")] == list(map(len, text.split("\n")))


BOTH = """\
import torch
from torch import nn

net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
net.load_state_dict(torch.load("w.pt"))
{print_start}"start", 1{print_end}
for x in data:
    y = net(x.cuda({flag}=True))
    {print_start}y.max(1)[1]{print_end}
"""


def findings(text: str, path: str = "a.py") -> list[tuple[str, int, int]]:
    found = lint_source(text, path, settings=Settings()).findings
    return [(f.code, f.place.line, f.place.column) for f in found if f.place is not None]


def test_findings_are_those_of_python_3() -> None:
    old = BOTH.format(print_start="print ", print_end="", flag="async")
    new = BOTH.format(print_start="print(", print_end=")", flag="asink")
    assert findings(new) == [("BNL101", 8, 9)]
    assert findings(old) == [("BNL901", 6, 1), ("BNL101", 8, 9)]


def test_a_note_says_so_and_fixes_are_left_out() -> None:
    old = BOTH.format(print_start="print ", print_end="", flag="async")
    found = lint_source(old, "a.py").findings
    remark = next(f for f in found if f.code == "BNL901")
    assert remark.severity is Severity.NOTE
    assert "older Python" in remark.message
    assert all(f.fix is None for f in found)


def test_what_is_no_python_at_all_stays_an_error() -> None:
    for text in ("print x y\n", "print 'a'\ndef f(:\n", "print 'a\n"):
        outcome = read_text("/a.py", text)
        assert outcome.facts is None
        assert outcome.problem is not None
        assert not outcome.problem.is_remark


def test_deep_nesting_behind_a_print_is_refused() -> None:
    outcome = read_text("/a.py", "print 'a'\nx = " + "(" * 150 + "-" * 400 + "1" + ")" * 150)
    assert outcome.facts is None


def test_real_code_parses() -> None:
    text = "import os, sys\nfor k, v in sorted(d.items(), key=lambda (k, v): v):\n    print k,\n"
    rewritten = as_python3(text)
    assert rewritten is not None
    ast.parse(rewritten)
