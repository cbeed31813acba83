"""Which node's output a tensor holds, once operations write in place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bnlint.graph import TRANSPARENT, Kind, Node
from bnlint.source.store import Store
from bnlint.source.values import HeapObject, Tensor

COPIES = frozenset(
    "clone repeat pad roll float half double type type_as cuda cpu fold unfold "
    "channel_shuffle pixel_unshuffle".split()
)
"""Transparent operations whose result is memory of its own."""


class Memory(HeapObject):
    """For each node the nodes that may have written last to the memory of its output; a node to
    which none has written is absent.

    Written through the store, so that it follows branches and loops.
    """

    __slots__ = ("nodes", "store")

    def __init__(self, store: Store, nodes: Sequence[Node]) -> None:
        super().__init__()
        self.store = store
        self.nodes = nodes

    def current(self, sources: frozenset[int]) -> frozenset[int]:
        """The last writers of what these nodes have made."""
        found: set[int] = set()
        pending = list(sources)
        seen: set[int] = set()
        while pending:
            node = pending.pop()
            if node in seen:
                continue
            seen.add(node)
            held = self._held(node)
            if node in held:
                found.add(node)
            pending += held - {node}
        return frozenset(found)

    def overwritten(self, sources: Iterable[int], writer: int) -> None:
        """A node has written in place to what one of these nodes has made."""
        if self.nodes[writer].kind in TRANSPARENT:
            return  # unsqueeze_(), requires_grad_(): the content stays
        alternatives = self.current(frozenset(sources) - {writer})
        for node in alternatives:
            if self.nodes[node].kind in (Kind.SLICE, Kind.SPLIT):
                continue  # the other parts keep their content
            kept = frozenset({node}) if len(alternatives) > 1 else frozenset()
            self.write(node, kept | {writer})
            base = self._base(node)
            if base and not kept:
                self.overwritten(base, writer)

    def write(self, node: int, writers: frozenset[int]) -> None:
        """These nodes have written last to what a node has made."""
        self.fields.setdefault(node, Tensor(frozenset({node})))  # as it is in other branches
        self.store.write(self, node, Tensor(writers))

    def writers(self, first: int) -> Iterator[tuple[int, frozenset[int]]]:
        """The nodes from the first on whose memory others have overwritten, with these."""
        for node, held in self.fields.items():
            if isinstance(node, int) and isinstance(held, Tensor) and node >= first:
                yield node, held.sources

    def _held(self, node: int) -> frozenset[int]:
        held = self.value(node)
        own = held.sources if isinstance(held, Tensor) else frozenset({node})
        base = self._base(node)
        if own == {node} and base:
            now = self.current(base)
            return own if now == base else now
        return own

    def _base(self, node: int) -> frozenset[int]:
        """The operand whose memory a view shows."""
        viewed = self.nodes[node]
        is_view = viewed.kind in TRANSPARENT and viewed.short_name not in COPIES
        is_part = viewed.kind in (Kind.SLICE, Kind.SPLIT)
        return viewed.inputs[0] if is_view and not is_part and viewed.inputs else frozenset()
