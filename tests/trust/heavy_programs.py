"""Small ways to make much work for whoever follows a program: valid Python, all of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hostile_inputs import Inputs
from nesting import HEAD

NET: Final = """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())

    def forward(self, x):
        return self.body(x)


"""


def _classes(n: int) -> str:
    return "".join(NET.replace("Net", f"Net{i}") for i in range(n))


def _hierarchy(n: int) -> str:
    deeper = "".join(f"class Net{i}(Net{i - 1}):\n    pass\n\n\n" for i in range(1, n))
    return f"{NET.replace('Net', 'Net0')}{deeper}Net{n - 1}().eval()\n"


def _diamonds(n: int) -> str:
    lines = ["class A0(nn.Module): pass\nclass B0(nn.Module): pass\n"]
    lines += [
        f"class A{i}(A{i - 1}, B{i - 1}): pass\nclass B{i}(A{i - 1}, B{i - 1}): pass\n"
        for i in range(1, n)
    ]
    return f"{''.join(lines)}A{n - 1}().train()\n"


def _calls(n: int) -> str:
    """Each function calls the next one twice: 2^n calls."""
    lines = [f"def f{i}(m):\n    f{i + 1}(m)\n    f{i + 1}(m)\n    m.eval()\n" for i in range(n)]
    return f"{NET}{''.join(lines)}def f{n}(m):\n    m.train()\nf0(Net())\n"


def _branches(n: int) -> str:
    lines = [f"if flag{i}:\n    m.eval()\nelse:\n    m.train()\n" for i in range(n)]
    return f"{NET}m = Net()\n{''.join(lines)}m(torch.ones(1))\n"


def _sequential(n: int) -> str:
    layers = "nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), " * n
    return f"net = nn.Sequential({layers})\nnet(torch.ones(3))\n"


def _methods(n: int) -> str:
    calls = "".join(f"        x = self.m{i}(x)\n" for i in range(n))
    defined = "".join(f"    def m{i}(self, x):\n        return self.body(x)\n" for i in range(n))
    forward = f"    def forward(self, x):\n{calls}        return x\n"
    return f"{NET}class Big(Net):\n{defined}{forward}\nBig()\n"


def _recursion(n: int) -> str:
    return f"""{NET}
class Tree(nn.Module):
    def __init__(self, depth):
        super().__init__()
        self.parts = nn.ModuleList([Tree(depth - 1) for _ in range({n})])
        self.norm = nn.BatchNorm2d(8)
        self.me = self

    def forward(self, x):
        for part in self.parts:
            x = part(x) + self.me(x)
        return self.norm(x)


tree = Tree({n})
tree.parts.append(tree)
tree.eval()
print(tree(torch.ones(1)))
"""


def _itself(n: int) -> str:
    lines = "".join(f"a{i} = lambda *a, **k: a{(i + 1) % n}(*a, a{i}, **k)\n" for i in range(n))
    knot = "a = [a0]\na.append(a)\na[1][1][1](a)\nd = {}\nd['d'] = d\nd['d']['d'].x\na0(a0)\n"
    return lines + knot


def _doubling(n: int) -> str:
    start = "x = [nn.BatchNorm2d(8)]\ny = []\nz = ()\ns = 'ab'\ni = 3\n"
    lines = "x = x + x\ny = [y, y]\nz = (z, *z)\ns = s * 2 + s\ni = i * i\n" * n
    return f"{start}{lines}net = nn.Sequential(*x)\nnet(y)\n"


def _comprehension(n: int) -> str:
    return (
        f"net = nn.Sequential(*[nn.BatchNorm2d(i) for i in range({n}) for j in range({n})])\n"
        f"for i in range({n}):\n    for j in range({n}):\n"
        "        net.add_module(str(i * j), nn.ReLU())\n"
        "net(torch.ones(1))\n"
    )


def _loops(n: int) -> str:
    body = "".join("    " * (i + 1) + f"for a{i} in b{i}:\n" for i in range(min(n, 18)))
    inner = "    " * (min(n, 18) + 1)
    return f"{NET}def f(m):\n{body}{inner}m.train()\n{inner}m(a0)\n{inner}m.eval()\nf(Net())\n"


def _tries(n: int) -> str:
    lines = "".join(
        f"try:\n    m.eval()\nexcept E{i}:\n    m.train()\nfinally:\n    m(x)\n" for i in range(n)
    )
    return f"{NET}m = Net()\nx = torch.ones(1)\n{lines}"


def _decorated(n: int) -> str:
    return (
        "def d(f):\n    def g(*a):\n        return f(*a)\n    return g\n"
        + "@d\n" * min(n, 150)
        + f"def f(m):\n    m.eval()\n    return m\n\n\n{NET}f(Net())(torch.ones(1))\n"
    )


def _dictionary(n: int) -> str:
    items = ", ".join(f"'{i}': nn.Sequential(nn.ReLU(), nn.BatchNorm2d({i}))" for i in range(n))
    return f"nets = {{{items}}}\nfor name, net in nets.items():\n    net.eval()\n    net(name)\n"


def _training(n: int) -> str:
    step = """\
for x, y in loader:
    loss = F.cross_entropy(m(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
m.eval()
with torch.no_grad():
    print(m(x).argmax(1))
"""
    start = "m = Net()\noptimizer = torch.optim.SGD(m.parameters(), 0.1)\n"
    return f"{NET}{start}loader = torch.load('x')\n{step * n}"


def _generators(n: int) -> str:
    lines = "".join(f"def g{i}():\n    yield from g{i + 1}()\n    yield 1\n" for i in range(n))
    return f"{lines}def g{n}():\n    yield nn.BatchNorm2d(8)\nnet = nn.Sequential(*g0())\nnet(1)\n"


def _functions(n: int) -> str:
    return NET + "".join(
        f"def f{i}(m, x):\n    m.eval()\n    return m(x).argmax(1)\n" for i in range(n)
    )


def _attributes(n: int) -> str:
    lines = "".join(f"        self.a{i} = nn.BatchNorm2d({i})\n" for i in range(1, n))
    runs = "".join(f"        x = self.a{i}(x)\n" for i in range(1, n))
    return (
        f"class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n{lines}"
        f"    def forward(self, x):\n{runs}        return x\n\n\nNet().eval()\n"
    )


def _additions(n: int) -> str:
    lines = "".join(f"    x{i} = F.relu(x{i - 1}) + x{i // 2}\n" for i in range(1, n))
    return f"def f(x0):\n{lines}    return x{n - 1}\n\n\nf(torch.ones(1))\n"


def _suppressed(n: int) -> str:
    return "x = nn.BatchNorm2d(8, 0.9)  # bnlint: ignore[BNL401, BNL402, BNL901] for good\n" * n


PROGRAMS: Final[dict[str, Callable[[int], str]]] = {
    "classes": _classes,
    "a hierarchy": _hierarchy,
    "diamonds": _diamonds,
    "calls": _calls,
    "branches": _branches,
    "a Sequential": _sequential,
    "methods": _methods,
    "recursion": _recursion,
    "what refers to itself": _itself,
    "doubling": _doubling,
    "comprehensions": _comprehension,
    "loops": _loops,
    "tries": _tries,
    "decorators": _decorated,
    "dictionaries": _dictionary,
    "training": _training,
    "generators": _generators,
    "functions": _functions,
    "attributes": _attributes,
    "additions": _additions,
    "suppressions": _suppressed,
}
SIZES: Final = (20, 200, 2_000)
LARGEST: Final = {"classes": 2_200, "functions": 6_000}
"""What still passes the guard: 20,000 lines, 200,000 nodes."""


def heavy() -> Inputs:
    """Every program at every size."""
    for name, make in PROGRAMS.items():
        for size in (*SIZES, LARGEST.get(name, 5_000)):
            yield f"{name} {size}.py", f"{HEAD}{make(size)}".encode()
