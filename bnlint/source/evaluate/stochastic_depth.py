"""Stochastic depth of other packages: timm's DropPath, torchvision's StochasticDepth."""

from __future__ import annotations

import re

from bnlint.source.evaluate.core import Core
from bnlint.source.values import ANYTHING, Arguments, Known, Layer, hard

_CLASSES = re.compile(
    r"timm\.(?:models\.)?layers(?:\.drop)?\.DropPath|"
    r"torchvision\.ops(?:\.stochastic_depth)?\.StochasticDepth"
)


def drops_paths(name: str) -> bool:
    """Whether a qualified name is that of a class of stochastic depth."""
    return _CLASSES.fullmatch(name) is not None


def stochastic_depth(machine: Core, name: str, arguments: Arguments) -> Layer | None:
    """The layer that a call builds; None where it is another call, or nobody knows that it ever
    drops anything: most models hold such layers with a rate of 0."""
    if not drops_paths(name):
        return None
    given = arguments.get(0, "drop_prob") or arguments.keywords.get("p") or ANYTHING
    rate = hard(given)
    if not (isinstance(rate, Known) and isinstance(rate.value, float) and 0 < rate.value <= 1):
        return None
    layer = Layer(name, {"p": rate.value}, arguments.place)
    machine.layer_created(layer)
    return layer
