"""BNL401, BNL402 on pictures made by hand."""

from __future__ import annotations

import pytest
from hand_made import Drawing, at, findings

from bnlint.finding import Finding, RemoveArgument, ReplaceArgument
from bnlint.graph import UNKNOWN, Kind
from bnlint.rules import bnl401, bnl402
from bnlint.rules.base import Rule

FUNCTION = "torch.nn.functional.batch_norm"
STATISTICS = {"running_mean": UNKNOWN}


def judged(rule: Rule, name: str | None = None, **params: object) -> list[Finding]:
    drawing = Drawing()
    drawing.add(Kind.BATCHNORM, drawing.add(Kind.INPUT), name=name, line=9, **params)  # type: ignore[arg-type]
    return findings(rule, drawing.graph())


@pytest.mark.parametrize(
    ("name", "params", "wrong"),
    [
        (None, {"momentum": 0.99}, True),
        (None, {"momentum": 0.51}, True),
        (None, {"momentum": 1.0}, True),
        (None, {"momentum": 0.5}, False),
        (None, {"momentum": 0.1}, False),
        (None, {"momentum": 1 - 0.99}, False),
        (None, {"momentum": None}, False),
        (None, {"momentum": UNKNOWN}, False),
        (None, {"momentum": True}, False),
        (None, {"momentum": "0.9"}, False),
        (None, {"momentum": 0.9, "track_running_stats": False}, False),
        (None, {"momentum": 0.9, "track_running_stats": UNKNOWN}, False),
        (FUNCTION, {"momentum": 0.9, **STATISTICS}, True),
        (FUNCTION, {"momentum": 1.0, **STATISTICS}, False),
        (FUNCTION, {"momentum": 0.9, "running_mean": None}, False),
        (FUNCTION, {"momentum": 0.9}, False),
        ("torch.batch_norm", {"momentum": 0.9, **STATISTICS}, True),
        ("torch.batch_norm", {"momentum": 1.0, **STATISTICS}, False),
    ],
)
def test_keras_momentum(name: str | None, params: dict[str, object], wrong: bool) -> None:
    assert bool(judged(bnl401.RULE, name, **params)) is wrong


@pytest.mark.parametrize(
    ("momentum", "text"),
    [(0.99, "0.01"), (0.9997, "0.0003"), (0.9, "0.1"), (0.6, "0.4"), (0.999999, "0.000001")],
)
def test_the_momentum_that_was_meant(momentum: float, text: str) -> None:
    (finding,) = judged(bnl401.RULE, momentum=momentum)
    assert finding.fix is not None
    assert finding.fix.intents == (ReplaceArgument(at(9), "momentum", f"momentum={text}"),)
    assert not finding.fix.safe
    assert f"write momentum={text}" in finding.message


def test_a_momentum_of_one_has_no_complement() -> None:
    (finding,) = judged(bnl401.RULE, momentum=1.0)
    assert finding.fix is None


@pytest.mark.parametrize(
    ("eps", "wrong"),
    [
        (0.8, True),
        (0.1, True),
        (64, True),
        (8, True),
        ("1e-5", True),
        (None, True),
        (False, True),
        ((1, 2), True),
        (1e-3, False),
        (0.0999, False),
        (0, True),
        (0.0, True),
        (-1e-5, True),
        (1e-12, False),
        (UNKNOWN, False),
    ],
)
def test_eps_misuse(eps: object, wrong: bool) -> None:
    assert bool(judged(bnl402.RULE, eps=eps)) is wrong


def test_an_eps_that_torch_refuses_is_not_taken_for_a_momentum() -> None:
    (finding,) = judged(bnl402.RULE, eps=0.0)
    assert "PyTorch refuses to train" in finding.message
    assert "momentum" not in finding.message
    assert finding.fix is not None
    assert finding.fix.intents == (RemoveArgument(at(9), "eps"),)


@pytest.mark.parametrize("name", [FUNCTION, "torch.nn.extra.batchnorm.Mine", "models.FrozenNorm"])
def test_an_eps_of_zero_is_judged_of_torch_s_own_layers_alone(name: str) -> None:
    assert not judged(bnl402.RULE, name, eps=0.0)
    assert judged(bnl402.RULE, name, eps=-1e-5)


def test_eps_that_repeats_the_features_is_named() -> None:
    (finding,) = judged(bnl402.RULE, eps=8, num_features=8)
    assert "the number of features" in finding.message
    assert finding.fix is not None
    assert finding.fix.intents == (RemoveArgument(at(9), "eps"),)


def test_the_positional_momentum_is_moved() -> None:
    (finding,) = judged(bnl402.RULE, eps=0.8)
    assert finding.fix is not None
    assert finding.fix.intents == (ReplaceArgument(at(9), "eps", "momentum=0.2"),)


def test_no_fix_where_a_momentum_is_given_too() -> None:
    (finding,) = judged(bnl402.RULE, eps=0.8, momentum=0.3)
    assert finding.fix is None


@pytest.mark.parametrize("rule", [bnl401.RULE, bnl402.RULE], ids=lambda rule: rule.code)
def test_one_finding_for_each_constructor(rule: Rule) -> None:
    drawing = Drawing(binding="width=64")
    first = drawing.add(Kind.INPUT)
    for path, line in (("a", 3), ("b", 3), ("c", 4)):
        drawing.add(Kind.BATCHNORM, first, line=line, path=path, momentum=0.9, eps=0.8)
    first_finding, second = findings(rule, drawing.graph())
    assert "1 more from this place" in first_finding.message
    assert "(width=64)" in first_finding.message
    assert second.place == at(4)


def test_without_a_place_the_module_is_named() -> None:
    drawing = Drawing()
    drawing.add(Kind.BATCHNORM, drawing.add(Kind.INPUT), path="layer1.bn", momentum=0.9)
    graph = drawing.graph()
    placeless = [
        type(n)(n.id, n.kind, n.name, n.params, path=n.path, inputs=n.inputs) for n in graph.nodes
    ]
    (finding,) = findings(bnl401.RULE, type(graph)("M", tuple(placeless)))
    assert (finding.place, finding.module, finding.fix) == (None, "layer1.bn", None)
