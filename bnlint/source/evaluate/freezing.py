"""Parameters one by one: which layers stop learning when their `requires_grad` is set."""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.graph import Kind
from bnlint.records import replace
from bnlint.source.evaluate.known_models import shown_path
from bnlint.source.evaluate.module_classes import (
    children,
    descendants,
    is_layer,
    kind_of,
    torch_layer,
)
from bnlint.source.values import (
    ANYTHING,
    FROZEN,
    LEARNS,
    HeapObject,
    Instance,
    Known,
    Layer,
    Parameters,
    Sequence,
    Value,
    alternatives,
)

FREEZES = frozenset({"requires_grad", "requires_grad_"})
"""Words of a loop that may freeze parameters."""
MOST_NAMES = 800
"""Parameters of one model that are told apart by name."""
PARTS = ("weight", "bias")
"""The parameters of a BatchNorm layer; of other layers the first stands for all."""
_LEARN = frozenset(
    (Kind.CONV, Kind.LINEAR, Kind.EMBEDDING, Kind.RECURRENT, Kind.ATTENTION, Kind.OTHER_NORM)
)


def listed_parameters(iterable: Value) -> Parameters | None:
    """The parameters that a loop goes through, those of several modules of which one is real
    together; None for any other iterable."""
    found = [single for single in alternatives(iterable) if isinstance(single, Parameters)]
    if not found or not found[0].listing or len(found) != len(alternatives(iterable)):
        return None
    if len({parameters.listing for parameters in found}) > 1:
        return None
    owners = tuple(owner for parameters in found for owner in parameters.owners)
    return Parameters(owners, listing=found[0].listing, is_loose=len(found) > 1)


def any_parameter(parameters: Parameters) -> Value:
    """What stands for each element of `model.parameters()`, or `model.named_parameters()`."""
    one = replace(parameters, listing="", is_one=True)
    return Sequence("tuple", (ANYTHING, one)) if parameters.listing == "named" else one


def named_parameters(parameters: Parameters) -> tuple[Value, ...]:
    """Pairs of a name and a parameter; one that stands for all where they are too many."""
    rows: list[Value] = []
    for owner in parameters.owners:
        for path, layer in descendants(owner):
            for part in parts_of(layer):
                name = Known(f"{shown_path(path)}.{part}" if path else part)
                if isinstance(layer, HeapObject):
                    one = replace(parameters, listing="", only=((layer, part),), is_one=True)
                    rows.append(Sequence("tuple", (name, one)))
    return tuple(rows) if 0 < len(rows) <= MOST_NAMES else (any_parameter(parameters),)


def own_parameter(layers: tuple[Value, ...], name: str) -> Parameters:
    """`layer.weight`, or `layer.bias`."""
    only = tuple((layer, name) for layer in layers if isinstance(layer, HeapObject))
    return Parameters(layers, only=only, is_one=True)


def parts_of(layer: Value) -> tuple[str, ...]:
    """The names of a layer's own parameters that are told apart; none where it has none."""
    kind = kind_of(layer)
    if kind is Kind.BATCHNORM:
        return PARTS if is_affine(layer) else ()
    return PARTS[:1] if kind in _LEARN or is_known_part(layer) else ()


def is_affine(norm: Value) -> bool:
    """Whether a BatchNorm layer may have scale and shift."""
    described = torch_layer(norm)
    return described is None or described.parameters.get("affine", True) is not False


def is_known_part(layer: Value) -> bool:
    """Whether a layer is a part of one of torchvision's models that has parameters."""
    return (
        isinstance(layer, Layer)
        and layer.name.startswith("torchvision.")
        and bool(layer.parameters.get("learns"))
    )


def targets(parameters: Parameters) -> Iterator[tuple[Layer | Instance, str]]:
    """The layers that some parameters belong to, each with the parameter's name."""
    if parameters.only is not None:
        for one, part in parameters.only:
            if isinstance(one, Layer | Instance) and part in parts_of(one):
                yield one, part
        return
    for owner in parameters.owners:
        for single in alternatives(owner):
            for _, layer in descendants(single):
                if isinstance(layer, Layer | Instance):
                    yield from ((layer, part) for part in parts_of(layer))


def frozen_parts(layer: HeapObject) -> frozenset[str]:
    """The parameters of a layer that do not learn on some path."""
    found = layer.fields.get(FROZEN)
    return found if isinstance(found, frozenset) else frozenset()


def frozen_norms(module: Value, *, is_trained: bool = False) -> list[Layer | Instance]:
    """The BatchNorm layers of a module that move their statistics and do not learn.

    None where nothing in the module learns: a teacher, or a critic while its generator learns; and
    none of a part that is the double of another one, which learns: a target network.
    is_trained: something in the module surely learns, if only a part that cannot be seen.
    """
    layers = [m for _, m in descendants(module) if isinstance(m, Layer | Instance)]
    found = [norm for norm in layers if _stands_still(norm)]
    if not found or not (is_trained or any(map(_learns, layers))):
        return []
    doubles = _doubles(module)  # the dear part: only where there is something to leave out
    layers = [layer for layer in layers if id(layer) not in doubles]
    learns = is_trained or any(map(_learns, layers))
    return [n for n in found if id(n) not in doubles] if learns else []


def _stands_still(layer: Layer | Instance) -> bool:
    """Whether a layer is a BatchNorm that does not learn and moves its statistics."""
    parts = parts_of(layer)
    return parts == PARTS and frozen_parts(layer).issuperset(parts) and _keeps_statistics(layer)


def _learns(layer: Layer | Instance) -> bool:
    """Whether some parameter of a layer learns, on some path at least."""
    frozen = frozen_parts(layer)
    return not frozen.issuperset(parts_of(layer)) or LEARNS in frozen


def _doubles(module: Value) -> frozenset[int]:
    """The layers (by identity) of parts that are frozen as a whole beside a part of the same layers
    that learns: a target network, which follows the other one by an average."""
    found: set[int] = set()
    for _, holder in descendants(module):
        below = [list(descendants(part)) for _, part in children(holder)]
        parts = [modules for modules in below if _has_layers(modules)]
        frozen = [modules for modules in parts if _is_frozen(modules)]
        if not frozen or len(frozen) == len(parts):
            continue
        learning = [_structure(modules) for modules in parts if not _is_frozen(modules)]
        for modules in frozen:
            if _structure(modules) in learning:
                found |= {id(layer) for _, layer in modules}
    return frozenset(found)


def _has_layers(modules: list[tuple[str, Value]]) -> bool:
    """Whether there are more layers than one."""
    return sum(is_layer(module) for _, module in modules) > 1


def _is_frozen(modules: list[tuple[str, Value]]) -> bool:
    """Whether no parameter of some modules learns."""
    return all(
        isinstance(layer, HeapObject) and frozen_parts(layer).issuperset(parts_of(layer))
        for _, layer in modules
        if parts_of(layer)
    )


def _structure(modules: list[tuple[str, Value]]) -> list[object]:
    """The layers among modules with their names and parameters."""
    described = ((path, torch_layer(layer)) for path, layer in modules)
    return [(path, layer) for path, layer in described if layer is not None]


def _keeps_statistics(norm: Value) -> bool:
    described = torch_layer(norm)
    if described is None:
        return False
    moves = described.parameters.get("momentum", 0.1) != 0
    return moves and described.parameters.get("track_running_stats", True) is not False
