"""Libraries that prepare models for other hardware, or train them: accelerate, Lightning, apex."""

from __future__ import annotations

from bnlint.source.evaluate.module_classes import is_lightning
from bnlint.source.values import (
    ANYTHING,
    Arguments,
    External,
    Instance,
    Sequence,
    Value,
    alternatives,
)

LAUNCHERS = frozenset(
    {"accelerate.Accelerator", "lightning.Fabric", "lightning.fabric.Fabric",
     "lightning_fabric.Fabric"}
)  # fmt: skip
_METHODS = frozenset(
    "prepare prepare_model prepare_optimizer prepare_data_loader unwrap_model gather "
    "gather_for_metrics reduce pad_across_processes setup setup_module setup_optimizers "
    "setup_dataloaders".split()
)
PASSES_ON = frozenset({"apex.amp.initialize", "intel_extension_for_pytorch.optimize"})
"""Functions that give back the models and optimizers that they are given, in the same mode."""


def launcher(name: str) -> External | None:
    """The object that a launcher's class makes; its methods are known by name."""
    return External(f"{name}()") if name in LAUNCHERS else None


def passes_on(name: str) -> bool:
    """Whether a call gives back what it is given, in the same mode."""
    owner, _, method = name.rpartition("().")
    return name in PASSES_ON or (owner in LAUNCHERS and method in _METHODS)


def is_launched_backward(name: str) -> bool:
    """Whether a call is `accelerator.backward(loss)`."""
    owner, _, method = name.rpartition("().")
    return owner in LAUNCHERS and method == "backward"


def passed_on(arguments: Arguments) -> Value:
    """What such a call gives back: the one thing, or all in order."""
    given = tuple(arguments.positional)
    if len(given) == 1:
        return given[0]
    return Sequence("tuple", given) if given and not arguments.unknown else ANYTHING


def fitted_models(arguments: Arguments) -> tuple[Instance, ...]:
    """The models that Lightning's `trainer.fit(model)` trains, told by their classes; none where
    it may be another trainer."""
    models = alternatives(arguments.get(0, "model") or ANYTHING)
    found = tuple(m for m in models if isinstance(m, Instance) and is_lightning(m.cls))
    return found if len(found) == len(models) else ()
