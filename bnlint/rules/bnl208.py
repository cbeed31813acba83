"""BNL208: one BatchNorm for the outputs of several layers."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from bnlint.finding import Evidence, Finding, Measurement, Role, Severity
from bnlint.graph import Kind, LayerGraph, Node, runs_for_sure
from bnlint.records import Struct
from bnlint.rules.base import Example, Measured, Pictures, Rule
from bnlint.rules.predicates import (
    CALCULATES,
    block_key,
    evidence_at,
    grouped,
    layer_key,
    layer_name,
    listed,
)

APART = 0.2
"""d between a call and the shared statistics from which on a live run speaks."""
FLOORS = 2
"""How many times the d of chance alone it has to be, too."""
_PASSED = (Kind.ACTIVATION, Kind.DROPOUT, Kind.POOL, Kind.UPSAMPLE)


class _Shared(Struct, frozen=True):
    """The calls of one BatchNorm module in one forward, in the order of execution."""

    graph: LayerGraph
    calls: tuple[Node, ...]

    @property
    def norm(self) -> Node:
        return self.calls[0]


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each class or factory."""
    measured = pictures.measured
    accused = [found for graph in pictures.graphs for found in _shared(graph, measured)]
    by_layer = grouped(
        accused, lambda a: layer_key(a.graph, a.norm, is_live=measured.is_live)
    ).values()
    layers = [same_layer[0] for same_layer in by_layer]
    for block in grouped(layers, lambda a: block_key(a.graph, a.norm)).values():
        yield _finding(block, pictures)


def _shared(graph: LayerGraph, measured: Measured) -> Iterator[_Shared]:
    sure = None if measured.is_live else runs_for_sure(graph)
    calls = [
        node
        for node in graph.of_kind(Kind.BATCHNORM)
        if node.path and (sure is None or node.id in sure)
    ]
    for same_module in grouped(calls, lambda node: node.path).values():
        found = _Shared(graph, tuple(same_module))
        if len({node.call_index for node in same_module}) > 1 and _differ(found, measured):
            yield found


def _differ(shared: _Shared, measured: Measured) -> bool:
    """Whether the calls normalise different things: by measurement, else by what feeds them.

    That is the outputs of different layers, or an unrolled recurrence, in which a call's output
    comes back. The same layers on several inputs are a siamese network, and no mistake by itself.
    """
    numbers = measured.layers.get(shared.norm.id, {})
    apart, floor = numbers.get("apart"), numbers.get("apart_floor")
    if isinstance(apart, float):
        return apart > max(APART, FLOORS * floor if isinstance(floor, float) else 0)
    sources = [_sources(shared.graph, call) for call in shared.calls]
    if measured.is_live and not measured.synthetic:
        return False
    return all(sources) and (len(set(sources)) == len(sources) or _comes_back(shared))


def _comes_back(shared: _Shared) -> bool:
    """Whether the last call depends on the first one."""
    pending, seen = [shared.calls[-1].id], {shared.calls[-1].id}
    while pending:
        before = frozenset().union(*shared.graph[pending.pop()].inputs) - seen
        seen |= before
        pending += before
    return shared.norm.id in seen


def _sources(graph: LayerGraph, call: Node) -> frozenset[Hashable]:
    """The Conv and Linear layers whose output a call normalises; empty when it is not only such."""
    pending, seen, found = [call], {call.id}, set[Hashable]()
    while pending:
        for producer in graph.producers(pending.pop()):
            if producer.kind in CALCULATES and producer.path:
                found.add(producer.path)
            elif producer.kind not in _PASSED:
                return frozenset()
            elif producer.id not in seen:
                seen.add(producer.id)
                pending.append(producer)
    return frozenset(found)


def _finding(block: list[_Shared], pictures: Pictures) -> Finding:
    first, *others = block
    norm, graph = first.norm, first.graph
    more = f" ({len(others)} more in the same class)" if others else ""
    binding = f" ({graph.binding})" if graph.binding else ""
    before = dict.fromkeys(
        layer_name(producer) for call in first.calls for producer in graph.producers(call)
    )
    measured = pictures.measured.layers.get(norm.id, {})
    return RULE.finding(
        f"{layer_name(norm)} is called {len(first.calls)} times in one forward{binding}{more}, on "
        f"the outputs of {listed(list(before))}: its running statistics are a mixture that fits "
        f"none of them{_distance(measured)}; build one BatchNorm for each",
        norm.place,
        [*_calls(first), *_instances(others)],
        severity=RULE.severity_for(pictures),
        module=norm.path or None,
        measurement={**measured, "layers": [a.norm.path for a in block]} if measured else None,
    )


def _distance(measured: Measurement) -> str:
    apart = measured.get("apart")
    return (
        f" (d up to {apart:.2f} between a call and the mixture)" if isinstance(apart, float) else ""
    )


def _calls(shared: _Shared) -> Iterator[Evidence]:
    for number, call in enumerate(shared.calls, 1):
        names = [layer_name(producer) for producer in shared.graph.producers(call)]
        message = f"call {number}, on the output of {listed(names)}"
        yield from evidence_at(call.call_place, message, Role.CAUSE)


def _instances(others: list[_Shared]) -> Iterator[Evidence]:
    for other in others:
        message = f"{layer_name(other.norm)} is called {len(other.calls)} times, too"
        yield from evidence_at(other.norm.place, message, Role.INSTANCE)


RULE = Rule(
    code="BNL208",
    name="shared-batchnorm",
    severity=Severity.NOTE,
    summary="One BatchNorm normalises the outputs of several layers in one forward.",
    what="""\
One BatchNorm module is called more than once in a forward, on the outputs of different Conv or
Linear layers, or in an unrolled recurrence, where what it has normalised comes back to it. Calls
in exclusive branches, the elements of a list of layers, and several modules that one constructor
line has built are not sharing. Nor is the whole of "conv, then BatchNorm" called on two inputs (a
siamese network) while nothing is known of the data, nor a loop whose length is not known.

The live check is exact: it sees every call, and measures how far each call's own mean and
variance lie from those that all calls together leave in the running statistics (d, in standard
deviations of the layer's output). It speaks, as a warning and by default, where d is above 0.2 and
above twice what chance gives at this batch size, also for siamese use; where d is small it is
silent. On made-up input it judges the structure only.""",
    why="""\
Each call moves the same running mean and variance towards its own input, so what is stored is a
mixture, and in evaluation no call is normalised with the statistics that it had in training: the
outputs of the two modes disagree however long the network is trained. For recurrent networks
Cooijmans et al. found that statistics of every time step of its own are needed; detectors that
share a head over pyramid levels keep a BatchNorm per level for the same reason (EfficientDet's
heads). Often it is not meant at all: a layer is reused because it holds no obvious
weights, as one may do with a ReLU.""",
    fine_when="""\
- All calls see data of one distribution: two augmented views, two halves of one batch. The live
  check measures that.
- The weights are tied on purpose and the difference is small beside the noise of the batch.""",
    references=(
        "Cooijmans et al. 2017, Recurrent Batch Normalization, section 3 "
        "<https://arxiv.org/abs/1603.09025>",
        "Ioffe and Szegedy 2015, Batch Normalization <https://arxiv.org/abs/1502.03167>",
        'Wu and Johnson 2021, Rethinking "Batch" in BatchNorm, section 5 (shared layers, '
        "RetinaNet's head) <https://arxiv.org/abs/2105.07576>",
    ),
    wrong=(
        Example(
            """\
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, bias=False)
        self.conv2 = nn.Conv2d(32, 32, 3, bias=False)
        self.bn = nn.BatchNorm2d(32)  # expect: BNL208

    def forward(self, x):
        x = F.relu(self.bn(self.conv1(x)))
        return F.relu(self.bn(self.conv2(x)))
""",
            "Reused as if it were a ReLU",
        ),
        Example(
            """\
from torch import nn


class TwoInputs(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.image = nn.Linear(512, width)
        self.text = nn.Linear(300, width)
        self.norm = nn.BatchNorm1d(width)  # expect: BNL208

    def forward(self, image, text):
        return self.norm(self.image(image)) + self.norm(self.text(text))
""",
            "Two modalities, one set of statistics",
        ),
    ),
    right=(
        Example(
            """\
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 32, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(32)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)))
""",
            "One BatchNorm for each layer",
        ),
        Example(
            """\
from torch import nn


class PreActivation(nn.Module):
    def __init__(self, preactivate):
        super().__init__()
        self.preactivate = preactivate
        self.conv1 = nn.Conv2d(32, 32, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(32, 32, 1, bias=False)
        self.bn = nn.BatchNorm2d(32)

    def forward(self, x):
        if self.preactivate:
            return self.bn(self.conv1(x))
        return self.bn(self.conv2(x))
""",
            "Nearly wrong: only one of the two calls runs",
        ),
        Example(
            """\
from torch import nn


class Siamese(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.fc = nn.Linear(128, width)
        self.norm = nn.BatchNorm1d(width)

    def embed(self, x):
        return self.norm(self.fc(x))

    def forward(self, left, right):
        return (self.embed(left) - self.embed(right)).abs()
""",
            "Nearly wrong: the same layers on two samples of one distribution",
        ),
    ),
    check=check,
    default=False,
    live=True,
    live_severity=Severity.WARNING,
    live_default=True,
)
