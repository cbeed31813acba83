"""Whatever goes wrong in the middle of a check, the model comes back; or it is told that not.

The long form, over ten architectures, is `benchmarks/live_faults.py`.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import signal
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import numpy
import pytest
import torch
from faults import LIES, NAMES, VALUES, Subject, installed, measured, trial
from live_states import fingerprint
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from bnlint.live.check import check
from bnlint.live.errors import BatchNormWarning
from bnlint.live.interrupts import Shield
from bnlint.live.preserve import Preserve
from bnlint.live.weights import checksum


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.drop = nn.Dropout2d(0.3)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.BatchNorm1d(5))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(self.stem(x)))


DATA = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def subject() -> Subject:
    torch.manual_seed(0)
    return measured(Small(), (DATA,))


def fresh(subject: Subject) -> Subject:
    torch.manual_seed(0)
    return Subject(Small(), subject.inputs, subject.seconds, subject.restoring, subject.measuring)


@pytest.mark.parametrize("name", NAMES)
def test_the_model_comes_back(name: str, subject: Subject) -> None:
    for seed in range(3):
        verdict = trial(name, fresh(subject), seed, plot=name in VALUES and not seed)
        assert verdict.is_right(name), (name, seed, verdict)


HARMLESS = {"remove hooks", "leave a thread"}
"""Lies that change nothing of a model that has no hooks, or nothing at all."""


@pytest.mark.parametrize("name", sorted(set(LIES) - HARMLESS))
def test_without_a_check_around_it_a_lie_changes_something(name: str, subject: Subject) -> None:
    lied = fresh(subject)
    before = fingerprint(lied.model)
    with Preserve(nn.Linear(1, 1)):  # torch's own state comes back in the end
        installed(name, lied, random.Random(1))
        with contextlib.suppress(Exception):
            lied.model(*lied.inputs)
        assert fingerprint(lied.model) != before


def lying(lie: Callable[[nn.Module], object]) -> Small:
    """A network of which the first layer does something after each call."""
    model = Small()
    model.stem[0].register_forward_hook(lambda module, *_: lie(model) and None)
    return model


def test_weights_that_another_thread_wrote_are_named() -> None:
    def lie(model: nn.Module) -> None:
        def work() -> None:
            with torch.no_grad():
                model.head[1].weight.view(-1)[7] += 1

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    model = lying(lie)
    with pytest.warns(BatchNormWarning, match=r"head\.1\.weight is not as it was"):
        told = told_of(model)
    assert any(text.startswith("head.1.weight: its values were changed") for text in told)


def told_of(model: nn.Module) -> list[str]:
    report = check(model, DATA)
    return [f"{u.name}: {u.reason}" for u in report.uninspected]


def test_a_thread_that_goes_on_is_named() -> None:
    over = threading.Event()

    def lie(model: nn.Module) -> None:
        threading.Thread(target=over.wait, name="busy", daemon=True).start()

    with pytest.warns(BatchNormWarning, match="has started the thread 'busy'"):
        told = told_of(lying(lie))
    over.set()
    assert any("'busy', which is still running" in text for text in told)


class Holding(Small):
    def __init__(self, held: object) -> None:
        super().__init__()
        self.held = held


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        (itertools.count(), "it holds a count, which cannot be turned back"),
        (iter([1, 2]), "it holds a list_iterator"),
        ((n for n in range(3)), "it holds a generator"),
        (nested(8), "deeper than 6 levels"),
        ([[n] for n in range(200_001)], "more than 200000 values"),
        (list(range(300_000)), None),
        (nested(3), None),
    ],
)
def test_what_cannot_be_remembered_is_said(held: object, reason: str | None) -> None:
    told = [text for text in told_of(Holding(held)) if "not put back" in text]
    assert (len(told), not reason or reason in told[0]) == (0 if reason is None else 1, True)


class Stubborn(OrderedDict):
    """A dictionary that refuses what it was not made for."""

    def __setitem__(self, key: object, value: object) -> None:
        if "full" in self:
            raise TypeError("no more")
        super().__setitem__(key, value)

    def clear(self) -> None:
        raise TypeError("never")


def test_containers_with_methods_of_their_own_are_put_back() -> None:
    stubborn = Stubborn(a=1, b=2)
    model = lying(lambda model: stubborn.update(full=True))
    model.held = stubborn
    before = fingerprint(model)
    check(model, DATA)
    assert list(stubborn.items()) == [("a", 1), ("b", 2)]
    assert fingerprint(model) == before


def test_arrays_and_bytes_are_put_back() -> None:
    model = Small()
    model.array, model.bytes = numpy.arange(6.0), bytearray(b"abc")
    model.array.flags.writeable = False

    def lie(*_: object) -> None:
        model.array.flags.writeable = True
        model.array[0] = 7
        model.bytes += b"d"

    model.stem.register_forward_hook(lie)
    before = fingerprint(model)
    check(model, DATA)
    assert fingerprint(model) == before
    assert model.bytes == b"abc" and not model.array.flags.writeable


def test_a_checksum_sees_every_exchange() -> None:
    data = torch.arange(20_000.0)
    sums = checksum(data)
    for first, second in ((0, 1), (2, 8195), (19_998, 19_999)):
        changed = data.clone()
        changed[[first, second]] = data[[second, first]]
        same = [torch.equal(a, b) for a, b in zip(checksum(changed), sums)]
        assert not all(same), (first, second)
    assert all(torch.equal(a, b) for a, b in zip(checksum(data.clone()), sums))


class Quiet(TorchDispatchMode):
    def __torch_dispatch__(
        self, func: Any, types: object, args: Any = (), kwargs: Any = None
    ) -> Any:
        return func(*args, **(kwargs or {}))


def test_torchs_own_state_is_put_back() -> None:
    def lie(model: nn.Module) -> None:
        torch.set_default_dtype(torch.float64)
        torch.set_deterministic_debug_mode("warn")
        Quiet().__enter__()

    model = lying(lie)
    before = fingerprint(model), torch.get_deterministic_debug_mode()
    check(model, DATA)
    assert (fingerprint(model), torch.get_deterministic_debug_mode()) == before


def test_hooks_of_weights_are_those_of_before() -> None:
    def lie(model: nn.Module) -> None:
        model.head[1].weight._backward_hooks.clear()
        model.head[1].weight.register_hook(lambda gradient: gradient * 0)

    model = lying(lie)
    kept = model.head[1].weight.register_hook(lambda gradient: gradient * 2)
    before = list(model.head[1].weight._backward_hooks.items())
    check(model, DATA)
    assert list(model.head[1].weight._backward_hooks.items()) == before
    kept.remove()


# --- signals ---------------------------------------------------------------------------------


@pytest.fixture
def alarms() -> Iterator[list[str]]:
    """A handler that only notes; and what it has noted."""
    noted: list[str] = []
    before = signal.signal(signal.SIGALRM, lambda *_: noted.append("alarm"))
    yield noted
    signal.signal(signal.SIGALRM, before)


def test_signals_wait_until_the_shield_is_lowered(alarms: list[str]) -> None:
    handler = signal.getsignal(signal.SIGALRM)
    with Shield() as shield:
        signal.raise_signal(signal.SIGALRM)
        assert alarms == []
        with shield.lowered():
            assert alarms == ["alarm"]
            signal.raise_signal(signal.SIGALRM)
            signal.raise_signal(signal.SIGALRM)
            assert alarms == ["alarm"] * 3
        signal.raise_signal(signal.SIGALRM)
        assert alarms == ["alarm"] * 3
    assert alarms == ["alarm"] * 4
    assert signal.getsignal(signal.SIGALRM) is handler


@pytest.fixture
def interrupts() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, also where a shell has started the tests in the background,
    which ignores it there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
def test_after_an_interrupt_the_next_one_waits(alarms: list[str]) -> None:
    noted: list[str] = []
    with pytest.raises(KeyboardInterrupt), Shield() as shield:
        try:
            with shield.lowered():
                signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGALRM)
            noted += alarms
    assert (noted, alarms) == ([], ["alarm"])


def test_on_another_thread_there_is_nothing_to_hold_back(alarms: list[str]) -> None:
    handlers = []

    def work() -> None:
        with Shield():
            handlers.append(signal.getsignal(signal.SIGALRM))

    before = signal.getsignal(signal.SIGALRM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [before]
