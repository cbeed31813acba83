"""The report of a live check."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnlint.finding import Finding, Measurement, Number, Severity
from bnlint.graph import Kind, LayerGraph, Node
from bnlint.live.errors import FindingsError
from bnlint.live.ranks import Ranks
from bnlint.live.unseen import Unseen

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class LayerReport:
    """One BatchNorm call.

    name: the module's qualified name. call: 0 for its first call. producers, consumers: the kinds
    of what feeds it and of what reads it, looking through reshapes. d, floor, cumulative: see
    `bnlint.live.drift`; None where they cannot be measured. numbers: all that was measured.
    """

    name: str
    call: int
    producers: frozenset[Kind]
    consumers: frozenset[Kind]
    d: float | None
    floor: float | None
    cumulative: float | None
    batch: int | None
    values_per_channel: int | None
    numbers: Measurement

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "name": self.name,
            "call": self.call,
            "producers": sorted(self.producers),
            "consumers": sorted(self.consumers),
            **dict.fromkeys(("d", "floor", "cumulative", "batch", "values_per_channel")),
            **self.numbers,
        }


def layer_reports(
    graph: LayerGraph, numbers: Mapping[int, Mapping[str, Number]]
) -> tuple[LayerReport, ...]:
    """One entry for each BatchNorm call, in the order of the forward."""
    return tuple(_layer(graph, graph[node], numbers[node]) for node in sorted(numbers))


def _layer(graph: LayerGraph, node: Node, numbers: Mapping[str, Number]) -> LayerReport:
    def real(name: str) -> float | None:
        value = numbers.get(name)
        return float(value) if isinstance(value, (int, float)) else None

    def whole(name: str) -> int | None:
        value = numbers.get(name)
        return int(value) if isinstance(value, (int, float)) else None

    return LayerReport(
        name=node.path or node.short_name,
        call=node.call_index,
        producers=frozenset(producer.kind for producer in graph.producers(node)),
        consumers=frozenset(consumer.kind for consumer in graph.consumers(node)),
        d=real("d"),
        floor=real("floor"),
        cumulative=real("cumulative"),
        batch=whole("batch"),
        values_per_channel=whole("values_per_channel"),
        numbers=dict(numbers),
    )


@dataclass(frozen=True)
class Report:
    """What a check found and measured.

    layers: one entry for each BatchNorm call in the order of the forward. output: relative drift,
    flip rate and its noise control, dropout's share and other randomness (`bnlint.live.drift`).
    uninspected: what was not seen, and why. synthetic: the inputs were made up. registered:
    BatchNorm modules in the model. ranks: what several processes know of each other.
    """

    title: str
    phase: str | None
    findings: tuple[Finding, ...]
    layers: tuple[LayerReport, ...]
    output: Measurement
    uninspected: tuple[Unseen, ...]
    synthetic: bool
    registered: int
    ranks: Ranks | None = None

    @property
    def shown(self) -> tuple[Finding, ...]:
        """The findings that no comment excuses."""
        return tuple(finding for finding in self.findings if not finding.suppressed)

    def ok(self, level: str | Severity = Severity.WARNING) -> bool:
        """Whether there is no finding at or above this level."""
        return not self._at(level)

    def raise_for(self, level: str | Severity = Severity.WARNING) -> None:
        """Raise FindingsError when there is a finding at or above this level."""
        from bnlint.live.text import counted

        bad = self._at(level)
        if bad:
            lines = [f"{f.code} {f.severity.label}: {f.message}" for f in bad]
            raise FindingsError(
                f"{self.title}: {counted(len(bad), 'finding')}\n" + "\n".join(lines)
            )

    def _at(self, level: str | Severity) -> list[Finding]:
        wanted = Severity.parse(level) if isinstance(level, str) else level
        return [finding for finding in self.shown if finding.severity >= wanted]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, the same as in JSON."""
        from bnlint.output.json import finding_to_dict

        return {
            "model": self.title,
            "phase": self.phase,
            "synthetic": self.synthetic,
            "registered": self.registered,
            "findings": [finding_to_dict(finding) for finding in self.findings],
            "layers": [layer.to_dict() for layer in self.layers],
            "output": dict(self.output),
            "ranks": self.ranks.to_dict() if self.ranks is not None else None,
            "uninspected": [{"name": u.name, "reason": u.reason} for u in self.uninspected],
        }

    def to_json(self) -> str:
        """The report as one JSON object."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def to_html(self, path: str | Path) -> None:
        """Write the report as one HTML file that needs nothing else."""
        from bnlint.live.html import page

        Path(path).write_text(page(self), encoding="utf-8")

    def plot(self) -> Figure:
        """A matplotlib figure: d, floor and cumulative drift of each call (needs bnlint[plot])."""
        from bnlint.live.plot import figure

        return figure(self)

    def __str__(self) -> str:
        from bnlint.live.text import render

        return render(self)

    def __repr__(self) -> str:
        """The table, too: what an interactive session shows is to be read."""
        return str(self)

    def _repr_html_(self) -> str:
        from bnlint.live.html import body

        return body(self)
