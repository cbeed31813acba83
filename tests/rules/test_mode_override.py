"""BNL104 over records made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hand_made import at

from bnlint.finding import Finding, Severity
from bnlint.overrides import HiddenMethod, ModeMethod, ModeOverride, Reach
from bnlint.rules.base import Measured, Pictures
from bnlint.rules.bnl104 import RULE, check


def override(**more: object) -> ModeOverride:
    given: dict[str, object] = {
        "method": "train",
        "signature": "train(self, mode=True)",
        "place": at(3),
        "accepts": True,
        "reach": Reach.PASSED,
        "returns_self": True,
    } | more
    return ModeOverride("Net", **given)  # type: ignore[arg-type]


def judged(*methods: ModeMethod) -> list[Finding]:
    return list(check(Pictures(mode_methods=methods)))


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"reach": Reach.UNKNOWN, "accepts": None, "returns_self": None},
        {"reach": Reach.DISABLED},
        {"method": "eval", "signature": "eval(self)"},
    ],
)
def test_silent(more: dict[str, object]) -> None:
    assert judged(override(**more)) == []


@pytest.mark.parametrize(
    ("more", "severity", "words"),
    [
        ({"accepts": False}, Severity.ERROR, "raises TypeError"),
        ({"accepts": False, "reach": Reach.LOST}, Severity.ERROR, "raises TypeError"),
        ({"accepts": False, "has_own_eval": True}, Severity.WARNING, "`.eval()` of every model"),
        ({"accepts": False, "method": "eval"}, Severity.ERROR, "`model.eval()` raises TypeError"),
        ({"reach": Reach.LOST, "given": "loader"}, Severity.ERROR, "with False for `loader`"),
        ({"reach": Reach.LOST, "method": "eval"}, Severity.ERROR, "does not set evaluation mode"),
        ({"reach": Reach.FORCED}, Severity.ERROR, "whatever it is told"),
        ({"reach": Reach.FORCED, "returns_self": False}, Severity.ERROR, "whatever it is told"),
        ({"returns_self": False}, Severity.NOTE, "`model = Net().train()` is None"),
        (
            {"returns_self": False, "method": "eval", "signature": "eval(self)"},
            Severity.NOTE,
            "`model = Net().eval()` is None",
        ),
    ],
)
def test_what_breaks_the_switch(more: dict[str, object], severity: Severity, words: str) -> None:
    (finding,) = judged(override(**more))
    assert finding.severity is severity
    assert words in finding.message
    assert finding.place == at(3)
    assert finding.code == RULE.code


def test_a_class_is_reported_once() -> None:
    assert len(judged(override(reach=Reach.LOST), override(reach=Reach.LOST))) == 1
    assert len(judged(override(reach=Reach.LOST), override(reach=Reach.LOST, place=at(9)))) == 2


@pytest.mark.parametrize(
    ("hidden", "severity", "evidence"),
    [
        (HiddenMethod("Net", "train", at(5)), Severity.ERROR, 0),
        (HiddenMethod("Net", "eval", at(5)), Severity.ERROR, 0),
        (HiddenMethod("Net", "freeze", at(5), at(8), at(20)), Severity.ERROR, 2),
        (HiddenMethod("Net", "freeze", at(5), at(8)), Severity.WARNING, 1),
    ],
)
def test_an_attribute_that_hides_a_method(
    hidden: HiddenMethod, severity: Severity, evidence: int
) -> None:
    (finding,) = judged(hidden)
    assert finding.severity is severity
    assert f"Net.{hidden.attribute} hides" in finding.message
    assert len(finding.evidence) == evidence


@pytest.mark.parametrize(("path", "module"), [("encoder", "encoder"), ("", "Net")])
def test_a_run_names_the_module_and_the_text_none(path: str, module: str) -> None:
    broken = override(accepts=False, path=path)
    hidden = HiddenMethod("Net", "eval", at(5), path=path)
    pictures = Pictures(mode_methods=(broken, hidden))
    run = replace(pictures, measured=Measured(output={"batch": 8}))
    assert [finding.module for finding in check(pictures)] == [None, None]
    assert [finding.module for finding in check(run)] == [module, module]
