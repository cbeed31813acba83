"""Faults of a model, or of the machine, in the middle of a check.

Each fault is installed on a model before its state is noted: hooks at random layers that raise, or
that do to the model what a forward should not; signals and errors at random lines of bnlint's own
code, and at random times. `trial` runs one check and says whether the model came back.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lies import LIES, THREADS, TOLD, Lie
from live_states import fingerprint
from torch import Tensor, nn

import bnlint.live
from bnlint.live.check import check
from bnlint.live.errors import BatchNormWarning

OWN = str(Path(bnlint.live.__file__).parent)
RESTORING = ("preserve.py", "snapshot.py", "weights.py", "hooks.py", "randomness.py")
RESTORING += ("surroundings.py", "interrupts.py", "tensors.py", "check.py")


@dataclass
class Subject:
    """A model that is checked. seconds: what an undisturbed check of it takes; restoring,
    measuring: the lines of bnlint's that run in it."""

    model: nn.Module
    inputs: tuple[Tensor, ...]
    seconds: float
    restoring: int
    measuring: int


# --- exceptions ------------------------------------------------------------------------------


Armed = AbstractContextManager[None]
"""What is around the check itself, and nothing else."""


def raising(error: Callable[[], BaseException]) -> Callable[[Subject, random.Random], Armed]:
    """An error at a random call of a random layer."""

    def fault(subject: Subject, chance: random.Random) -> Armed:
        module = chance.choice(list(subject.model.modules()))
        left = chance.randint(1, 4)

        def explode(*_: object) -> None:
            nonlocal left
            left -= 1
            if left <= 0:
                raise error()

        register = chance.choice([module.register_forward_pre_hook, module.register_forward_hook])
        register(explode)
        return nullcontext()

    return fault


@contextmanager
def interrupted_at_some_time(subject: Subject, chance: random.Random) -> Iterator[None]:
    """Ctrl-C at a random moment."""
    moment = chance.uniform(1e-4, subject.seconds)
    signal.setitimer(signal.ITIMER_REAL, moment)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


class AtLine:
    """Does something at the n-th line that is run in some of bnlint's own files."""

    def __init__(
        self, wanted: Callable[[str], bool], number: int, act: Callable[[], object]
    ) -> None:
        self.seen = 0
        self._wanted, self._number, self._act = wanted, number, act

    def __call__(self, frame: FrameType, event: str, argument: object) -> Any:
        file = frame.f_code.co_filename
        if not file.startswith(OWN) or not self._wanted(Path(file).name):
            return None
        if event == "line":
            self.seen += 1
            if self.seen == self._number:
                sys.settrace(None)
                self._act()
        return self


@contextmanager
def tracing(tracer: AtLine) -> Iterator[None]:
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        yield
    finally:
        sys.settrace(before)


def restores(file: str) -> bool:
    return file in RESTORING


def measures(file: str) -> bool:
    return file not in RESTORING


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def run_out_of_memory() -> None:
    raise MemoryError


def interrupted_while_measuring(subject: Subject, chance: random.Random) -> Armed:
    """Ctrl-C at a random line of those that measure."""
    return tracing(AtLine(measures, chance.randint(1, subject.measuring), press_ctrl_c))


def interrupted_while_restoring(subject: Subject, chance: random.Random) -> Armed:
    """Ctrl-C at a random line of those that note the state and put it back."""
    return tracing(AtLine(restores, chance.randint(1, subject.restoring), press_ctrl_c))


def out_of_memory_at_some_line(subject: Subject, chance: random.Random) -> Armed:
    """No memory at a random line of those that measure."""
    return tracing(AtLine(measures, chance.randint(1, subject.measuring), run_out_of_memory))


EXCEPTIONS: dict[str, Callable[[Subject, random.Random], Armed]] = {
    "ArithmeticError at a layer": raising(lambda: ArithmeticError("injected")),
    "KeyboardInterrupt at a layer": raising(KeyboardInterrupt),
    "SystemExit at a layer": raising(SystemExit),
    "MemoryError at a layer": raising(MemoryError),
    "torch.OutOfMemoryError at a layer": raising(lambda: torch.OutOfMemoryError("injected")),
    "Ctrl-C at some time": interrupted_at_some_time,
    "Ctrl-C while measuring": interrupted_while_measuring,
    "Ctrl-C while restoring": interrupted_while_restoring,
    "MemoryError while measuring": out_of_memory_at_some_line,
}


# --- lies ------------------------------------------------------------------------------------


def lying(lie: Lie, subject: Subject, chance: random.Random) -> Armed:
    """A random layer that lies, once or each time that it runs."""
    module = chance.choice(list(subject.model.modules()))
    once = chance.random() < 0.5
    done = False

    def misbehave(*_: object) -> None:
        nonlocal done
        if not (done and once):
            done = True
            lie(subject.model, module, chance)

    module.register_forward_hook(misbehave)
    return nullcontext()


# --- values ----------------------------------------------------------------------------------

VALUES = {"nan": float("nan"), "infinity": float("inf"), "minus infinity": float("-inf")}


def poisoning(value: float, subject: Subject, chance: random.Random) -> Armed:
    """A random layer whose output holds such a value, in one place or everywhere."""
    module = chance.choice([m for m in subject.model.modules() if not any(m.children())])
    everywhere = chance.random() < 0.5

    def poison(_module: object, _args: object, output: object) -> object:
        if not isinstance(output, Tensor) or not output.is_floating_point():
            return output
        poisoned = output.clone()
        if everywhere:
            return poisoned.fill_(value)
        poisoned.view(-1)[chance.randrange(poisoned.numel())] = value
        return poisoned

    module.register_forward_hook(poison)
    return nullcontext()


# --- trials ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What became of a check. same: the state is bit-identical. told: a warning says what is not.
    raised: the exception that came out of it, "" for none."""

    same: bool
    told: bool
    raised: str

    def is_right(self, name: str) -> bool:
        """Whether the model is as it was, or whoever reads the report knows that it is not."""
        return (self.told if name in TOLD else self.same) or (self.same and bool(self.raised))


def installed(name: str, subject: Subject, chance: random.Random) -> Armed:
    """The fault of this name, put on the model as far as it belongs there."""
    if name in EXCEPTIONS:
        return EXCEPTIONS[name](subject, chance)
    if name in VALUES:
        return poisoning(VALUES[name], subject, chance)
    return lying(LIES[name], subject, chance)


NAMES = (*EXCEPTIONS, *LIES, *VALUES)


def trial(name: str, subject: Subject, seed: int, *, plot: bool = False) -> Verdict:
    """One check with one fault, on a model that is given back without it."""
    hooks = [(m, dict(m._forward_hooks), dict(m._forward_pre_hooks)) for m in parts(subject)]
    raised, told = "", False
    THREADS.clear()
    alarm = signal.signal(signal.SIGALRM, signal.default_int_handler)
    armed = installed(name, subject, random.Random(seed))
    with quiet() as caught:
        before = fingerprint(subject.model)
        try:
            with armed:
                report = check(subject.model, subject.inputs, phase="inference")
        except BaseException as error:
            raised = type(error).__name__
            told = any(warning.category is BatchNormWarning for warning in caught)
        else:
            told = any("thread" in part.reason for part in report.uninspected)
            render(report, plot)
        same = fingerprint(subject.model) == before
    signal.signal(signal.SIGALRM, alarm)
    THREADS.set()
    for module, after, first in hooks:
        module._forward_hooks.clear(), module._forward_pre_hooks.clear()
        module._forward_hooks.update(after), module._forward_pre_hooks.update(first)
    return Verdict(same, told, raised)


def parts(subject: Subject) -> list[nn.Module]:
    return list(subject.model.modules())


@contextmanager
def quiet() -> Iterator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def render(report: Any, plot: bool) -> None:
    """Every form of the report can be made, and its JSON is JSON."""
    assert str(report)
    json.loads(report.to_json(), parse_constant=_refuse)
    assert "<table" in report._repr_html_()
    if plot:
        from matplotlib import pyplot

        report.plot().canvas.draw()
        pyplot.close("all")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def measured(model: nn.Module, inputs: tuple[Tensor, ...]) -> Subject:
    """A subject, with the time and the lines that an undisturbed check takes."""
    check(model, inputs)
    started = time.perf_counter()
    check(model, inputs)
    seconds = time.perf_counter() - started
    lines = []
    for wanted in (restores, measures):
        counter = AtLine(wanted, 0, lambda: None)
        with tracing(counter):
            check(model, inputs)
        lines.append(counter.seen)
    return Subject(model, inputs, seconds, *lines)
