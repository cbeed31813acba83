"""Parts of the drawing kept apart: one that crashes costs what it would have drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bnlint.finding import Place
from bnlint.records import Struct, field
from bnlint.source.judge import crash_of
from bnlint.source.result import Crash


class Isolation(Struct):
    """crashes: what has crashed so far; None lets exceptions through."""

    crashes: list[Crash] | None = field(default_factory=list)

    @contextmanager
    def __call__(self, what: str, place: Place | None) -> Iterator[None]:
        """Run a part of the work; `place` is what it looks at."""
        try:
            yield
        except RecursionError:  # deeper than can be followed: unknown, as where the steps run out
            if self.crashes is None:
                raise
        except Exception as error:  # whatever it is, the rest of the project is judged
            if self.crashes is None:
                raise
            self.crashes.append(crash_of(what, place, error))


def exposed() -> Isolation:
    """No isolation: exceptions reach the caller."""
    return Isolation(None)
