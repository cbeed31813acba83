"""In-place writes, recursion, loops with known ends, and objects changed after they were built."""

from __future__ import annotations

import pytest
from drawn import body_of, feeds, graph_of, net, norms, paths, reads

LAYERS = "self.c = nn.Conv2d(4, 4, 1)\nself.b = nn.BatchNorm2d(4)\nself.d = nn.BatchNorm2d(4)\n"


@pytest.mark.parametrize(
    ("forward", "fed"),
    [
        ("y = self.c(x)\nz = y\nF.relu(y, inplace=True)\nreturn self.b(z)", "activation"),
        ("y = self.c(x)\nz = y\ny = F.relu(y, True)\nreturn self.b(z)", "activation"),
        ("y = self.c(x)\nz = y\ny = nn.ReLU(True)(y)\nreturn self.b(z)", "activation"),
        ("y = self.c(x)\nz = y\ny += 1\nreturn self.b(z)", "add"),
        ("y = self.c(x)\nz = y.view(-1, 4, 1, 1)\nz.relu_()\nreturn self.b(y)", "activation"),
        ("y = self.c(x)\nz = nn.Identity()(y)\ny.relu_()\nreturn self.b(z)", "activation"),
        ("y = self.c(x)\nz = y.clone()\ny.relu_()\nreturn self.b(z)", "conv"),
        ("y = self.c(x)\ny.requires_grad_()\nreturn self.b(y)", "conv"),
        ("y = self.c(x)\nz = y\ny = F.relu(y)\nreturn self.b(z)", "conv"),
        ("a, b = self.c(x).chunk(2, 1)\na.relu_()\nreturn self.b(b)", "conv"),
        (
            "y = self.c(x)\nz = y\nif x.sum() > 0:\n    y.relu_()\nreturn self.b(z)",
            "activation conv",
        ),
        (
            "y = self.c(x)\nz = x if x.sum() > 0 else y\nz.relu_()\nreturn self.b(y)",
            "activation conv",
        ),
    ],
)
def test_a_write_in_place_is_seen_by_all_who_share_the_memory(forward: str, fed: str) -> None:
    assert feeds(body_of(LAYERS, forward)) == fed


def test_a_loop_over_the_parts_of_one_of_two_that_have_none_runs_no_round() -> None:
    forward = (
        "part = nn.ReLU() if x.sum() > 0 else nn.GELU()\n"
        "for name, child in part.named_children():\n"
        "    x = self.d(x)\n"
        "return self.b(x)"
    )
    drawn = body_of(LAYERS, forward)
    assert "d" not in paths(drawn)


@pytest.mark.parametrize(
    ("forward", "called"),
    [
        ("i = 0\nwhile i < 3:\n    x = self.b(x)\n    i += 1\nreturn x", 3),
        ("n = 4\nwhile n > 1:\n    x = self.b(x)\n    n //= 2\nreturn x", 2),
        ("n = 0\nwhile True:\n    x = self.b(x)\n    n += 1\n    if n == 3:\n        return x", 3),
        (
            "n = 2\nwhile n:\n    n -= 1\n    if n: continue\n    x = self.b(x)\nreturn x",
            1,
        ),
    ],
)
def test_a_while_whose_test_is_known_runs_as_often_as_it_does(forward: str, called: int) -> None:
    assert len(norms(body_of(LAYERS, forward))) == called


def test_a_while_that_depends_on_data_may_run_or_not() -> None:
    graph = body_of(
        LAYERS, "x = self.c(x)\nwhile x.sum() > 0:\n    x = F.relu(x)\nreturn self.b(x)"
    )
    assert feeds(graph) == "activation conv"


RECURSIVE = """\
class Net(nn.Module):
    def __init__(self, depth=4):
        super().__init__()
        self.bns = nn.ModuleList(self.build(4))

    def build(self, n):
        return [] if n == 0 else [nn.BatchNorm2d(4)] + self.build(n - 1)

    def run(self, n, x):
        x = self.bns[n](F.relu(x))
        return self.run(n - 1, x) if n else x

    def forward(self, x):
        return self.run(3, x)
"""


def test_a_recursion_over_constants_is_followed() -> None:
    assert paths(graph_of(RECURSIVE)) == ["bns.3", "bns.2", "bns.1", "bns.0"]


def test_a_recursion_without_end_is_unknown() -> None:
    text = net(LAYERS, "return self.again(x)") + (
        "    def again(self, x):\n        return self.b(self.again(x))\n"
    )
    assert feeds(graph_of(text)) == "unknown"


@pytest.mark.parametrize(
    ("build", "parameter", "value"),
    [
        ("self.b.eps = 1e-2", "eps", 1e-2),
        ("self.b.momentum = None", "momentum", None),
        ("for m in self.modules():\n    if isinstance(m, nn.BatchNorm2d):\n        m.eps = 1e-3",
         "eps", 1e-3),
    ],
)  # fmt: skip
def test_settings_changed_later_count(build: str, parameter: str, value: object) -> None:
    graph = body_of(LAYERS + build, "return self.b(x)")
    assert norms(graph)[0].params[parameter] == value


@pytest.mark.parametrize(
    ("build", "fed"),
    [
        ("self.s = nn.Sequential(self.c) + nn.Sequential(nn.ReLU())", "activation"),
        ("layers = [self.c, nn.ReLU()]\ndel layers[-1]\nself.s = nn.Sequential(*layers)", "conv"),
        ("layers = [self.c, nn.ReLU()]\ndel layers[0:1]\nself.s = nn.Sequential(*layers)",
         "activation"),
        ("options = {}\nself.s = F.relu if options else self.c", "conv"),
        ("table = {'a': 1}\nself.s = self.c if 'a' in table else F.relu", "conv"),
        ("self.s = self.c if not hasattr(self, 'missing') else F.relu", "conv"),
        ("self.s = self.c if hasattr(self, 'b') else F.relu", "conv"),
    ],
)  # fmt: skip
def test_containers_and_tables_are_followed(build: str, fed: str) -> None:
    assert feeds(body_of(LAYERS + build, "return self.b(self.s(x))")) == fed


@pytest.mark.parametrize(
    ("forward", "fed"),
    [
        ("return self.b(x.clamp(0, 1))", "call"),
        ("return self.b(-x)", "call"),
        ("return self.b(x ** 2)", "call"),
        ("return self.b(torch.where(x > 0, x, x))", "call"),
        ("return self.b(functools.reduce(lambda t, f: f(t), [self.c, F.relu], x))", "activation"),
        ("return self.b(torch.utils.checkpoint.elsewhere(self.c, x))", "unknown"),
    ],
)
def test_what_torch_calculates_is_known_even_without_a_kind(forward: str, fed: str) -> None:
    assert feeds(body_of(LAYERS, forward, before="import functools")) == fed


def test_super_forward_of_a_sequential_is_one_scope() -> None:
    text = net("self.s = Unit()", "return self.s(x)") + (
        "class Unit(nn.Sequential):\n    def __init__(self):\n"
        "        super().__init__(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))\n"
        "    def forward(self, x):\n        return F.relu(super().forward(x))\n"
    )
    assert [scope.path for scope in norms(graph_of(text))[0].scope] == ["", "s"]


def test_a_part_of_a_sequential_has_a_path_of_its_own() -> None:
    graph = body_of("self.s = nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4))", "return self.s[1:](x)")
    assert [scope.path for scope in norms(graph)[0].scope] == ["", "Sequential"]
    assert reads(graph) == "output"


def test_rounds_that_ask_for_the_mode_are_told_apart() -> None:
    forward = "for i in range(3):\n    x = self.b(x)\n    if self.training:\n        x = self.c(x)"
    assert len(norms(body_of(LAYERS, f"{forward}\nreturn x"))) == 3


def test_the_rest_of_an_unpacked_list_may_be_one_element() -> None:
    forward = "first, *rest = [self.c, F.relu]\nx = first(x)\nfor f in rest:\n    x = f(x)\n"
    assert feeds(body_of(LAYERS, f"{forward}return self.b(x)")) == "activation"


def test_a_tensor_filled_in_parts_holds_what_it_was_given() -> None:
    forward = "y = torch.zeros_like(x)\ny[:, :2] = self.c(x)[:, :2]\nreturn self.b(y)"
    assert feeds(body_of(LAYERS, forward)) == "call"
