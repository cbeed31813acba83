"""Ways in which libraries and applications write one step of a network.

Every public function of these files is an idiom: it adds one step to the class that is written.
"""

from __future__ import annotations

from inspect import isfunction
from types import ModuleType

from writer import Idiom

from idioms import branches, calls, configuring, constructing, containers, flow, lists


def _of(module: ModuleType) -> tuple[Idiom, ...]:
    return tuple(
        function
        for name, function in vars(module).items()
        if isfunction(function) and function.__module__ == module.__name__ and name[0] != "_"
    )


CLOSED = tuple(
    idiom
    for file in (containers, lists, constructing, configuring, flow, calls)
    for idiom in _of(file)
)
"""The text decides which way a forward takes."""
OPEN = _of(branches)
"""The text leaves open which way a forward takes."""
