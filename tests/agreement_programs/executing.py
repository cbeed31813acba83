"""Runs a program whose text knows nothing of it, with a watch on every model that it calls.

The program is executed as a user would, by the path of its script, in a folder of its own. What it
calls is learnt by wrapping `nn.Module.__call__`, under a file name that the watch takes for
nobody's code, so that the line to blame is the program's.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import linecache
import os
import random
import runpy
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

import bnlint
from bnlint.graph import Kind
from bnlint.live.modules import unwrap
from bnlint.live.places import is_own, place_of_frame
from bnlint.live.watch import Watch

Spot = tuple[str, int, int]
"""Path below the program's folder, line, column."""
Mark = tuple[str, str, int]
"""Code, path below the program's folder, line."""
INVISIBLE = "<the runner>"
COMPARED = frozenset({"BNL101", "BNL103", "BNL104", "BNL106", "BNL601"})
"""The rules about the mode that a watch judges, by the same events or classes as the text."""


@dataclass(frozen=True, slots=True)
class Event:
    """One call of a model by the program itself.

    modes: of the layers that ran, their kind and whether they were in training mode.
    """

    spot: Spot
    grad: bool
    modes: set[tuple[Kind, bool]]


@dataclass
class Execution:
    """What a run did, and what the watches said of it."""

    events: list[Event] = field(default_factory=list)
    marks: set[Mark] = field(default_factory=set)
    messages: list[str] = field(default_factory=list)


class _Runner:
    """Watches every model that is called, from its first call on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.watches: list[tuple[nn.Module, Watch]] = []
        self.built: list[nn.Module] = []
        self.events: list[Event] = []
        self._covered: dict[int, nn.Module] = {}
        self._now = threading.local()

    def built_one(self, module: nn.Module) -> None:
        """A module has been constructed."""
        self.built.append(module)

    def enter(self, module: nn.Module) -> Event | None:
        """A module is about to run; the event when the program itself calls it."""
        if _is_exported():
            return None  # an export is an event of its own
        ran: set[tuple[Kind, bool]] | None = getattr(self._now, "ran", None)
        if ran is not None:
            self._note(module, ran)
            return None
        self._watch(module)
        self._now.ran = ran = set()
        self._note(module, ran)
        return Event(self._spot(), torch.is_grad_enabled(), ran)

    def leave(self, event: Event | None) -> None:
        """The module has run."""
        if event is None:
            return
        self._now.ran = None
        if event.modes:
            self.events.append(event)

    def _spot(self) -> Spot:
        frame: FrameType | None = sys._getframe(2)
        while frame is not None and is_own(frame.f_code.co_filename):
            frame = frame.f_back
        assert frame is not None
        place = place_of_frame(frame)
        return self._below(place.path), place.line, place.column

    @staticmethod
    def _note(module: nn.Module, ran: set[tuple[Kind, bool]]) -> None:
        if isinstance(module, _BatchNorm):
            ran.add((Kind.BATCHNORM, module.training))
        elif isinstance(module, _DropoutNd) and module.p > 0:
            ran.add((Kind.DROPOUT, module.training))

    def _watch(self, module: nn.Module) -> None:
        if id(module) in self._covered:
            return
        holders = [m for m in self.built if any(part is module for part in m.modules())]
        tops = [
            h for h in holders if not any(h is not o and h in set(o.modules()) for o in holders)
        ]
        for top in tops or [module]:
            self._cover(top)

    def _cover(self, top: nn.Module) -> None:
        self._covered.update((id(part), part) for part in top.modules())
        root = unwrap(top)
        if not any(root is watched for watched, _ in self.watches):
            self.watches.append((root, bnlint.watch(top).start()))

    def finish(self) -> Execution:
        """End all watches and gather what they found."""
        done = Execution(self.events)
        for _, watch in self.watches:
            watch.stop()
            for found in watch.findings:
                if found.place is not None and found.code in COMPARED:
                    done.marks.add((found.code, self._below(found.place.path), found.place.line))
                    done.messages.append(f"{found.place.line}: {found.code} {found.message}")
        return done

    def _below(self, path: str) -> str:
        return os.path.relpath(path, self.folder) if os.path.isabs(path) else path


def _is_exported() -> bool:
    """Whether a module is called by an export, or by the check of its result."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename != torch.jit._trace.__file__:
        frame = frame.f_back
    return frame is not None


def execute(folder: Path, script: str) -> Execution:
    """Run the script of a program; raises what it raises."""
    with _elsewhere(folder), _on_call(folder) as runner:
        random.seed(0)
        torch.manual_seed(0)
        _run(folder, script)
        return runner.finish()


def _run(folder: Path, script: str) -> None:
    if script.endswith(".ipynb"):
        raise NotImplementedError
    runpy.run_path(str(folder / script), run_name="__main__")


@contextmanager
def _on_call(folder: Path) -> Iterator[_Runner]:
    runner = _Runner(folder)
    call, init = nn.Module.__call__, nn.Module.__init__
    source = (
        "def called(self, *args, **kwargs):\n"
        "    event = runner.enter(self)\n"
        "    try:\n"
        "        return call(self, *args, **kwargs)\n"
        "    finally:\n"
        "        runner.leave(event)\n"
        "def built(self, *args, **kwargs):\n"
        "    runner.built_one(self)\n"
        "    init(self, *args, **kwargs)\n"
    )
    made: dict[str, Any] = {"runner": runner, "call": call, "init": init}
    exec(compile(source, INVISIBLE, "exec"), made)
    nn.Module.__call__, nn.Module.__init__ = made["called"], made["built"]  # type: ignore[method-assign]
    try:
        yield runner
    finally:
        nn.Module.__call__, nn.Module.__init__ = call, init  # type: ignore[method-assign]
        for _, watch in runner.watches:
            watch.stop()


@contextmanager
def _elsewhere(folder: Path) -> Iterator[None]:
    """The state of the interpreter that a fresh process in the folder would have; undone after."""
    before, modules = os.getcwd(), set(sys.modules)
    argv, path, writes = sys.argv, sys.path[:], sys.dont_write_bytecode
    grad = torch.is_grad_enabled()
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        warnings.simplefilter("ignore")
        sys.argv, sys.dont_write_bytecode = ["program"], True
        sys.path.insert(0, str(folder))
        os.chdir(folder)
        importlib.invalidate_caches()
        try:
            yield
        finally:
            torch.set_grad_enabled(grad)
            os.chdir(before)
            sys.argv, sys.path[:], sys.dont_write_bytecode = argv, path, writes
            for name in set(sys.modules) - modules:
                file = getattr(sys.modules[name], "__file__", None) or ""
                if file.startswith(str(folder)):
                    del sys.modules[name]
            linecache.clearcache()
