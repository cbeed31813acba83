"""Leave a model and the random number generators bit-identical, whatever a forward does to them.

Parameters are not copied (that would double the memory of a model): their gradients are put aside,
their memory is remembered by reference, and the one that is about to be written is copied just
before (`before_write`, called by the capture for every operation in place).
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType

import torch
from torch import Tensor, nn

from bnlint.live.errors import CheckError
from bnlint.live.randomness import RandomState
from bnlint.live.snapshot import Snapshot, restore_tensor
from bnlint.live.tensors import storage_key


class Preserve:
    """Context manager around everything that a check does with a model.

    On leaving, also by an exception, every module's attributes, buffers, tensors in plain
    attributes, flags, hooks and gradients, and every generator's state are as they were.
    `rewind` does the same in the middle, so that every pass starts from the same state; it leaves
    the generators alone.

    Raises CheckError for lazy modules without shape and for models on the meta device.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = list(_all_modules(model))
        self._parameters = _unique_parameters(self._modules)
        _refuse_unready(self._modules)
        self._gradients: list[tuple[Tensor, Tensor | None]] = []
        self._aliases: list[tuple[Tensor, Tensor, bool]] = []
        self._copies: dict[int, Tensor] = {}
        self._sharing: dict[int | None, list[int]] = {}

    def __enter__(self) -> Preserve:
        self._random = RandomState()
        self._aliases = [(p, p.detach(), p.requires_grad) for p in self._parameters]
        for index, parameter in enumerate(self._parameters):
            self._sharing.setdefault(storage_key(parameter), []).append(index)
        self._snapshot = self._take_snapshot()
        self._gradients = [(p, p.grad) for p in self._parameters]
        for parameter in self._parameters:
            parameter.grad = None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.rewind()
            for parameter, gradient in self._gradients:
                parameter.grad = gradient
        finally:
            self._random.restore()

    def rewind(self) -> None:
        """Put the model back as it was on entering, its gradients still aside."""
        with torch.no_grad():
            self._snapshot.restore()
            for module, training in self._flags:
                if module.training is not training:
                    module.training = training
            for index, (parameter, alias, wanted) in enumerate(self._aliases):
                restore_tensor(parameter, alias, self._copies.get(index, alias))
                if parameter.requires_grad is not wanted:
                    parameter.requires_grad_(wanted)
                parameter.grad = None
        self._copies.clear()

    def before_write(self, tensor: Tensor) -> None:
        """Copy the parameters whose memory this tensor shares, if any, before it changes."""
        for index in self._sharing.get(storage_key(tensor), ()):
            if index not in self._copies:
                self._copies[index] = self._aliases[index][1].clone()

    def _take_snapshot(self) -> Snapshot:
        snapshot = Snapshot(frozenset(id(parameter) for parameter in self._parameters))
        self._flags = [(module, module.training) for module in self._modules]
        for module in self._modules:
            snapshot.add(vars(module))
            for buffer in module.buffers(recurse=False):
                snapshot.add(buffer)
        return snapshot


def _all_modules(model: nn.Module) -> Iterator[nn.Module]:
    """Registered modules and those held in plain attributes, lists and dictionaries."""
    pending: list[object] = [model]
    seen: set[int] = set()
    while pending:
        current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        match current:
            case nn.Module():
                yield current
                pending += reversed(list(current.children()))
                pending += vars(current).values()
            case list() | tuple() | set():
                pending += current
            case dict():
                pending += current.values()


def _unique_parameters(modules: list[nn.Module]) -> list[Tensor]:
    found: dict[int, Tensor] = {}
    for module in modules:
        for parameter in module.parameters(recurse=False):
            found.setdefault(id(parameter), parameter)
    return list(found.values())


def _refuse_unready(modules: list[nn.Module]) -> None:
    for module in modules:
        tensors = (*module.parameters(recurse=False), *module.buffers(recurse=False))
        name = type(module).__name__
        if any(nn.parameter.is_lazy(tensor) for tensor in tensors):
            raise CheckError(
                f"{name} is lazy and has no shape yet: run one forward on real data, then check"
            )
        if any(tensor.is_meta for tensor in tensors):
            raise CheckError(f"{name} is on the meta device: load its weights first, then check")
