"""The parameters of a model, put back bit by bit without a copy of all of them.

Their memory is remembered by reference, and the one that is about to be written is copied just
before. Sums over the bits of all of them, in two directions, tell at the end whether something was
written behind the back of everybody: by another thread, or through an array that shares the memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bnlint.live.hooks import Hooks
from bnlint.live.tensors import restore_tensor, storage_key

COLUMNS = 4096
"""Words of memory in one row of a checksum."""

_LOST = (
    "its values were changed behind the back of the check (by another thread, or through memory "
    "that it shares), so that they cannot be put back: load the weights again"
)


@dataclass(frozen=True)
class _Parameter:
    """A parameter as it was. alias: its memory."""

    name: str
    tensor: Tensor
    alias: Tensor
    requires_grad: bool
    gradient: Tensor | None
    hooks: Hooks
    storage: int | None


class Weights:
    """Remembers parameters, by name, and puts them back; their gradients are put aside meanwhile.

    Tensors of equal memory (tied weights, views of one flat buffer) are copied together.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self._kept = [
            _Parameter(
                name,
                tensor,
                tensor.detach(),
                tensor.requires_grad,
                tensor.grad,
                Hooks(tensor),
                storage_key(tensor),
            )
            for name, tensor in parameters.items()
        ]
        self._copies: dict[int, Tensor] = {}
        self._sharing: dict[int | None, list[int]] = {}
        for index, kept in enumerate(self._kept):
            self._sharing.setdefault(kept.storage, []).append(index)
        self._sums = self._checksums()
        for kept in self._kept:
            kept.tensor.grad = None

    def before_write(self, tensor: Tensor) -> None:
        """Copy the parameters whose memory this tensor shares, if any, before it changes."""
        for index in self._sharing.get(storage_key(tensor), ()):
            if index not in self._copies:
                self._copies[index] = self._kept[index].alias.clone()

    def rewind(self) -> None:
        """Every parameter as it was, without gradient."""
        for index, kept in enumerate(self._kept):
            restore_tensor(kept.tensor, kept.alias, self._copies.get(index, kept.alias))
            if kept.tensor.requires_grad is not kept.requires_grad:
                kept.tensor.requires_grad_(kept.requires_grad)
            kept.tensor.grad = None
            kept.hooks.restore()
        self._copies.clear()

    def restore(self) -> Iterator[tuple[str, str]]:
        """Every parameter as it was; names and reasons of those that are different all the same."""
        self.rewind()
        for kept in self._kept:
            kept.tensor.grad = kept.gradient
        sums = self._checksums()
        for kept in self._kept:
            if kept.storage in sums and not _equal(sums[kept.storage], self._sums[kept.storage]):
                yield kept.name, _LOST

    def _checksums(self) -> dict[int, tuple[Tensor, ...]]:
        """Sums over the bits of every memory that parameters lie in."""
        found: dict[int, tuple[Tensor, ...]] = {}
        for kept in self._kept:
            if kept.storage is not None and kept.storage not in found:
                found[kept.storage] = checksum(kept.alias)
        return found


def checksum(tensor: Tensor) -> tuple[Tensor, ...]:
    """The sums of the rows and of the columns of a tensor's memory, read as integers.

    Modulo 2^64, so that they are exact. Any change of a single value shows, and every exchange of
    two different values: in the rows, in the columns, or in the rest that fills no row.
    """
    data = torch.empty(0, dtype=torch.uint8, device=tensor.device)
    data.set_(tensor.untyped_storage())
    words = data[: len(data) // 8 * 8].view(torch.int64)
    whole = len(words) // COLUMNS * COLUMNS
    rows = words[:whole].view(-1, COLUMNS)
    return rows.sum(1), rows.sum(0), words[whole:].clone(), data[len(words) * 8 :].clone()


def _equal(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> bool:
    return all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(first, second))
