"""Layers in lists, dictionaries and containers -> the layer graph."""

from __future__ import annotations

import pytest
from drawn import body_of, feeds, graph_of, kinds, net, norms, paths

PAIR = "nn.ModuleList([nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)])"
NAMED = "nn.Sequential(OrderedDict([('c', nn.Conv2d(3, 8, 3)), ('b', nn.BatchNorm2d(8))]))"
LISTS = (
    "self.c = nn.ModuleList([nn.Conv2d(3, 3, 1) for _ in range(2)])\n"
    "self.b = nn.ModuleList([nn.BatchNorm2d(3) for _ in range(2)])"
)
TWICE = ["c.0", "b.0", "c.1", "b.1"]


@pytest.mark.parametrize(
    ("build", "forward", "wanted"),
    [
        (
            "self.f = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))",
            "return self.f(x)",
            "f.0 f.1",
        ),
        (
            "self.f = nn.Sequential(*[nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)])",
            "return self.f(x)",
            "f.0 f.1",
        ),
        (f"self.f = {NAMED}", "return self.f(x)", "f.c f.b"),
        (f"self.f = {NAMED}", "return self.f.b(self.f.c(x))", "f.c f.b"),
        (
            "d = OrderedDict()\nd['c'] = nn.Conv2d(3, 8, 3)\nd['b'] = nn.BatchNorm2d(8)\n"
            "self.f = nn.Sequential(d)",
            "return self.f(x)",
            "f.c f.b",
        ),
        (
            "self.f = nn.Sequential()\nself.f.add_module('c', nn.Conv2d(3, 8, 3))\n"
            "self.f.add_module('b', nn.BatchNorm2d(8))",
            "return self.f(x)",
            "f.c f.b",
        ),
        (
            "layers = [nn.BatchNorm2d(8)]\nlayers.append(nn.ReLU())\nlayers += [nn.ReLU()]\n"
            "layers.extend([nn.Tanh()])\nlayers.insert(0, nn.Conv2d(3, 8, 3))\nlayers.pop()\n"
            "self.f = nn.Sequential(*layers)",
            "return self.f(x)",
            "f.0 f.1 f.2 f.3",
        ),
        (
            "a = [nn.Conv2d(3, 8, 3)]\n"
            "self.f = nn.Sequential(*a, *([nn.BatchNorm2d(8)] + [nn.ReLU()]))",
            "return self.f(x)",
            "f.0 f.1 f.2",
        ),
        (f"self.f = {PAIR}", "for m in self.f:\n    x = m(x)\nreturn x", "f.0 f.1"),
        (f"self.f = {PAIR}", "return self.f[1](self.f[0](x))", "f.0 f.1"),
        (f"self.f = {PAIR}", "return self.f[-1](self.f[-2](x))", "f.0 f.1"),
        (f"self.f = {PAIR}", "for i, m in enumerate(self.f):\n    x = m(x)\nreturn x", "f.0 f.1"),
        (f"self.f = {PAIR}", "for m in self.f[:1]:\n    x = m(x)\nreturn self.f[1](x)", "f.0 f.1"),
        (f"self.f = {PAIR}", "for m in reversed(self.f):\n    x = m(x)\nreturn x", "f.1 f.0"),
        (
            f"self.f = {NAMED}",
            "for n, m in self.f.named_children():\n    x = m(x)\nreturn x",
            "f.c f.b",
        ),
        (
            f"self.f = {NAMED}",
            "for m in self.f._modules.values():\n    x = m(x)\nreturn x",
            "f.c f.b",
        ),
        (
            f"net = {NAMED}\nself.f = nn.Sequential(*list(net.children())[:-1])",
            "return self.f(x)",
            "f.0",
        ),
        (
            "self.f = nn.ModuleDict({'c': nn.Conv2d(3, 8, 3), 'b': nn.BatchNorm2d(8)})",
            "return self.f['b'](self.f['c'](x))",
            "f.c f.b",
        ),
        (
            "self.f = nn.ModuleDict({'c': nn.Conv2d(3, 8, 3)})\nself.f['b'] = nn.BatchNorm2d(8)",
            "for name, m in self.f.items():\n    x = m(x)\nreturn x",
            "f.c f.b",
        ),
        (LISTS, "for c, b in zip(self.c, self.b):\n    x = b(c(x))\nreturn x", " ".join(TWICE)),
        (
            LISTS,
            "for i in range(len(self.c)):\n    x = self.b[i](self.c[i](x))\nreturn x",
            " ".join(TWICE),
        ),
        (
            LISTS,
            "for i, c in enumerate(self.c):\n    x = self.b[i](c(x))\nreturn x",
            " ".join(TWICE),
        ),
        (
            "for i in range(2):\n    setattr(self, f'c{i}', nn.Conv2d(3, 3, 1))\n"
            "    setattr(self, 'b%d' % i, nn.BatchNorm2d(3))",
            "for i in range(2):\n"
            "    x = getattr(self, 'b' + str(i))(getattr(self, f'c{i}')(x))\nreturn x",
            "c0 b0 c1 b1",
        ),
        ("self.add_module('c', nn.Conv2d(3, 8, 3))", "return self.c(x)", "c"),
        (
            "self.f = nn.Sequential(nn.Conv2d(3, 8, 3))\nself.f.b = nn.BatchNorm2d(8)",
            "return self.f(x)",
            "f.0 f.b",
        ),
    ],
)
def test_the_order_and_the_names_of_calls(build: str, forward: str, wanted: str) -> None:
    assert " ".join(paths(body_of(build, forward))) == wanted


@pytest.mark.parametrize(
    ("loop", "forward"),
    [
        ("self.f = nn.ModuleList()\nfor _ in range(n):\n    self.f.append(BLOCK)", "LOOP"),
        (
            "layers = []\nfor _ in range(n):\n    layers += [BLOCK]\n"
            "self.f = nn.Sequential(*layers)",
            "",
        ),
        ("self.f = nn.Sequential(*[BLOCK for _ in range(n)])", ""),
        ("self.f = nn.ModuleList([BLOCK for _ in range(n)])", "LOOP"),
    ],
)
def test_a_loop_of_unknown_length_has_a_first_and_later_rounds(loop: str, forward: str) -> None:
    block = "nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1))"
    run = "for m in self.f:\n    x = m(x)\nreturn x" if forward else "return self.f(x)"
    graph = body_of(loop.replace("BLOCK", block), run, parameters="n")
    fed = {feeds(graph, index) for index in range(len(norms(graph)))}
    assert {kind for one in fed for kind in one.split()} == {"input", "conv"}


def test_the_last_layer_of_a_loop_is_one_of_several() -> None:
    build = (
        "self.f = nn.Sequential()\nfor i in range(3):\n    self.f.append(nn.Conv2d(3, 3, 1))\n"
        "    if i < 2:\n        self.f.append(nn.BatchNorm2d(3))"
    )
    graph = body_of(build, "return self.f(x)")
    assert kinds(graph) == "conv batchnorm conv batchnorm conv"


def test_subclasses_of_containers() -> None:
    before = (
        "class Block(nn.Sequential):\n    def __init__(self, i, o):\n"
        "        super().__init__(nn.Conv2d(i, o, 3), nn.BatchNorm2d(o))\n\n"
        "class Entries(nn.ModuleDict):\n    def __init__(self):\n        super().__init__()\n"
        "        for i in range(2):\n            self.add_module(f'n{i}', nn.BatchNorm2d(3))\n\n"
        "    def forward(self, x):\n        for name, layer in self.items():\n"
        "            x = layer(x)\n        return x\n\n"
        "class Rows(nn.ModuleList):\n    def forward(self, x):\n        for m in self:\n"
        "            x = m(x)\n        return x\n"
    )
    build = (
        "self.a = Block(3, 3)\nself.b = Entries()\nself.c = Rows([nn.ReLU(), nn.BatchNorm2d(3)])"
    )
    graph = body_of(build, "return self.c(self.b(self.a(x)))", before)
    assert paths(graph) == ["a.0", "a.1", "b.n0", "b.n1", "c.0", "c.1"]
    scopes = [[s.cls.rpartition(".")[2] for s in node.scope] for node in norms(graph)]
    assert scopes == [["Net", "Block"], ["Net", "Entries"], ["Net", "Entries"], ["Net", "Rows"]]


def test_containers_bound_no_block() -> None:
    build = (
        "self.f = nn.Sequential(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()), nn.BatchNorm2d(3))"
    )
    (norm,) = norms(graph_of(net(build, "return self.f(x)")))
    assert norm.block is not None
    assert norm.block.path == ""
    assert [scope.container for scope in norm.scope] == [False, True]


def test_two_loops_of_unknown_length_fill_one_list() -> None:
    graph = body_of(
        "layers = []\n"
        "for _ in range(n):\n    layers.append(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()))\n"
        "for _ in range(m):\n    layers.append(nn.Sequential(nn.Conv2d(3, 3, 3), nn.Tanh()))\n"
        "self.f = nn.ModuleList(layers)\nself.bn = nn.BatchNorm2d(3)",
        "return self.bn(self.f[int(x.mean())](x))",
        parameters="n, m",
    )
    fed = {node.short_name for node in graph.producers(norms(graph)[0])}
    assert fed == {"ReLU", "Tanh"}


FOUR = "nn.ModuleList([nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 1), nn.Tanh()])"


@pytest.mark.parametrize(
    ("part", "fed"),
    [
        ("self.f[:2]", {"f.1"}),
        ("self.f[:n]", {"input", "f.0", "f.1", "f.2", "f.3"}),
        ("self.f[2:n]", {"input", "f.2", "f.3"}),
        ("self.f[n:-1]", {"input", "f.0", "f.1", "f.2"}),
        ("self.f[::n]", {"input", "f.0", "f.1", "f.2", "f.3"}),
        ("self.f[n:m]", {"input", "f.0", "f.1", "f.2", "f.3"}),
    ],
)
def test_a_slice_may_begin_and_end_where_nobody_can_tell(part: str, fed: set[str]) -> None:
    build = f"self.f = {FOUR}\nself.last = nn.BatchNorm2d(3)"
    forward = f"n, m = torch.load('n')\nfor m in {part}:\n    x = m(x)\nreturn self.last(x)"
    graph = body_of(build, forward)
    (norm,) = norms(graph)
    names = {node.id: node.path or node.kind.value for node in graph.nodes}
    assert {names[number] for number in norm.inputs[0]} == fed
    assert [node.path for node in graph.nodes if node.path in fed] == sorted(fed - {"input"})
