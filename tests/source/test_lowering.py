"""Python newer than the one that runs is read in place."""

from __future__ import annotations

import pytest

from bnlint import lint_source
from bnlint.settings import Settings
from bnlint.source import ir
from bnlint.source.lowering import lower
from bnlint.source.notebook import is_python
from bnlint.source.reader import read_text
from bnlint.source.walk import walk

ALL = Settings(select=("ALL",))
NEWER = [
    'x = f"{a["b"]}"',
    "x = f'{'\\n'.join(a)!r:>{w['é']}} and {b}{c}'",
    'x = "1" f"{a["b"]}" r"2" f""',
    "x = f'{(a, 'b')} {(c for c in 'd')}'",
    "x = f'{f'{f'{a}'}'}'",
    'x = f"""{\n  a["""b"""]  # why\n}"""',
    "def f[T: (int, str), *U](x: T) -> T: return x",
    "class C[T](Base[T], k=1): pass",
    "type A[T] = list[\n  T]",
    "x = t'{a} and {b.c()}'",
]


@pytest.mark.parametrize("text", NEWER)
def test_newer_syntax_is_written_otherwise_in_place(text: str) -> None:
    text = f"# é\n{text}\nlast = nn.BatchNorm2d(3)\n"
    lowered = lower(text)
    if lowered is None:
        assert is_python(text)  # to this Python it is not new
        return
    assert is_python(lowered.text)
    assert len(lowered.text) == len(text)
    assert lowered.text.splitlines()[-1] == text.splitlines()[-1]
    ends = [offset for offset, character in enumerate(text) if character == "\n"]
    assert ends == [offset for offset, character in enumerate(lowered.text) if character == "\n"]


@pytest.mark.parametrize("text", ["x = 1", "x = f'{a}' 'b'", "x = (f'{a}')", "x = ="])
def test_other_texts_are_left_alone(text: str) -> None:
    assert lower(text) is None


@pytest.mark.parametrize("text", NEWER)
def test_names_keep_their_places(text: str) -> None:
    facts = read_text("/a.py", text).facts
    assert facts is not None
    names = [node for node in walk(facts.body) if isinstance(node, ir.Name)]
    assert names or text.startswith("type")
    assert all(text[slice(*name.span)] == name.id for name in names)


def test_a_string_with_expressions_is_no_tuple() -> None:
    lowered = lower('x = f"{a["b"]}"')
    facts = read_text("/a.py", 'x = f"{a["b"]}"').facts
    assert facts is not None
    (assignment,) = facts.body
    assert isinstance(assignment, ir.Assign)
    wanted = ir.FormatString if lowered is None else ir.Opaque
    assert isinstance(assignment.value, wanted)


def test_what_stands_beside_newer_syntax_is_judged_where_it_is() -> None:
    lines = (
        "from torch import nn",
        'print(f"{names["é"]}")',
        "def build[T](width: T) -> nn.Module:",
        "    return nn.Sequential(nn.Conv2d(3, 8, 3, bias=True), nn.BatchNorm2d(8), nn.ReLU())",
        "build(1)",
    )
    plain = [*lines]
    plain[1] = "print(names['é'])"
    plain[2] = "def build(width) -> nn.Module:"
    found = lint_source("\n".join(lines), settings=ALL).findings
    assert found
    assert [(f.code, f.place) for f in found] == [
        (f.code, f.place) for f in lint_source("\n".join(plain), settings=ALL).findings
    ]
