"""Who produced a tensor: the node that made or last wrote it, in place and through views included.

A tensor carries the label of the operation that returned it. Memory carries the list of writes to
it. A label counts until somebody writes to an overlapping part of the memory; then that writer is
the producer. Memory is held by weak references, whose address is not reused while they live, so
that a freed activation can never lend its name to its successor.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from bnlint.live.tensors import storage_key, unwrapped

CONSTANT = -1
"""The producer of parameters, buffers and all that is computed from nothing else."""


@dataclass(frozen=True, slots=True)
class Region:
    """The part of its memory that a tensor covers, in elements."""

    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @classmethod
    def of(cls, tensor: Tensor) -> Region:
        """The region of a strided tensor."""
        return cls(int(tensor.storage_offset()), tuple(tensor.shape), tensor.stride())

    def _end(self) -> int:
        return self.offset + sum((n - 1) * step for n, step in zip(self.size, self.stride)) + 1

    def disjoint(self, other: Region) -> bool:
        """Whether two regions are certain to share no element (False when in doubt)."""
        if 0 in self.size or 0 in other.size:
            return True
        if self._end() <= other.offset or other._end() <= self.offset:
            return True
        if self.stride != other.stride or 0 in self.stride:
            return False
        return self._shifted_apart(other)

    def _shifted_apart(self, other: Region) -> bool:
        """For equal strides: whether one dimension's shift carries one region past the other."""
        first, second = (self, other) if self.offset <= other.offset else (other, self)
        distance = second.offset - first.offset
        for step, n in sorted(zip(first.stride, first.size), reverse=True):
            shift, distance = divmod(distance, step)
            if shift >= n:
                return True
        return False


@dataclass(slots=True)
class _Memory:
    reference: StorageWeakRef
    writes: list[tuple[int, Region | None]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Label:
    reference: weakref.ref[Tensor]
    node: int
    writes: int


class Writers:
    """Labels of tensors and of memory, while one forward runs."""

    def __init__(self) -> None:
        self._labels: dict[int, _Label] = {}
        self._memories: dict[int, _Memory] = {}

    def producer(self, tensor: Tensor) -> int | None:
        """The node that made this tensor's content; None for a tensor from nowhere."""
        memory = self._memory(tensor)
        label = self._labels.get(id(tensor))
        if label is not None and label.reference() is not tensor:
            label = None
        if memory is None:
            return label.node if label else None
        since = label.writes if label else 0
        region = _region(tensor)
        for node, written in reversed(memory.writes[since:]):
            if written is None or region is None or not written.disjoint(region):
                return node
        return label.node if label else None

    def made(self, tensor: Tensor, node: int) -> None:
        """An operation returned this tensor: new memory, or a view of old memory."""
        memory = self._memory(tensor)
        key = storage_key(tensor)
        if memory is None and key is not None:
            reference = StorageWeakRef(unwrapped(tensor).untyped_storage())  # type: ignore[no-untyped-call]
            memory = _Memory(reference, [(node, None)])
            self._memories[key] = memory
        self._label(tensor, node, memory)

    def wrote(self, tensor: Tensor, node: int) -> None:
        """An operation changed this tensor's content in place."""
        memory = self._memory(tensor)
        if memory is None:
            self.made(tensor, node)
            return
        memory.writes.append((node, _region(tensor)))
        self._label(tensor, node, memory)

    def writes(self, tensor: Tensor) -> int:
        """How often the tensor's memory has been written."""
        memory = self._memory(tensor)
        return len(memory.writes) if memory else 0

    def _label(self, tensor: Tensor, node: int, memory: _Memory | None) -> None:
        writes = len(memory.writes) if memory else 0
        self._labels[id(tensor)] = _Label(weakref.ref(tensor), node, writes)

    def _memory(self, tensor: Tensor) -> _Memory | None:
        key = storage_key(tensor)
        return None if key is None else self._memories.get(key)


def _region(tensor: Tensor) -> Region | None:
    try:
        return Region.of(unwrapped(tensor))
    except (RuntimeError, NotImplementedError):
        return None
