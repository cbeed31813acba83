"""What a class does to `train()` and `eval()`: the methods that it puts in their place.

`nn.Module.eval()` calls `self.train(False)`, and `train(mode)` calls `train(mode)` of every child,
with the mode as the only argument: whatever stands in their place has to take it and to hand it on.
Both front ends fill these records: the source half reads the method, the live half switches.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, TypeAlias

from bnlint.finding import Place
from bnlint.records import Struct

MODE_NAMES: Final = frozenset(
    {"mode", "is_train", "is_training", "training", "train", "flag", "enabled"}
)
"""What a parameter is called that takes a mode."""
SWITCHES: Final = frozenset({"train", "eval", "training", "requires_grad", "requires_grad_"})
"""Words of a method that sets modes or freezes layers."""


class Reach(StrEnum):
    """How far the mode gets that an override is given."""

    PASSED = "passed"
    """To torch's own method, or to what lies below; also a mode that is fixed on purpose."""
    FORCED = "forced"
    """Training mode is set, whatever was asked for."""
    LOST = "lost"
    """Nobody is told: the modules stay in the mode that they were in."""
    DISABLED = "disabled"
    """The method does nothing at all, so that nobody changes the mode."""
    UNKNOWN = "unknown"


class ModeOverride(Struct, frozen=True, tag=True):
    """A method `train` or `eval` of a module class.

    signature: "train(self, x, y)". given: the parameter that `eval()` gives False to, "" when there
    is none. accepts: whether torch's own calls - `train(False)`, `eval()` - fit the signature.
    returns_self: whether the module
    is returned. None in either: unknown. has_own_eval: `eval` is overridden, too, so that it need
    not call `train(False)`. path: the name of a module of that class, in a live run.
    """

    cls: str
    method: str
    signature: str
    place: Place | None
    given: str = ""
    accepts: bool | None = None
    reach: Reach = Reach.UNKNOWN
    returns_self: bool | None = None
    has_own_eval: bool = False
    path: str = ""


class HiddenMethod(Struct, frozen=True, tag=True):
    """An attribute that is no function, under the name of a method that sets modes.

    place: the assignment. defined: the method that it hides, None for torch's own. called: where
    somebody calls it, None where nobody does.
    """

    cls: str
    attribute: str
    place: Place | None
    defined: Place | None = None
    called: Place | None = None
    path: str = ""


ModeMethod: TypeAlias = ModeOverride | HiddenMethod
