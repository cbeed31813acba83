"""Fixes as exact edits: what they change, what they leave, and when there are none."""

from __future__ import annotations

import ast
import io
import json
import tokenize
from collections.abc import Sequence
from pathlib import Path

import pytest

import bnlint
from bnlint.finding import (
    AddCall,
    Edit,
    Finding,
    Fix,
    InsertBefore,
    Intent,
    Place,
    RemoveArgument,
    ReplaceArgument,
    SetArgument,
    Severity,
    SwapElements,
)
from bnlint.rules import all_rules
from bnlint.source.edits import realise
from bnlint.source.extract import extract
from bnlint.source.text import split_lines

FIXTURES = Path(__file__).parents[2] / "fixtures"
PATH = "/p/x.py"


def place_of(text: str, piece: str) -> Place:
    """The place of the only occurrence of `piece`."""
    assert text.count(piece) == 1
    start = text.index(piece)
    ends = []
    for offset in (start, start + len(piece)):
        before = split_lines(text[:offset])
        ends += [len(before), len(before[-1]) + 1]
    return Place(PATH, *ends)


def edits_of(text: str, *intents: Intent) -> tuple[Edit, ...]:
    place = Place(PATH, 1)
    fix = Fix("change it", intents)
    finding = Finding("BNL000", "made-up", Severity.NOTE, "m", place, fix=fix)
    return realise(finding, extract(PATH, text), text)


def applied(text: str, edits: Sequence[Edit]) -> str:
    lines = [*text.splitlines(keepends=True), ""]
    starts = [sum(map(len, lines[:index])) for index in range(len(lines))]
    for edit in sorted(edits, key=lambda e: (e.line, e.column), reverse=True):
        start = starts[edit.line - 1] + edit.column - 1
        end = starts[edit.end_line - 1] + edit.end_column - 1
        text = text[:start] + edit.text + text[end:]
    return text


def comments(text: str) -> list[str]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [token.string for token in tokens if token.type == tokenize.COMMENT]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("nn.Conv2d(3, 8, 3)", "nn.Conv2d(3, 8, 3, bias=False)"),
        ("nn.Conv2d(3, 8, 3, bias=True)", "nn.Conv2d(3, 8, 3, bias=False)"),
        ("nn.Linear(3, 8, True)", "nn.Linear(3, 8, bias=False)"),
        (
            "nn.Conv2d(\n    3,\n    8,  # wide\n    3,\n)",
            "nn.Conv2d(\n    3,\n    8,  # wide\n    3, bias=False,\n)",
        ),
        ("nn.Conv2d(3, 8, 3, bias=use_bias)", None),
        ("nn.Conv2d(*sizes)", None),
        ("nn.Conv2d(3, 8, **more)", None),
        ("nn.Conv2d(3, 8, (3))", "nn.Conv2d(3, 8, (3), bias=False)"),
        ("nn.Conv2d(3, 8, 3  # (wide)\n)", None),
        ("conv3x3(3, 8)", None),
        ("nn.ReLU()", None),
    ],
)
def test_an_argument_is_set(before: str, after: str | None) -> None:
    intent = SetArgument(place_of(f"x = {before}\n", before), "bias", "bias=False")
    edits = edits_of(f"x = {before}\n", intent)
    assert bool(edits) is (after is not None)
    if after is not None:
        assert applied(f"x = {before}\n", edits) == f"x = {after}\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("nn.BatchNorm2d(8, momentum=0.9)", "nn.BatchNorm2d(8, momentum=0.1)"),
        ("nn.BatchNorm2d(8, 1e-5, 0.9)", "nn.BatchNorm2d(8, 1e-5, momentum=0.1)"),
        ("nn.BatchNorm2d(8, 1e-5, 0.9, True)", "nn.BatchNorm2d(8, 1e-5, 0.1, True)"),
        ("nn.BatchNorm2d(8, momentum = (1 - .1), )", "nn.BatchNorm2d(8, momentum=0.1, )"),
        ("factory(8, momentum=0.9)", "factory(8, momentum=0.1)"),
        ("factory(8, 1e-5, 0.9)", None),
        ("nn.BatchNorm2d(*args, 0.9)", None),
        ("nn.BatchNorm2d(8, momentum=MOMENTUM)", None),
        ("nn.BatchNorm2d(8, 1e-5)", None),
    ],
)
def test_replace_argument(before: str, after: str | None) -> None:
    text = f"x = 1\nbn = {before}  # why\n"
    intent = ReplaceArgument(place_of(text, before), "momentum", "momentum=0.1")
    edits = edits_of(text, intent)
    assert applied(text, edits) == text.replace(before, after or before)
    assert bool(edits) == (after is not None)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("nn.BatchNorm2d(8, 0.8)", "nn.BatchNorm2d(8, momentum=0.2)"),
        ("nn.BatchNorm2d(8, 0.8, affine=False)", "nn.BatchNorm2d(8, momentum=0.2, affine=False)"),
        ("nn.BatchNorm2d(8, 0.8, 0.1)", None),
        ("nn.BatchNorm2d(8, eps=0.8, momentum=0.1)", None),
        ("nn.BatchNorm2d(8, eps=0.8, **kwargs)", None),
    ],
)
def test_replace_by_another_argument(before: str, after: str | None) -> None:
    text = f"bn = {before}\n"
    edits = edits_of(text, ReplaceArgument(place_of(text, before), "eps", "momentum=0.2"))
    assert applied(text, edits) == text.replace(before, after or before)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("nn.BatchNorm2d(8, 0.8)", "nn.BatchNorm2d(8)"),
        ("nn.BatchNorm2d(8, 0.8,)", "nn.BatchNorm2d(8, )"),
        ("nn.BatchNorm2d(8, eps=0.8, affine=True)", "nn.BatchNorm2d(8, affine=True)"),
        ("nn.BatchNorm2d(eps=0.8, num_features=8)", "nn.BatchNorm2d(num_features=8)"),
        ("nn.BatchNorm2d(c, c)", "nn.BatchNorm2d(c)"),
        ("nn.LazyBatchNorm2d(0.8)", "nn.LazyBatchNorm2d()"),
        ("nn.BatchNorm2d(\n    8,\n    0.8,\n)", "nn.BatchNorm2d(\n    8,\n)"),
        (
            "nn.BatchNorm2d(\n    8,  # channels\n    0.8,  # eps\n)",
            "nn.BatchNorm2d(\n    8,  # channels\n    # eps\n)",
        ),
        (
            "nn.BatchNorm2d(\n    8,  # channels\n    0.8\n)",
            "nn.BatchNorm2d(\n    8,  # channels\n)",
        ),
        ("nn.BatchNorm2d(8, c)", None),
        ("nn.BatchNorm2d(8, 0.8, 0.1)", None),
    ],
)
def test_remove_argument(before: str, after: str | None) -> None:
    text = f"bn = {before}\n"
    edits = edits_of(text, RemoveArgument(place_of(text, before), "eps"))
    assert applied(text, edits) == text.replace(before, after or before)
    assert comments(applied(text, edits)) == comments(text)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("nn.Sequential(a, RELU(), BN(8), b)", "nn.Sequential(a, BN(8), RELU(), b)"),
        ("nn.Sequential(*[a, RELU(), BN(8)])", "nn.Sequential(*[a, BN(8), RELU()])"),
        ("nn.Sequential((RELU()), BN(8))", "nn.Sequential(BN(8), (RELU()))"),
        ("layers + (RELU(), BN(8))", "layers + (BN(8), RELU())"),
        ("nn.Sequential(RELU(), b, BN(8))", None),
        ("[RELU()] + [BN(8)]", None),
        ("f(a=RELU(), b=BN(8))", None),
        ("[('a', RELU()), ('b', BN(8))]", None),
    ],
)
def test_swap_elements(before: str, after: str | None) -> None:
    text = f"x = {before}\n"
    swap = SwapElements(place_of(text, "RELU()"), place_of(text, "BN(8)"))
    assert applied(text, edits_of(text, swap)) == text.replace(before, after or before)


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("if a:\n    y = net(x)\n", "if a:\n    net.eval()\n    y = net(x)\n"),
        ("if a: y = net(x)\n", "if a: net.eval(); y = net(x)\n"),
        ("a = 1; y = net(x)\n", "a = 1; net.eval(); y = net(x)\n"),
        ("if a:\r\n\ty = net(x)\r\n", "if a:\r\n\tnet.eval()\r\n\ty = net(x)\r\n"),
        ("if a:\n    b\nelif net(x):\n    c\n", "net.eval()\nif a:\n    b\nelif net(x):\n    c\n"),
        ("@a\n@b(net(x))\ndef f(): pass\n", "net.eval()\n@a\n@b(net(x))\ndef f(): pass\n"),
        ("def f(y=net(x)): pass\n", "net.eval()\ndef f(y=net(x)): pass\n"),
        ("y = [\n    net(x)  # one\n]\n", "net.eval()\ny = [\n    net(x)  # one\n]\n"),
    ],
)
def test_insert_before(text: str, after: str) -> None:
    intent = InsertBefore(place_of(text, "net(x)"), "net.eval()")
    assert applied(text, edits_of(text, intent)) == after


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("model.eval  # now\n", "model.eval()  # now\n"),
        ("if a: model.eval; b\n", "if a: model.eval(); b\n"),
    ],
)
def test_add_call(text: str, after: str) -> None:
    assert applied(text, edits_of(text, AddCall(place_of(text, "model.eval")))) == after


def test_a_fix_is_made_as_a_whole_or_not_at_all() -> None:
    text = "a.eval\nbn = factory(8)\n"
    call = AddCall(place_of(text, "a.eval"))
    assert edits_of(text, call)
    assert not edits_of(text, call, RemoveArgument(place_of(text, "factory(8)"), "eps"))
    assert not edits_of(text, call, call, SwapElements(call.place, call.place))


def test_no_edit_of_another_file_and_none_that_does_not_parse() -> None:
    text = "a.eval\n"
    place = place_of(text, "a.eval")
    elsewhere = Place("/p/y.py", place.line, place.column, place.end_line, place.end_column)
    assert not edits_of(text, AddCall(elsewhere))
    assert not edits_of(text, InsertBefore(place, "no python"))


def with_fixes(text: str, name: str) -> tuple[str, set[str]]:
    """The text after all edits of one run, and the codes that were fixed."""
    fixed = [f for f in bnlint.lint_source(text, name).findings if f.fix is not None]
    for finding in fixed:
        assert finding.fix is not None and finding.fix.edits
    edits = [edit for f in fixed if f.fix is not None for edit in f.fix.edits]
    return applied(text, edits), {finding.code for finding in fixed}


BAD = {
    **{
        path.relative_to(FIXTURES).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(FIXTURES.rglob("bad*.py"))
        if not path.parent.name.startswith(("bnl901", "bnl902"))
    },
    **{
        f"{rule.code} example {index}": example.code
        for rule in all_rules()
        for index, example in enumerate(rule.wrong)
        if rule.code not in ("BNL901", "BNL902")
    },
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_fixed_parses_keeps_its_comments_and_is_clean(name: str) -> None:
    before = BAD[name]
    after, codes = with_fixes(before, "x.py")
    ast.parse(after)
    assert sorted(comments(after)) == sorted(comments(before))
    again, codes_again = with_fixes(after, "x.py")
    assert again == after
    assert not codes & codes_again
    if codes:
        found = {
            (f.code, f.place.line) for f in bnlint.lint_source(after, "x.py").findings if f.place
        }
        was = {
            (f.code, f.place.line) for f in bnlint.lint_source(before, "x.py").findings if f.place
        }
        assert found <= was


def test_the_bad_examples_are_fixed_where_the_rules_say_so() -> None:
    codes = {code for text in BAD.values() for code in with_fixes(text, "x.py")[1]}
    promised = {rule.code for rule in all_rules() if rule.fix_safety and rule.default}
    assert codes == promised - {"BNL902"}


def test_a_group_is_swapped_except_where_a_comment_excuses_it() -> None:
    line = "        self.{0} = nn.Sequential(nn.Conv2d(3, 3, 3), nn.ReLU(), nn.BatchNorm2d(3)){1}\n"
    text = (
        "import torch.nn as nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n"
        "        super().__init__()\n"
        + line.format("a", "")
        + line.format("b", "  # bnlint: ignore[BNL201] as published")
        + line.format("c", "")
        + "\n    def forward(self, x):\n        return self.c(self.b(self.a(x)))\n"
    )
    shown = [f for f in bnlint.lint_source(text).findings if not f.suppressed]
    assert [f.code for f in shown] == ["BNL201"]
    assert shown[0].fix is not None
    assert {edit.line for edit in shown[0].fix.edits} == {7, 9}
    after = applied(text, shown[0].fix.edits)
    assert not [f for f in bnlint.lint_source(after).findings if not f.suppressed]


def test_edits_of_a_notebook_count_in_their_cell() -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Title"]},
        {"cell_type": "code", "source": ["%matplotlib inline\n", "import torch.nn as nn"]},
        {"cell_type": "code", "source": ["\n", "bn = nn.BatchNorm2d(8, momentum=0.99)"]},
    ]
    document = json.dumps({"cells": cells, "nbformat": 4, "metadata": {}})
    (finding,) = bnlint.lint_source(document, "x.ipynb").findings
    assert finding.place is not None and finding.place.cell == 2
    assert finding.fix is not None
    assert finding.fix.edits == (Edit(2, 24, 2, 37, "momentum=0.01"),)
