"""Units of drawing as bytes."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from functools import cache
from typing import Any, Final, TypeAlias

from msgspec import Raw, Struct
from msgspec.msgpack import Decoder, Encoder

from bnlint.finding import Place
from bnlint.functional import Follows, ModeCall
from bnlint.graph import UNKNOWN, Kind, LayerGraph, Node, OneValue, Parameter, Scope
from bnlint.overrides import ModeMethod
from bnlint.source.units import Modes, Situated, Stage, Unit
from bnlint.trace import Block, Model, ModeTrace, SensitiveLayer, blocks_of

_Spot: TypeAlias = tuple[str, int]
_Called: TypeAlias = tuple[str, tuple[int, int]]
_Part: TypeAlias = tuple[str, Kind | None, str]
_Flag: TypeAlias = tuple[str, bool | str | None]
_Shape: TypeAlias = tuple[str, tuple[_Flag, ...], tuple[_Part, ...]]


class _Node(Struct, frozen=True, array_like=True):
    """A node; places and chains of modules by their numbers in the graph's tables."""

    kind: Kind
    name: str
    params: dict[str, Any]
    place: int
    call_place: int
    scope: int
    path: str
    call_index: int
    inputs: tuple[frozenset[int], ...]
    positions: int | None
    one_value: OneValue | None
    batch: int | None
    checkpoint: int
    holder: int


class _Graph(Struct, frozen=True, array_like=True):
    title: str
    binding: str
    places: tuple[Place, ...]
    chains: tuple[tuple[Scope, ...], ...]
    nodes: tuple[_Node, ...]


class _Trace(Struct, frozen=True, array_like=True):
    entry: str
    body: Block
    models: dict[int, Model]
    layers: dict[int, SensitiveLayer]
    is_test: bool


class _Call(Struct, frozen=True, array_like=True):
    """A `ModeCall` without its rate, which may be unknown."""

    function: str
    cls: str
    place: Place | None
    follows: Follows
    method: str
    receiver: str
    stated: bool
    statistics: bool | None
    path: str
    conditions: tuple[str, ...]
    deliberate: bool


class _Modes(Struct, frozen=True, array_like=True):
    """Those of a class; each call with its rate behind it."""

    methods: tuple[ModeMethod, ...]
    calls: tuple[tuple[_Call, Any], ...]


class _Unit(Struct, frozen=True, array_like=True):
    stage: Stage
    spot: _Spot
    texts: tuple[int, ...]
    steps: int
    gave_up: int
    called: tuple[_Called, ...]
    built: tuple[_Called, ...]
    tested: tuple[_Called, ...]
    norms: tuple[tuple[Place, str, dict[str, Any]], ...]
    judged: tuple[Place, ...]
    covered: tuple[tuple[Place, _Shape | None], ...]
    reached: tuple[Place, ...]
    unsettled: tuple[tuple[Place, int], ...]
    traces: tuple[_Trace, ...]
    graphs: tuple[_Graph, ...]
    modes: _Modes | None


def packed_unit(unit: Unit) -> bytes:
    """A unit as bytes; raises TypeError for what has no form."""
    return _ENCODER.encode(
        _Unit(
            unit.stage,
            unit.spot,
            tuple(sorted(unit.texts)),
            unit.steps,
            unit.gave_up,
            tuple(unit.called),
            tuple(unit.built),
            tuple(unit.tested),
            tuple((place, name, _wire(params)) for place, (name, params) in unit.norms),
            tuple(unit.judged),
            tuple(map(_packed_situation, unit.covered)),
            tuple(unit.reached),
            tuple(unit.unsettled),
            tuple(map(_packed_trace, unit.traces)),
            tuple(map(_packed_graph, unit.graphs)),
            None if unit.modes is None else _packed_modes(unit.modes),
        )
    )


def unpacked_unit(data: bytes | Raw) -> Unit:
    """The unit in these bytes; raises msgspec.MsgspecError, LookupError or ValueError."""
    kept = _decoder().decode(data)
    return Unit(
        kept.stage,
        kept.spot,
        frozenset(kept.texts),
        kept.steps,
        kept.gave_up,
        kept.called,
        kept.built,
        kept.tested,
        tuple((place, (name, _parameters(params))) for place, name, params in kept.norms),
        kept.judged,
        tuple(map(_situation, kept.covered)),
        kept.reached,
        kept.unsettled,
        tuple(ModeTrace(t.entry, t.body, t.models, t.layers, t.is_test) for t in kept.traces),
        tuple(map(_graph, kept.graphs)),
        None if kept.modes is None else _modes(kept.modes),
    )


def _packed_modes(modes: Modes) -> _Modes:
    names = _Call.__struct_fields__
    calls = tuple(
        (_Call(*(getattr(call, name) for name in names)), _wire(call.rate)) for call in modes.calls
    )
    return _Modes(modes.methods, calls)


def _modes(kept: _Modes) -> Modes:
    names = _Call.__struct_fields__
    calls = (
        ModeCall(**{name: getattr(call, name) for name in names}, rate=_parameter(rate))
        for call, rate in kept.calls
    )
    return Modes(kept.methods, tuple(calls))


_ENCODER: Final = Encoder()


@cache
def _decoder() -> Decoder[_Unit]:
    """Made when it is needed: it looks at all that a unit may consist of."""
    return Decoder(_Unit)


# --- parameters ------------------------------------------------------------------------------


def _wire(value: Any) -> Any:
    """Parameters as msgpack tells them apart: an empty table stands for what is unknown."""
    if value is UNKNOWN:
        return {}
    if isinstance(value, dict):
        return {name: _wire(single) for name, single in value.items()}
    return [_wire(single) for single in value] if isinstance(value, tuple) else value


def _parameters(kept: dict[str, Any]) -> dict[str, Parameter]:
    return {name: _parameter(value) for name, value in kept.items()}


def _parameter(value: Any) -> Parameter:
    if isinstance(value, dict):
        return UNKNOWN
    return tuple(map(_parameter, value)) if isinstance(value, list) else value


# --- layer graphs ----------------------------------------------------------------------------


def _packed_graph(graph: LayerGraph) -> _Graph:
    places: dict[Place, int] = {}
    chains: dict[tuple[Scope, ...], int] = {}

    def number(place: Place | None) -> int:
        return -1 if place is None else places.setdefault(place, len(places))

    nodes = tuple(
        _Node(
            node.kind,
            node.name,
            _wire(node.params),
            number(node.place),
            number(node.call_place),
            chains.setdefault(node.scope, len(chains)),
            node.path,
            node.call_index,
            node.inputs,
            node.positions,
            node.one_value,
            node.batch,
            number(node.checkpoint),
            number(node.holder),
        )
        for node in graph.nodes
    )
    return _Graph(graph.title, graph.binding, tuple(places), tuple(chains), nodes)


def _graph(kept: _Graph) -> LayerGraph:
    places: tuple[Place | None, ...] = (*kept.places, None)  # -1 is the last
    nodes = (
        Node(
            number,
            node.kind,
            node.name,
            _parameters(node.params),
            places[node.place],
            places[node.call_place],
            kept.chains[node.scope],
            node.path,
            node.call_index,
            node.inputs,
            node.positions,
            node.one_value,
            node.batch,
            places[node.checkpoint],
            places[node.holder],
        )
        for number, node in enumerate(kept.nodes)
    )
    return LayerGraph(kept.title, tuple(nodes), kept.binding)


def _packed_situation(situated: Situated) -> tuple[Place, Any]:
    place, block = situated
    if not isinstance(block, tuple):
        return place, None
    name, flags, parts = block
    return place, (name, sorted(flags, key=repr), parts)


def _situation(kept: tuple[Place, _Shape | None]) -> tuple[Place, Hashable]:
    place, block = kept
    if block is None:
        return place, None
    name, flags, parts = block
    return place, (name, frozenset(flags), parts)


# --- mode traces -----------------------------------------------------------------------------


def _packed_trace(trace: ModeTrace) -> _Trace:
    """A trace with those layers and models only that it tells of."""
    named = frozenset(_numbers(trace.body))
    models = {number: trace.models[number] for number in sorted(named & trace.models.keys())}
    named = named.union(*(model.layers for model in models.values()))
    layers = {number: trace.layers[number] for number in sorted(named & trace.layers.keys())}
    return _Trace(trace.entry, trace.body, models, layers, trace.is_test)


def _numbers(block: Block) -> Iterator[int]:
    """All numbers in the events of a block, those of layers and models among them."""
    for item in block:
        inner = blocks_of(item)
        if inner:
            for part in inner:
                yield from _numbers(part)
        else:
            yield from _within(getattr(item, name) for name in item.__struct_fields__)


def _within(values: Iterable[object]) -> Iterator[int]:
    for value in values:
        if isinstance(value, int) and not isinstance(value, bool):
            yield value
        elif isinstance(value, frozenset | tuple):
            yield from _within(value)
