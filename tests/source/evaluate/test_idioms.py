"""Registries, enumerations, generators, and tests of constants that decide the layer."""

from __future__ import annotations

import pytest
from drawn import body_of, feeds, norms, reads

LAYERS = "self.c = nn.Conv2d(4, 4, 1)\nself.b = nn.BatchNorm2d(4)\n"

REGISTRY = """\
REGISTRY = {}

def register(name):
    def wrap(cls):
        REGISTRY[name] = cls
        return cls
    return wrap

@register("unit")
class Unit(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(4, 4, 1)
    def forward(self, x):
        return self.c(x)
"""
TABLE = """\
TABLE = {"BN": ("bn", nn.BatchNorm2d), "GN": ("gn", nn.GroupNorm)}

def build(cfg, width):
    options = cfg.copy()
    kind = options.pop("type")
    name, cls = TABLE[kind]
    frozen = options.pop("frozen", False)
    options.setdefault("eps", 1e-3)
    if kind != "GN":
        layer = cls(width, **options)
    else:
        layer = cls(num_channels=width, **options)
    for p in layer.parameters():
        p.requires_grad = not frozen
    return name, layer
"""
ENUM = """\
import enum

class Norm(enum.Enum):
    BATCH = "batch"
    NONE = "none"

def norm(kind):
    return nn.Conv2d(4, 4, 1) if kind is Norm.BATCH else nn.ReLU()
"""


def test_a_class_decorator_of_the_project_runs() -> None:
    graph = body_of(LAYERS + "self.u = REGISTRY['unit']()", "return self.b(self.u(x))", REGISTRY)
    assert feeds(graph) == "conv"


def test_a_table_of_classes_makes_its_reader_relevant_and_pop_removes() -> None:
    (norm,) = norms(body_of("self.b = build({'type': 'BN'}, 4)[1]", "return self.b(x)", TABLE))
    assert (norm.params["num_features"], norm.params["eps"]) == (4, 1e-3)


@pytest.mark.parametrize("kind", ["Norm.BATCH", "Norm['BATCH']", "Norm('batch')", "list(Norm)[0]"])
def test_members_of_an_enumeration_are_told_apart(kind: str) -> None:
    graph = body_of(f"{LAYERS}self.u = norm({kind})", "return self.b(self.u(x))", ENUM)
    assert feeds(graph) == "conv"


def test_a_generator_gives_its_elements() -> None:
    forward = "for f in self.each():\n    x = f(x)\nreturn x"
    graph = body_of(LAYERS, forward)
    assert norms(graph) == []
    method = "def each(net):\n    yield net.c\n    yield from [F.relu, net.b]\n"
    graph = body_of(LAYERS, forward.replace("self.each()", "each(self)"), method)
    assert feeds(graph) == "activation"


@pytest.mark.parametrize(
    "test",
    [
        "any([0, 1])",
        "all(k > 0 for k in (1, 2))",
        "callable(F.relu)",
        "issubclass(nn.BatchNorm2d, nn.Module)",
        "(1, 2) == (1, 2)",
        "[1] != [2]",
        "not isinstance(False, nn.Module)",
        "list(filter(None, [0, 3])) == [3]",
        "sum([[1], [2]], []) == [1, 2]",
        "'a' in dict(a=1)",
        "'b' not in nn.ModuleDict({'a': self.c})",
        "({'a': 1} | {'b': 2})['b'] == 2",
    ],
)
def test_a_test_of_constants_is_decided(test: str) -> None:
    graph = body_of(f"{LAYERS}self.u = self.c if {test} else F.relu", "return self.b(self.u(x))")
    assert feeds(graph) == "conv"


def test_data_is_not_none() -> None:
    graph = body_of(LAYERS, "y = self.c(x)\nif y is not None:\n    x = y\nreturn self.b(x)")
    assert feeds(graph) == "conv"


def test_a_comparison_of_data_reads_it() -> None:
    assert reads(body_of(LAYERS, "x = self.b(x)\nreturn x * (x > 0).float()")) == "call mul"


def test_fields_of_records_are_given_by_position_or_name() -> None:
    record = (
        "from typing import NamedTuple\nclass Cfg(NamedTuple):\n    width: int = 8\n"
        "    eps: float = 1e-5\n"
    )
    build = "cfg = Cfg(4, eps=1e-2)\nself.b = nn.BatchNorm2d(cfg.width, cfg.eps)"
    (norm,) = norms(body_of(build, "return self.b(x)", record))
    assert (norm.params["num_features"], norm.params["eps"]) == (4, 1e-2)
