"""What goes wrong in one part of the drawing costs that part only."""

from __future__ import annotations

import pytest

import bnlint
from bnlint.source.isolation import Isolation, exposed


def test_a_crash_is_kept_and_what_is_too_deep_is_unknown() -> None:
    isolation = Isolation()
    for error in (RecursionError("too deep"), KeyError("lost")):
        with isolation("drawing a class", None):
            raise error
    assert [crash.what for crash in isolation.crashes or ()] == ["drawing a class"]
    assert "KeyError" in (isolation.crashes or [])[0].error


@pytest.mark.parametrize("error", [RecursionError, KeyError])
def test_without_isolation_everything_is_raised(error: type[Exception]) -> None:
    with pytest.raises(error), exposed()("drawing a class", None):
        raise error


def test_a_module_that_holds_itself_is_drawn_once() -> None:
    text = """\
import torch.nn as nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.me = self
        self.bn = nn.BatchNorm2d(8, momentum=0.9)
    def forward(self, x):
        return x
    def features(self, x):
        return self.me.bn(x)
"""
    result = bnlint.lint_source(text)
    assert [finding.code for finding in result.findings] == ["BNL401"]
    assert not result.crashes
