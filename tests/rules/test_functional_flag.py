"""BNL105 over records made by hand."""

from __future__ import annotations

import pytest
from hand_made import at

from bnlint.finding import Finding
from bnlint.functional import Follows, ModeCall
from bnlint.rules.base import Measured, Pictures
from bnlint.rules.bnl105 import check


def judged(*, live: bool = False, **more: object) -> list[Finding]:
    given: dict[str, object] = {
        "function": "torch.nn.functional.dropout",
        "cls": "Net",
        "place": at(3),
        "follows": Follows.ALWAYS,
        "method": "forward",
        "rate": 0.5,
    } | more
    call = ModeCall(**given)  # type: ignore[arg-type]
    measured = Measured(output={"batch": 4}) if live else Measured()
    return list(check(Pictures(mode_calls=(call, call), measured=measured)))


@pytest.mark.parametrize(
    "more",
    [
        {"follows": Follows.MODE},
        {"follows": Follows.NEVER},
        {"follows": Follows.UNKNOWN},
        {"rate": 0},
        {"rate": 0.0},
        {"cls": "Prenet", "stated": True},
        {"cls": "MCDropout"},
        {"cls": "ClassifierMC"},
        {"cls": "BayesianNet"},
        {"method": "mc_sample"},
    ],
)
def test_silent(more: dict[str, object]) -> None:
    assert judged(**more) == []


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "no `training` argument"),
        ({"stated": True}, "its flag set to True"),
        ({"receiver": "this"}, "training=this.training"),
        ({"cls": "MCTSNet", "rate": None}, "it drops in evaluation mode"),
        ({"cls": "Mcdonalds"}, "it drops in evaluation mode"),
        (
            {"function": "torch.nn.functional.scaled_dot_product_attention", "rate": 0.1},
            "dropout_p that does not depend on the mode",
        ),
        ({"function": "torch.nn.functional.rrelu", "rate": None}, "its slopes are random"),
    ],
)
def test_what_drops_in_evaluation_mode(more: dict[str, object], words: str) -> None:
    (finding,) = judged(**more)
    assert words in finding.message
    assert finding.place == at(3)
    assert finding.fix is not None


@pytest.mark.parametrize(
    ("follows", "statistics", "words"),
    [
        (Follows.ALWAYS, True, "moves the statistics"),
        (Follows.ALWAYS, False, None),
        (Follows.ALWAYS, None, None),
        (Follows.NEVER, False, "raises an error"),
        (Follows.NEVER, True, None),
        (Follows.NEVER, None, None),
        (Follows.MODE, True, None),
    ],
)
def test_statistics_that_contradict_the_flag(
    follows: Follows, statistics: bool | None, words: str | None
) -> None:
    found = judged(
        function="torch.nn.functional.batch_norm", follows=follows, statistics=statistics, rate=None
    )
    assert [words in finding.message for finding in found if words] == ([True] if words else [])
    assert bool(found) is (words is not None)


def test_a_live_finding_names_the_module_and_has_no_fix() -> None:
    (finding,) = judged(live=True, path="block.1")
    assert (finding.module, finding.fix) == ("block.1", None)
