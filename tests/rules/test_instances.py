"""Two layers that one line of the program builds: the source half knows one layer, a run two."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hand_made import Drawing, findings

from bnlint.finding import Finding
from bnlint.graph import Kind, LayerGraph, Scope
from bnlint.rules import find_rule
from bnlint.rules.base import Measured

UNITS = {
    "BNL201": (Kind.CONV, Kind.ACTIVATION, Kind.BATCHNORM, Kind.CONV),
    "BNL202": (Kind.DROPOUT, Kind.BATCHNORM, Kind.CONV),
    "BNL203": (Kind.CONV, Kind.BATCHNORM, Kind.DROPOUT),
    "BNL204": (Kind.DROPOUT, Kind.CONV, Kind.BATCHNORM, Kind.ACTIVATION),
    "BNL205": (Kind.CONV, Kind.BATCHNORM, Kind.ACTIVATION),
    "BNL209": (Kind.CONV, Kind.BATCHNORM, Kind.ATTENTION),
    "BNL405": (Kind.BATCHNORM, Kind.ACTIVATION),
}
"""What makes each rule speak; the layers of the first unit and of the second have one line each."""
SETTINGS = {Kind.BATCHNORM: {"affine": False}, Kind.CONV: {"bias": True}}


def drawn_twice(unit: tuple[Kind, ...], classes: tuple[str, str]) -> LayerGraph:
    """Two units, one after the other, each in a block of its own of one of these classes."""
    drawing = Drawing(title="Net")
    last = drawing.add(Kind.INPUT)
    for number, cls in enumerate(classes):
        scope = (Scope(f"blocks.{number}", cls),)
        for line, kind in enumerate(unit, 10):
            name = "torch.nn.BatchNorm1d" if kind is Kind.BATCHNORM else None
            last = drawing.add(
                kind,
                last,
                name=name,
                scope=scope,
                line=line if classes[0] == classes[1] else line + 20 * number,
                path=f"blocks.{number}.layer{line}",
                **SETTINGS.get(kind, {}),
            )
    drawing.add(Kind.OUTPUT, last)
    return drawing.graph()


def told(code: str, *classes: str, live: bool) -> list[Finding]:
    rule = find_rule(code)
    assert rule is not None
    graph = drawn_twice(UNITS[code], classes)  # type: ignore[arg-type]
    return findings(rule, graph, measured=Measured(output={"batch": 8}) if live else None)


@pytest.mark.parametrize("code", sorted(UNITS.keys() - {"BNL205"}))
def test_a_run_counts_modules_and_the_text_constructors(code: str) -> None:
    (from_text,) = told(code, "net.Block", "net.Block", live=False)
    (from_run,) = told(code, "net.Block", "net.Block", live=True)
    assert "1 more in the same class" not in from_text.message
    assert "1 more in the same class" in from_run.message
    assert from_run.module is not None
    assert from_run.module.startswith("blocks.0.")


@pytest.mark.parametrize("code", ["BNL205"])
def test_a_bias_is_told_for_each_module_of_a_run(code: str) -> None:
    (from_text,) = told(code, "net.Block", "net.Block", live=False)
    from_run = told(code, "net.Block", "net.Block", live=True)
    assert "and 1 more from this place" in from_text.message
    assert [finding.module for finding in from_run] == ["blocks.0.layer10", "blocks.1.layer10"]


@pytest.mark.parametrize("code", ["BNL202", "BNL205", "BNL209", "BNL405"])
def test_the_parameters_that_make_it_true_are_named(code: str) -> None:
    rule = find_rule(code)
    assert rule is not None
    graph = drawn_twice(UNITS[code], ("net.Block", "net.Block"))
    (plain,) = findings(rule, graph)
    (bound,) = findings(rule, replace(graph, binding="width=64"))
    assert bound.message.replace(" (width=64)", "") == plain.message != bound.message


@pytest.mark.parametrize("code", sorted(UNITS))
@pytest.mark.parametrize("live", [False, True], ids=["source", "run"])
def test_two_classes_are_two_findings(code: str, live: bool) -> None:
    found = told(code, "net.Block", "net.Other", live=live)
    assert [f.place.line // 30 for f in found if f.place is not None] == [0, 1]
    assert not any("more in the same class" in finding.message for finding in found)
