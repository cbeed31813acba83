"""What is an nn.Module, what it holds, and what torch layer stands behind it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from bnlint.graph import UNKNOWN, Kind, Parameter
from bnlint.source.joining import one_of
from bnlint.source.values import (
    ITEMS,
    LAYER,
    OPEN,
    Alternatives,
    ClassObject,
    External,
    FunctionObject,
    HeapObject,
    Instance,
    Known,
    Layer,
    Mapping,
    Partial,
    Sequence,
    Soft,
    Value,
    alternatives,
    flat,
    is_exact,
    items_of,
)
from bnlint.torchnames import CONTAINERS, canonical, lookup

DISTRIBUTED = frozenset(
    {
        "torch.nn.parallel.DistributedDataParallel",
        "torch.nn.parallel.distributed.DistributedDataParallel",
        "apex.parallel.DistributedDataParallel",
    }
)
"""Wrappers for training by several processes, each with a copy of the model."""
WRAPPERS = DISTRIBUTED | {"torch.nn.DataParallel", "torch.nn.parallel.DataParallel"}
"""Modules that forward to the one module that they wrap."""
_HOLDERS = frozenset({Instance, Layer, Alternatives})
"""What a field that is a module, or one of several, can be."""


class TorchLayer(NamedTuple):
    """The torch layer that an object is: its name and constructor parameters."""

    name: str
    parameters: dict[str, Parameter]


def external_base(cls: ClassObject) -> str | None:
    """The class outside the project that a class derives from; a torch layer before nn.Module."""
    names = [canonical(b.name) for b in cls.linearization() if isinstance(b, External)]
    layers = [name for name in names if lookup(name) or name in CONTAINERS]
    return next(iter(layers + names), None)


def is_module_class(cls: ClassObject) -> bool:
    """Whether a class is an nn.Module: by its bases, or, with a base that cannot be seen, by having
    a forward."""
    derives = cls.derives_from_module
    if derives is None:
        return isinstance(cls.fields.get("forward"), FunctionObject)
    return derives


def is_lightning(cls: ClassObject) -> bool:
    """Whether a class is a LightningModule, which a Trainer of Lightning trains."""
    bases = (base.name for base in cls.linearization() if isinstance(base, External))
    return any(base.rpartition(".")[2] == "LightningModule" for base in bases)


def builds_modules(value: Value) -> bool:
    """Whether a value is a module class, or a `partial` of one."""
    if type(value) is External:
        name = value.name
        return name.startswith("torch.nn.") and name.rpartition(".")[2][:1].isupper()
    if type(value) is ClassObject:
        return is_module_class(value)
    return type(value) is Partial and builds_modules(value.function)


def is_module(value: Value) -> bool:
    """Whether a value is an nn.Module object."""
    if type(value) is Instance:
        return is_module_class(value.cls)
    return type(value) is Layer


def torch_layer(value: Value) -> TorchLayer | None:
    """The torch layer that an object is, itself or by its base class; None for everything else."""
    if isinstance(value, Layer):
        return TorchLayer(value.name, _with_changes(value.parameters, value))
    if isinstance(value, Instance):
        layer = value.fields.get(LAYER)
        if isinstance(layer, TorchLayer):
            return TorchLayer(layer.name, _with_changes(layer.parameters, value))
    return None


def is_layer(value: Value) -> bool:
    """Whether an object is a torch layer or container, or derives from one."""
    if isinstance(value, Instance):
        return isinstance(value.fields.get(LAYER), TorchLayer)
    return isinstance(value, Layer)


def _with_changes(parameters: dict[str, Parameter], module: HeapObject) -> dict[str, Parameter]:
    """The parameters with those that were set on the object later: `bn.momentum = 0.01`."""
    changed = [name for name in CHANGEABLE if name in parameters and name in module.fields]
    if not changed:
        return parameters
    return {**parameters, **{name: parameter_of(module.fields[name]) for name in changed}}


CHANGEABLE = ("eps", "momentum", "p", "inplace", "track_running_stats")
"""Parameters that a layer asks its attributes for in each forward."""


def parameter_of(value: object) -> Parameter:
    """The value of a constructor parameter as a rule sees it."""
    if isinstance(value, Soft):
        return parameter_of(value.value)
    if isinstance(value, Known) and isinstance(value.value, int | float | str | bool | None):
        return value.value
    if isinstance(value, Sequence):
        return tuple(parameter_of(item) for item in items_of(value))
    return UNKNOWN


def kind_of(value: Value) -> Kind | None:
    """The kind of the torch layer that an object is."""
    layer = value.fields.get(LAYER) if isinstance(value, Instance) else value
    entry = lookup(layer.name) if isinstance(layer, Layer | TorchLayer) else None
    return entry.kind if entry is not None else None


def is_container(value: Value) -> bool:
    """Whether the object is a Sequential, ModuleList or ModuleDict, or derives from one."""
    return isinstance(value, Layer | Instance) and ITEMS in value.fields


def is_module_dict(value: Value) -> bool:
    """Whether the object is a ModuleDict, or derives from one: its entries are fields by name."""
    if isinstance(value, Layer):
        return value.name == "torch.nn.ModuleDict"
    if not isinstance(value, Instance) or ITEMS not in value.fields:
        return False
    return external_base(value.cls) == "torch.nn.ModuleDict"


def is_bare_container(value: Value) -> bool:
    """Whether the object is a Sequential, ModuleList or ModuleDict itself."""
    return isinstance(value, Layer) and value.name in CONTAINERS


def children(value: Value) -> list[tuple[str, Value]]:
    """The submodules of a module with their names, alternatives and repetitions included once."""
    if not isinstance(value, Instance | Layer):
        return []
    fields = value.fields
    if ITEMS not in fields:
        return [
            (key, single)
            for key, entry in fields.items()
            if type(entry) in _HOLDERS and isinstance(key, str)
            for single in _modules(entry)
        ]
    elements = list(flat(items_of(value)))
    inside = {id(element) for element in elements}
    names = {id(entry): key for key, entry in fields.items() if isinstance(key, str)}
    found: list[tuple[str, Value]] = []
    for key, entry in fields.items():
        if key is ITEMS:
            for index, element in enumerate(elements):
                name = names.get(id(element), str(index))
                found += ((name, single) for single in _modules(element))
        elif isinstance(key, str) and id(entry) not in inside:
            found += ((key, single) for single in _modules(entry))
    return found


def entries_of(module: Value) -> Mapping:
    """The submodules by name: `_modules`, and the entries of a ModuleDict."""
    mapping = Mapping()
    for name, child in children(module):
        known = mapping.fields.get(name)
        mapping.fields[name] = child if known is None else one_of((known, child))  # type: ignore[arg-type]
    if isinstance(module, Instance | Layer) and not is_exact(items_of(module)):
        mapping.fields[OPEN] = True
    return mapping


def _modules(entry: object) -> list[Value]:
    """The modules that a field may be."""
    if type(entry) is Alternatives:
        return [single for single in entry.values if is_module(single)]
    return [entry] if is_module(entry) else []  # type: ignore[arg-type, list-item]  # asked of all


def descendants(value: Value) -> Iterator[tuple[str, Value]]:
    """The module itself and all modules below it, each once, with qualified names."""
    seen: set[int] = set()
    pending: list[tuple[str, Value]] = [("", value)]
    while pending:
        path, current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield path, current
        below = children(current)
        if below:
            start = f"{path}." if path else ""
            pending += [(start + name, child) for name, child in reversed(below)]


def reachable_modules(value: object, depth: int = 3) -> Iterable[Value]:
    """The modules that a value is, holds in lists or dictionaries, or keeps as attributes."""
    return _reachable(value, depth) if type(value) in _MAY_HOLD_MODULES else ()


def _reachable(value: object, depth: int) -> Iterator[Value]:
    for single in alternatives(value):  # type: ignore[arg-type]
        if is_module(single):
            yield single
        elif depth and isinstance(single, Sequence):
            for element in flat(items_of(single)):
                if type(element) in _MAY_HOLD_MODULES:
                    yield from _reachable(element, depth - 1)
        elif depth and isinstance(single, _WITH_ENTRIES):
            for entry in list(single.fields.values()):
                if type(entry) in _MAY_HOLD_MODULES:
                    yield from _reachable(entry, depth - 1)


_WITH_ENTRIES = (Mapping, Instance)
_MAY_HOLD_MODULES = frozenset({Alternatives, Instance, Layer, Sequence, Mapping})


def title_of(value: Value) -> str:
    """How a message names a module object."""
    if isinstance(value, Instance):
        return value.cls.name
    if isinstance(value, Layer):
        if value.name in WRAPPERS:
            inner = value.fields.get("module")
            if isinstance(inner, Instance | Layer):
                return title_of(inner)
        return value.name.rpartition(".")[2]
    return "a module"
