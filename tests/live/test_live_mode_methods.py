"""Overrides of `train` and `eval`, as the live half finds them: switched, and put back."""

from __future__ import annotations

import inspect

import pytest
import torch
from live_states import fingerprint
from torch import nn

import bnlint
from bnlint.live.mode_methods import candidates, mode_methods
from bnlint.live.places import Places
from bnlint.live.preserve import Preserve
from bnlint.overrides import HiddenMethod, ModeOverride, Reach


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.bn = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.5)
        self.calls = [0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop(self.bn(self.linear(x)).relu())


class Merging(Base):
    """As LoRA does: the weights change with the mode, in place."""

    def train(self, mode: bool = True) -> Merging:
        super().train(mode)
        self.calls[0] += 1
        self.linear.weight.data += -1.0 if mode else 1.0
        self.linear.weight.requires_grad_(mode)
        return self


class Forced(Base):
    def train(self, mode: bool = True) -> Forced:
        return super().train()


class Silent(Base):
    def train(self, mode: bool = True) -> Silent:
        self.told = mode
        return self


class Disabled(Base):
    def train(self, mode: bool = True) -> Disabled:
        """Stays as it is."""
        return self


class Loop(Base):
    def train(self, loader) -> None:
        for x in loader:
            self(x).sum().backward()


class NoMode(Base):
    def train(self) -> None:
        raise AssertionError("nobody calls this")


class Failing(Base):
    def train(self, mode: bool = True) -> Failing:
        super().train(mode)
        raise RuntimeError("not now")


class Sampling(Base):
    """Dropout stays on for Monte Carlo samples."""

    def train(self, mode: bool = True) -> Sampling:
        super().train(mode)
        self.drop.train()
        return self


class Returning(Base):
    def train(self, mode: bool = True) -> None:
        super().train(mode)


class Evaluating(Base):
    def eval(self, loader) -> float:
        return float(len(loader))


def found_in(model: nn.Module) -> list[object]:
    before = fingerprint(model)
    with Preserve(model) as preserve:
        found = list(mode_methods(candidates(model), preserve, Places()))
    assert fingerprint(model) == before
    return found


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize(
    ("cls", "reach", "returns"),
    [
        (Merging, Reach.PASSED, True),
        (Forced, Reach.FORCED, True),
        (Silent, Reach.LOST, True),
        (Disabled, Reach.DISABLED, None),
        (Failing, Reach.UNKNOWN, None),
        (Sampling, Reach.PASSED, True),
        (Returning, Reach.PASSED, False),
    ],
)
def test_a_class_is_switched_and_put_back(
    cls: type[nn.Module], reach: Reach, returns: bool | None, mode: bool
) -> None:
    model = cls()
    for part in model.modules():
        part.training = mode
    (override,) = found_in(nn.Sequential(model, nn.ReLU()))
    assert isinstance(override, ModeOverride)
    assert (override.accepts, override.reach, override.returns_self) == (True, reach, returns)
    assert override.place is not None
    assert override.path == "0"
    _, first = inspect.getsourcelines(cls.train)  # type: ignore[attr-defined]
    assert override.place.line == first


@pytest.mark.parametrize("cls", [Loop, NoMode])
def test_a_training_loop_is_not_run(cls: type[nn.Module]) -> None:
    (override,) = found_in(cls())
    assert isinstance(override, ModeOverride)
    assert override.accepts is (cls is Loop)
    assert override.reach is Reach.LOST


def test_an_eval_that_needs_arguments() -> None:
    (override,) = found_in(Evaluating())
    assert isinstance(override, ModeOverride)
    assert (override.method, override.accepts) == ("eval", False)


def test_what_torch_itself_overrides_is_left_alone() -> None:
    model = nn.Sequential(Base(), torch.compile(nn.Linear(4, 4)), nn.LSTM(4, 4))
    assert [c.name for c in candidates(Base())] == []
    assert found_in(model) == []


def test_flags_on_the_instance() -> None:
    model = Base()
    model.train = True  # type: ignore[assignment, method-assign]
    (hidden,) = found_in(nn.Sequential(model))
    assert isinstance(hidden, HiddenMethod)
    assert (hidden.cls, hidden.attribute, hidden.path) == ("Base", "train", "0")


def test_a_function_on_the_instance_is_no_flag() -> None:
    model = Base()
    model.train = lambda mode=True: model  # type: ignore[assignment, method-assign]
    assert found_in(model) == []


def test_a_check_says_it_and_leaves_no_trace() -> None:
    model, x = nn.Sequential(Merging(), Forced(), Returning()), torch.randn(8, 4)
    before = fingerprint(model)
    report = bnlint.check(model, x)
    assert fingerprint(model) == before
    found = [finding for finding in report.findings if finding.code == "BNL104"]
    assert sorted(finding.module or "" for finding in found) == ["1", "2"]


def test_a_watch_says_it_when_it_begins(told: list) -> None:
    model = nn.Sequential(Forced(), nn.Linear(4, 2))
    before = fingerprint(model)
    with bnlint.watch(model) as watching:
        assert [warning.message.finding.code for warning in told] == ["BNL104"]
        # torch's own hooks are those of the watch, as long as it lasts
        assert {**fingerprint(model), "torch": None} == {**before, "torch": None}
    assert fingerprint(model) == before
    assert [finding.code for finding in watching.findings] == ["BNL104"]


def test_a_watch_looks_at_no_usual_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a usual model is not copied")

    monkeypatch.setattr("bnlint.live.watch.Preserve", refuse)
    watching = bnlint.watch(nn.Sequential(Base(), nn.Linear(4, 2))).start()
    watching._listener.stop()
