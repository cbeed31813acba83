"""Small pictures made by hand, for the tests of predicates."""

from __future__ import annotations

from collections.abc import Iterable

from bnlint.finding import Finding, Place
from bnlint.graph import Kind, LayerGraph, Node, Parameter, Scope
from bnlint.rules.base import Measured, Pictures, Rule
from bnlint.trace import Built, Forward, Mode, Model, ModeTrace, SensitiveLayer

BLOCK = Scope("", "net.Block")
OTHER = Scope("other", "net.Other")
SEQUENTIAL = Scope("features", "torch.nn.Sequential", container=True)

NAMES = {
    Kind.BATCHNORM: "torch.nn.BatchNorm2d",
    Kind.CONV: "torch.nn.Conv2d",
    Kind.LINEAR: "torch.nn.Linear",
    Kind.ACTIVATION: "torch.nn.ReLU",
    Kind.GATE: "torch.nn.Sigmoid",
    Kind.DROPOUT: "torch.nn.Dropout",
}
DEFAULTS: dict[Kind, dict[str, Parameter]] = {
    Kind.BATCHNORM: {
        "num_features": 8,
        "eps": 1e-5,
        "momentum": 0.1,
        "affine": True,
        "track_running_stats": True,
    },
    Kind.DROPOUT: {"p": 0.5, "inplace": False},
    Kind.CONV: {"dilation": 1, "groups": 1},
}
FUNCTIONS: dict[Kind, dict[str, Parameter]] = {Kind.BATCHNORM: {"eps": 1e-5, "momentum": 0.1}}
"""Parameters of functions, which have fewer."""


def at(line: int, path: str = "net.py") -> Place:
    return Place(path, line, 1, line, 20)


class Drawing:
    """Builds a layer graph node by node; every method returns the new node's id."""

    def __init__(self, title: str = "Block", binding: str = "", path: str = "net.py") -> None:
        self.title, self.binding, self.path = title, binding, path
        self.nodes: list[Node] = []

    def add(
        self,
        kind: Kind,
        *inputs: int | Iterable[int],
        name: str | None = None,
        scope: tuple[Scope, ...] = (BLOCK,),
        line: int | None = None,
        path: str = "",
        **params: Parameter,
    ) -> int:
        new = len(self.nodes)
        operands = tuple(frozenset([i] if isinstance(i, int) else i) for i in inputs)
        called = name or NAMES.get(kind, f"torch.{kind}")
        is_function = called.rpartition(".")[2][:1].islower() and kind in FUNCTIONS
        usual = (FUNCTIONS if is_function else DEFAULTS).get(kind, {})
        self.nodes.append(
            Node(
                new,
                kind,
                called,
                {**usual, **params},
                at(new + 1 if line is None else line, self.path),
                scope=scope,
                path=path,
                inputs=operands,
            )
        )
        return new

    def chain(self, *kinds: Kind) -> LayerGraph:
        """INPUT, the given kinds one after the other, OUTPUT."""
        last = self.add(Kind.INPUT)
        for kind in kinds:
            last = self.add(kind, last)
        self.add(Kind.OUTPUT, last)
        return self.graph()

    def graph(self) -> LayerGraph:
        return LayerGraph(self.title, tuple(self.nodes), self.binding)


def findings(rule: Rule, *graphs: LayerGraph, measured: Measured | None = None) -> list[Finding]:
    assert rule.check is not None
    return list(rule.check(Pictures(graphs=graphs, measured=measured or Measured())))


NORM, DROP = 0, 1
LAYERS = {
    NORM: SensitiveLayer(NORM, Kind.BATCHNORM, "torch.nn.BatchNorm2d", "bn", at(3)),
    DROP: SensitiveLayer(DROP, Kind.DROPOUT, "torch.nn.Dropout", "drop", at(4)),
}
MODEL = Model(0, "model", at(20, "test.py"), frozenset({NORM}))


def built(*layers: int, mode: Mode = Mode.TRAIN) -> Built:
    return Built(0, frozenset(layers or {NORM}), mode, at(20, "test.py"))


def forward(*layers: int, output: int = 0, line: int = 30, **more: object) -> Forward:
    given: dict[str, object] = {"grad": None, "model": 0} | more
    return Forward(
        layers=frozenset(layers or {NORM}),
        place=at(line, "test.py"),
        output=output,
        **given,  # type: ignore[arg-type]
    )


def trace(*body: object, is_test: bool = False, layers: object = None) -> ModeTrace:
    return ModeTrace(
        "test.py",
        body,  # type: ignore[arg-type]
        {0: MODEL, 1: Model(1, "teacher", None, frozenset({NORM}))},
        layers or LAYERS,  # type: ignore[arg-type]
        is_test,
    )


def judged(rule: Rule, *traces: ModeTrace, measured: Measured | None = None) -> list[Finding]:
    assert rule.check is not None
    return list(rule.check(Pictures(traces=traces, measured=measured or Measured())))


def lines(found: Iterable[Finding]) -> list[int]:
    return [finding.place.line for finding in found if finding.place is not None]
