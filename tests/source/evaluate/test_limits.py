"""Programs that never end, or nearly: the analysis gives up, says nothing, and is quick."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from drawn import body_of, codes_of, feeds, graphs_of, norms

WRONG = "\n\nbn = nn.BatchNorm2d(8, momentum=0.99)\n"


@pytest.fixture(autouse=True)
def quickly() -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < 90


def test_a_class_that_builds_itself() -> None:
    graph = body_of(
        "self.inner = Net()\nself.b = nn.BatchNorm2d(3)", "return self.b(self.inner(x))"
    )
    assert {feeds(graph, index) for index in range(len(norms(graph)))} <= {"unknown", "batchnorm"}


def test_a_class_that_builds_itself_smaller() -> None:
    build = "self.inner = Net(depth - 1) if depth else nn.Identity()\nself.b = nn.BatchNorm2d(3)"
    graph = body_of(build, "return self.b(self.inner(x))", parameters="depth=3")
    assert norms(graph)[-1].path == "b"


ENDLESS = {
    "mutual recursion": "def f(n):\n    return g(n + 1)\ndef g(n):\n    return f(n + 1)\nf(0)\n",
    "recursion in two": "def f(n):\n    return f(n - 1) + f(n - 2)\nf(10 ** 9)\n",
    "classes of each other": "class A:\n    def __init__(self):\n        self.b = B()\n"
    "class B:\n    def __init__(self):\n        self.a = A()\nA()\n",
    "a long loop": "n = 0\nfor i in range(2 ** 30):\n    n += i\n",
    "a long loop of layers": "layers = []\nfor i in range(2 ** 30):\n"
    "    layers.append(nn.ReLU())\nm = nn.Sequential(*layers)\n",
    "an endless loop": "n = 0\ndef wait():\n    while True:\n        pass\n",
    "nested loops": "".join(f"{'    ' * depth}for i{depth} in range(64):\n" for depth in range(12))
    + f"{'    ' * 12}n = nn.ReLU()\n",
    "nested comprehensions": "n = [[[[nn.ReLU() for a in range(60)] for b in range(60)] "
    "for c in range(60)] for d in range(60)]\n",
    "branches upon branches": "".join(
        f"if unknown({n}):\n    x{n} = nn.ReLU()\nelse:\n    x{n} = nn.Tanh()\n" for n in range(60)
    ),
    "a tower of powers": "n = 9 ** 9 ** 9\n",
    "a huge text": "n = 'ab' * 10 ** 12\n",
    "a huge list": "n = [0] * 10 ** 12\n",
    "a huge shift": "n = 1 << 10 ** 12\n",
    "a list of itself": "n = []\nn.append(n)\nm = nn.Sequential(*n)\nm.eval()\n",
    "a module of itself": "m = nn.Sequential(nn.ReLU())\nm.append(m)\nm.eval()\nm(torch.ones(1))\n",
    "a chain of lambdas": "f = lambda x: x\n"
    + "f = (lambda g: lambda x: g(g(x)))(f)\n" * 40
    + "f(1)\n",
    "a wild decorator": "def d(f):\n    return d(f)\n@d\ndef g():\n    pass\ng()\n",
    "a class that derives from itself": "A = 1\nclass A(A):\n    pass\n"
    "class A(A):\n    pass\nA()\n",
}


@pytest.mark.parametrize("text", ENDLESS.values(), ids=ENDLESS.keys())
def test_what_does_not_end_costs_little_and_hides_nothing_else(text: str) -> None:
    lines = WRONG.strip()
    assert [code for code, _ in codes_of(f"def other():\n    {lines}\n\n\n{text}")] == ["BNL401"]


def test_the_rest_of_a_class_is_drawn() -> None:
    text = (
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.n = sum(i * j for i in range(10 ** 6) for j in range(10 ** 6))\n"
        "        self.b = nn.BatchNorm2d(3)\n    def forward(self, x):\n        return self.b(x)\n"
    )
    (graph,) = graphs_of(text, "Net")
    assert feeds(graph) == "input"


@pytest.mark.parametrize("count", ["2**100", "-2**100", "0, 2**100, 2**99", "2**100, 0, -1"])
def test_a_range_that_has_no_length(count: str) -> None:
    text = f"for _ in range({count}):\n    bn = nn.BatchNorm2d(8, momentum=0.99)\n"
    assert [code for code, _ in codes_of(text)] == ["BNL401"]


LONG_WORK = "".join(
    f"def work{n}(thing):\n    work{n - 1}(thing)\n    work{n - 1}(thing)\n" for n in range(1, 15)
)
DECORATED = (
    "KNOWN = {}\n"
    "def work0(thing):\n    getattr(thing, '__doc__')\n"
    f"{LONG_WORK}"
    "def document(thing):\n    work14(thing)\n    return thing\n"
    "def register(thing):\n    KNOWN['net'] = thing\n    return thing\n"
)


def test_what_stands_below_many_decorators_that_take_long_is_seen() -> None:
    named = "".join(f"@document\nclass A{n}:\n    pass\n" for n in range(3))
    named += "".join(f"@document\ndef f{n}():\n    pass\n" for n in range(3))
    found = codes_of(f"{DECORATED}{named}def last():\n    {WRONG.strip()}\n")
    assert [code for code, _ in found] == ["BNL401"]


def test_what_a_decorator_that_takes_long_decorates_stays_what_it_is() -> None:
    text = (
        f"{DECORATED}@register\n@document\nclass Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.b = nn.BatchNorm2d(3)\n    def forward(self, x):\n        return self.b(x)\n"
        "def build():\n    return KNOWN['net']()\n"
    )
    (graph,) = graphs_of(text, "build")
    assert feeds(graph) == "input"
