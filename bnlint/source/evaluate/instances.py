"""`isinstance(value, cls)` for values and classes that are known."""

from __future__ import annotations

from collections.abc import Mapping as MappingType

from bnlint.source.evaluate.module_classes import is_module, torch_layer
from bnlint.source.values import (
    NONE,
    ClassObject,
    External,
    FunctionObject,
    Instance,
    Known,
    Layer,
    Mapping,
    Partial,
    Sequence,
    Soft,
    Tensor,
    Value,
)
from bnlint.torchnames import CONTAINERS, canonical, lookup

MODULE_CLASSES = frozenset({"torch.nn.Module", "torch.nn.modules.Module"})
BATCHNORM_BASES = frozenset(
    {"torch.nn.modules.batchnorm._BatchNorm", "torch.nn.modules.batchnorm._NormBase",
     "torch.nn._BatchNorm"}
)  # fmt: skip


def is_instance(value: Value, cls: Value) -> bool | None:
    """Whether a value is an instance of one class; None when that is open."""
    if isinstance(cls, ClassObject):
        if isinstance(value, Instance):
            return any(base is cls for base in value.cls.linearization())
        return False if isinstance(value, Layer | Known | Sequence | Mapping) else None
    if not isinstance(cls, External):
        return None
    name = canonical(cls.name)
    layer = torch_layer(value)
    if isinstance(value, Layer | Instance) and name in MODULE_CLASSES:
        return True
    if name in BATCHNORM_BASES:
        return layer is not None and "BatchNorm" in layer.name
    if isinstance(value, Instance):
        bases = {canonical(b.name) for b in value.cls.linearization() if isinstance(b, External)}
        if name in bases:
            return True
        is_foreign = name.startswith("torch.nn.") or (is_module(value) and name in BUILTIN_TYPES)
        return False if is_foreign else None
    if isinstance(value, Layer):
        return value.name == name
    return _is_builtin_instance(value, name)


def is_subclass(cls: Value, base: Value) -> bool | None:
    """`issubclass(cls, base)`; None when that is open."""
    if cls is base or cls == base:
        return True
    bases = list(cls.linearization()) if isinstance(cls, ClassObject) else [cls]
    if isinstance(base, ClassObject):
        return base in bases if all(isinstance(b, ClassObject | External) for b in bases) else None
    if not isinstance(base, External):
        return None
    names = {canonical(b.name) for b in bases if isinstance(b, External)}
    if canonical(base.name) in names:
        return True
    if base.name in MODULE_CLASSES:
        return True if any(lookup(name) or name in CONTAINERS for name in names) else None
    return None


def _is_builtin_instance(value: Value, name: str) -> bool | None:
    expected = BUILTIN_TYPES.get(name)
    if isinstance(value, Tensor):
        return True if name == "torch.Tensor" else (False if expected else None)
    if expected is None:
        is_plain = isinstance(value, Known | Sequence | Mapping)
        return False if is_plain and name.startswith("torch.") else None
    if isinstance(value, Soft) and value.value != NONE:
        return _is_builtin_instance(value.value, name)  # the user changes the value, not the type
    if isinstance(value, Known):
        return isinstance(value.value, expected)
    if isinstance(value, Sequence):
        return name == f"builtins.{value.kind}"
    if isinstance(value, Mapping):
        return name == "builtins.dict"
    return False if isinstance(value, External | FunctionObject | Partial) else None


BUILTIN_TYPES: MappingType[str, type] = {
    f"builtins.{cls.__name__}": cls for cls in (int, float, str, bool, list, tuple, dict, set)
}
