"""Calls that are recalled: what they give is what making them again would give."""

from __future__ import annotations

import pytest
from drawn import HEADER, graph_of, norms, project_of

from bnlint.source.evaluate.recall import Recall
from bnlint.source.trace_artist import TraceArtist
from bnlint.source.values import Known, Sequence, Value, items_of

NET = """\


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        {build}
        self.body = nn.Sequential(*[nn.BatchNorm2d(width) for width in ({widths})])
    def forward(self, x):
        return self.body(x)
"""
CALLS = {
    "plain": ("def f(n):\n    return n * 2", "pass", "f(4), f(4), f(5)"),
    "a counter": (
        "count = 1\ndef f(n):\n    global count\n    count += n\n    return count",
        "pass",
        "f(1), f(1), f(1)",
    ),
    "a list that grows": (
        "seen = [1]\ndef f(n):\n    seen.append(n)\n    return len(seen)",
        "pass",
        "f(1), f(1), f(1)",
    ),
    "a table that changes": (
        "table = {'a': 1}\ndef f(n):\n    return table['a'] + n",
        "first = f(1)\n        table['a'] = 5",
        "first, f(1)",
    ),
    "a table in a table": (
        "table = {'a': {'b': 1}}\ndef f(n):\n    return table['a']['b'] + n",
        "first = f(1)\n        table['a']['b'] = 5",
        "first, f(1)",
    ),
    "a constant that changes": (
        "WIDTH = 4\ndef f(n):\n    return WIDTH + n",
        "global WIDTH\n        first = f(1)\n        WIDTH = 9",
        "first, f(1)",
    ),
    "an attribute of a class that changes": (
        "class Options:\n    width = 4\ndef f(n):\n    return Options.width + n",
        "first = f(1)\n        Options.width = 9",
        "first, f(1)",
    ),
    "an object that changes": (
        "class Options:\n    def __init__(self):\n        self.width = 4\n"
        "options = Options()\ndef f(n):\n    return options.width + n",
        "first = f(1)\n        options.width = 9",
        "first, f(1)",
    ),
    "a list of its own": (
        "def f(n):\n    return [n, n]",
        "a = f(3)\n        a.append(7)\n        b = f(3)",
        "len(a), len(b)",
    ),
    "the list that it is given": (
        "def f(n):\n    n.append(4)\n    return n",
        "a = [1]\n        f(a)\n        b = [1]\n        c = f(b)\n        c.append(1)",
        "len(a), len(b), len(c)",
    ),
    "a default that grows": (
        "def f(n, seen=[]):\n    seen.append(n)\n    return len(seen)",
        "pass",
        "f(3), f(3), f(3)",
    ),
    "a function in a function": (
        "def make(n):\n    state = [n]\n    def add(m):\n        state[0] += m\n"
        "        return state[0]\n    return add\nadd = make(1)\ndef f(n):\n    return add(n)",
        "pass",
        "f(3), f(3)",
    ),
    "either of two": (
        "def f(n, flag=None):\n    return n if flag else 2 * n",
        "pass",
        "f(3), f(3), f(3, True)",
    ),
    "a call of a call": (
        "table = {'a': 1}\ndef g(n):\n    return table['a'] + n\ndef f(n):\n    return g(n)",
        "first = f(1)\n        table['a'] = 5",
        "first, f(1)",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_is_recalled_is_what_the_call_gives(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    functions, build, widths = CALLS[name]
    text = functions + NET.format(build=build, widths=widths)
    recalled = [node.params for node in norms(graph_of(text))]
    monkeypatch.setattr(Recall, "value", lambda self, key, called: None)
    assert recalled == [node.params for node in norms(graph_of(text))]


def test_a_call_with_the_same_constants_is_made_once() -> None:
    text = """
def inner(n):
    return n + 1

def f(n):
    return [inner(n)]

def main():
    return f(1), f(1)

both = main()
"""
    tracing = TraceArtist(project_of(main=HEADER + text))
    made: list[object] = []
    record = tracing.machine.recall.record

    def noted(key: object, *rest: object) -> Value:
        made.append(key)
        return record(key, *rest)  # type: ignore[arg-type]

    tracing.machine.recall.record = noted  # type: ignore[assignment,method-assign]
    tracing.load_all()
    scope = tracing.project.scope("/p/main.py")
    both = None if scope is None else scope.value("both")
    assert isinstance(both, Sequence)
    first, second = items_of(both)
    assert isinstance(first, Sequence)
    assert isinstance(second, Sequence)
    assert first is not second
    assert items_of(first) == items_of(second) == (Known(2),)
    assert len(made) == 3  # main, f, inner
