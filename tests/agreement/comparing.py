"""Does the text's picture say what the run shows?"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from bnlint.graph import UNKNOWN, Kind, LayerGraph, Node, same_block


@dataclass
class Tally:
    """What was compared: BatchNorm calls, those of which the text tells too little, and errors."""

    modules: int = 0
    calls: int = 0
    unknown: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.modules} modules, {self.calls} BatchNorm calls, {len(self.wrong)} wrong, "
            f"{len(self.unknown)} unknown"
        )

    def add(self, other: Tally) -> None:
        """Add what was found in another module."""
        self.modules += other.modules
        self.calls += other.calls
        self.unknown += other.unknown
        self.wrong += other.wrong


def compare(seen: LayerGraph, read: LayerGraph | None, *, is_open: bool) -> Tally:
    """Compare every BatchNorm call (instance path, call index) of a run with the text's picture.

    is_open: the text has alternatives, of which the run shows one; else the two must be equal.
    """
    tally = Tally(modules=1)
    by_path: dict[str, list[Node]] = defaultdict(list)
    for node in read.of_kind(Kind.BATCHNORM) if read is not None else ():
        by_path[node.path].append(node)
    for live in seen.of_kind(Kind.BATCHNORM):
        tally.calls += 1
        where = f"{live.path}#{live.call_index}"
        # on other ways through the text the layer may have been called more often before
        calls = [n for n in by_path[live.path] if _may_be(n, live, is_open=is_open)]
        if read is None or not calls:
            tally.unknown.append(f"{where} is not drawn")
            continue
        known = [node for node in calls if not _is_unknown(read, node, live)]
        said = [differences(seen, live, read, node, is_open=is_open) for node in known]
        if known and not all(said):
            continue
        if len(known) < len(calls):
            tally.unknown.append(where)
        else:
            tally.wrong.append(f"{where}: {'; '.join(said[0])}")
    return tally


def _may_be(node: Node, live: Node, *, is_open: bool) -> bool:
    return node.call_index >= live.call_index if is_open else node.call_index == live.call_index


def _is_unknown(read: LayerGraph, node: Node, live: Node) -> bool:
    around = [*read.producers(node), *read.consumers(node)]
    parameters = [value for name, value in node.params.items() if name in live.params]
    return UNKNOWN in parameters or any(n.kind is Kind.UNKNOWN for n in around)


def differences(
    seen: LayerGraph, live: Node, read: LayerGraph, node: Node, *, is_open: bool
) -> list[str]:
    """In what the text's picture of one BatchNorm call contradicts the run's."""
    found = []
    fed, feeds = kinds(seen.producers(live)), kinds(read.producers(node))
    if not fed <= feeds or (not is_open and fed != feeds):
        found.append(f"fed by {sorted(fed)}, read {sorted(feeds)}")
    used, uses = kinds(seen.consumers(live)), kinds(read.consumers(node))
    if not used <= uses or (not is_open and used != uses):
        found.append(f"read by {sorted(used)}, read {sorted(uses)}")
    wrong = {
        key: (value, node.params.get(key))
        for key, value in live.params.items()
        if node.params.get(key, UNKNOWN) not in (value, UNKNOWN)
    }
    if wrong:
        found.append(f"parameters {wrong}")
    if scopes(live) != scopes(node):
        found.append(f"scope {scopes(live)}, read {scopes(node)}")
    if live.name != node.name:
        found.append(f"name {live.name}, read {node.name}")
    together = {same_block(live, p) for p in seen.producers(live)}
    if not is_open and together != {same_block(node, p) for p in read.producers(node)}:
        found.append("the same block as its producer, or not")
    return found


def kinds(nodes: tuple[Node, ...]) -> set[Kind]:
    """The kinds of some nodes."""
    return {node.kind for node in nodes}


def scopes(node: Node) -> list[tuple[str, str, bool]]:
    """Paths and plain class names of the modules that hold a node."""
    return [(scope.path, scope.cls.rpartition(".")[2], scope.container) for scope in node.scope]
