"""What the settings say about names that the analysis cannot see through."""

from __future__ import annotations

from bnlint.records import Struct
from bnlint.settings import Settings
from bnlint.source.values import ClassObject, External, FunctionObject, Value
from bnlint.torchnames import EXTRA_ACTIVATION, EXTRA_BATCHNORM


class Explained(Struct, frozen=True):
    """Names of classes and functions, qualified (`inplace_abn.InPlaceABN`) or, without a dot, by
    their last part.

    batchnorm, activations: layers that stand for torch's own. evaluating: functions of the project
    that return an evaluated model. training: functions that leave the models that they are given
    in training mode.
    """

    batchnorm: frozenset[str] = frozenset()
    activations: frozenset[str] = frozenset()
    evaluating: frozenset[str] = frozenset()
    training: frozenset[str] = frozenset()

    @classmethod
    def by(cls, settings: Settings) -> Explained:
        """What these settings say."""
        return cls(
            frozenset(settings.extra_batchnorm),
            frozenset(settings.extra_activations),
            frozenset(settings.evaluating_factories),
            frozenset(settings.training_functions),
        )

    def __bool__(self) -> bool:
        return bool(self.batchnorm or self.activations or self.evaluating or self.training)

    def torch_name(self, function: Value) -> str | None:
        """The name under which `torchnames` knows a class or function that stands for a layer."""
        name = qualified_name(function)
        last = name.rpartition(".")[2]
        if _is_in(name, self.batchnorm):
            return f"{EXTRA_BATCHNORM}{last}"
        return f"{EXTRA_ACTIVATION}{last}" if _is_in(name, self.activations) else None

    def returns_evaluated(self, function: Value) -> bool:
        """Whether what a function returns is in evaluation mode."""
        return _is_in(qualified_name(function), self.evaluating)

    def trains(self, function: Value) -> bool:
        """Whether a function leaves the models that it is given in training mode."""
        return _is_in(qualified_name(function), self.training)


def qualified_name(function: Value) -> str:
    """The dotted name of a class or function; empty for anything else."""
    match function:
        case External(name):
            return name
        case ClassObject():
            return f"{function.frame.module.name}.{function.name}"
        case FunctionObject(owner=None):
            return f"{function.frame.module.name}.{function.name}"
        case FunctionObject(owner=ClassObject() as owner):
            return f"{owner.frame.module.name}.{owner.name}.{function.name}"
        case _:
            return ""


def _is_in(name: str, names: frozenset[str]) -> bool:
    return bool(name) and (name in names or name.rpartition(".")[2] in names)
