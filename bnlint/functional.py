"""Calls of torch functions that behave differently in training, and whether they follow the mode.

A module (`nn.Dropout`) asks its own `training` flag; a function does what its argument says. Both
front ends fill these records: the source half from the arguments, the live half from a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from bnlint.finding import Place
from bnlint.graph import UNKNOWN, Parameter
from bnlint.records import Struct


class Signature(NamedTuple):
    """Where a function takes its flag and its rate: position and name, None where it has none.

    default: what the flag is when it is not given; None when it has to be. usual_rate: the rate
    when it is not given. statistics: the position of the running mean.
    """

    flag: tuple[int, str] | None = None
    default: bool | None = None
    rate: tuple[int, str] | None = None
    usual_rate: float | None = None
    statistics: int | None = None


def _signatures() -> Mapping[str, Signature]:
    found: dict[str, Signature] = {}
    for name in ("dropout", "dropout1d", "dropout2d", "dropout3d"):
        found[name] = Signature((2, "training"), True, (1, "p"), 0.5)
    for name in ("alpha_dropout", "feature_alpha_dropout"):
        found[name] = Signature((2, "training"), False, (1, "p"), 0.5)
    found["rrelu"] = Signature((3, "training"), False)
    found["batch_norm"] = Signature((5, "training"), False, statistics=1)
    found["scaled_dot_product_attention"] = Signature(rate=(4, "dropout_p"), usual_rate=0.0)
    found["multi_head_attention_forward"] = Signature((13, "training"), True, (10, "dropout_p"))
    functional = {f"torch.nn.functional.{name}": signature for name, signature in found.items()}
    for name in ("dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout"):
        functional[f"torch.{name}"] = Signature((2, "train"), None, (1, "p"))
    return MappingProxyType(functional)


SIGNATURES: Final = _signatures()
"""The mode-sensitive functions of torch 2.13, by qualified name."""


DRAWS: Final = frozenset(
    "rand rand_like randn randn_like bernoulli bernoulli_ uniform_ normal_ random_".split()
)
"""Functions of torch that draw random numbers."""


class Follows(StrEnum):
    """What decides whether a function behaves as in training."""

    MODE = "mode"
    """The mode of the module, or a flag that somebody hands in."""
    ALWAYS = "always"
    NEVER = "never"
    UNKNOWN = "unknown"


class ModeCall(Struct, frozen=True):
    """One call of such a function in a method that a forward reaches.

    function: its qualified name. cls, method: whose code it is in; receiver: what `self` is called
    there. stated: the flag is written out, so that nobody has forgotten it. rate: the probability
    with which values are dropped, None where the function has none. statistics: whether running
    statistics are given (batch_norm). path: the name of the module, in a live run. conditions: the
    names that the conditions around the call ask for. deliberate: the code around a stated flag
    shows that it is meant.
    """

    function: str
    cls: str
    place: Place | None
    follows: Follows
    method: str = ""
    receiver: str = "self"
    stated: bool = False
    rate: Parameter = UNKNOWN
    statistics: bool | None = None
    path: str = ""
    conditions: tuple[str, ...] = ()
    deliberate: bool = False

    @property
    def short_name(self) -> str:
        """The function's name, for messages."""
        return self.function.rpartition(".")[2]
