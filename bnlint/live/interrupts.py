"""Ctrl-C and other signals reach a check only where it can bear them.

A signal's handler may raise an exception between any two instructions: after a hook was put in
place and before anybody is bound to remove it, or in the middle of putting a model back. So
handlers wait, except while the user's own code runs (a forward, a loader), which is nearly always.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any


class Shield:
    """Context manager: while it lasts, signals wait, except inside `lowered()`.

    On leaving, the old handlers are back, and what has waited is delivered. Outside the main
    thread, where no handler runs, it does nothing; nor does it before it is entered.
    """

    def __init__(self) -> None:
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._waiting: list[int] = []
        self._is_up = True

    def __enter__(self) -> Shield:
        if threading.current_thread() is threading.main_thread():
            for number in signal.valid_signals():
                handler = signal.getsignal(number)
                if callable(handler):
                    self._handlers[number] = handler
                    signal.signal(number, self._relay)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        for number in self._waiting:
            signal.raise_signal(number)

    def lowered(self) -> Lowered:
        """A context in which signals arrive at once."""
        return Lowered(self)

    def _relay(self, number: int, frame: FrameType | None) -> None:
        if self._is_up:
            self._waiting.append(number)
            return
        self._is_up = True  # from here on an exception is on its way out
        self._handlers[number](number, frame)
        self._is_up = False


class Lowered:
    """The context of `Shield.lowered`; what has waited so far is delivered on entering."""

    def __init__(self, shield: Shield) -> None:
        self._shield = shield

    def __enter__(self) -> None:
        shield = self._shield
        waiting, shield._waiting = shield._waiting, []
        shield._is_up = False
        for number in waiting:
            signal.raise_signal(number)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._shield._is_up = True
