"""The modules that are running: a forward hook for names only.

The hooks are torch's global ones, so that no module's own hook table is touched.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)

from bnlint.graph import Scope
from bnlint.live.modules import Names, is_layer, is_wrapper
from bnlint.live.tensors import tensors_in


def _unobserved() -> AbstractContextManager[None]:
    """Hooks run inside the function mode; what they ask of a tensor is none of its business."""
    guard: AbstractContextManager[None] = torch._C.DisableTorchFunction()
    return guard


class Watcher(Protocol):
    """Who is told when a layer (a module that is one node) begins and ends."""

    def layer_begins(self, running: Running, inputs: list[Tensor]) -> None:
        """A layer is about to run on these tensors."""

    def layer_ends(self, running: Running, outputs: list[Tensor]) -> None:
        """The layer has returned these tensors."""


@dataclass(slots=True)
class Running:
    """A module that is running now.

    call_index: 0 in the module's first call of this forward. layer: it is one node as a whole.
    node: the node that stands for the layer, once it is drawn. operands: what feeds the layer.
    writes: writes to each input's memory before the call, by id of the tensor.
    """

    module: nn.Module
    path: str
    call_index: int
    layer: bool
    node: int | None = None
    operands: list[frozenset[int]] = field(default_factory=list)
    inputs: list[tuple[Tensor, int]] = field(default_factory=list)


class Stack:
    """The running modules of one forward on one thread."""

    def __init__(self, names: Names, watcher: Watcher | None = None) -> None:
        self.names = names
        self.called: dict[int, nn.Module] = {}
        self.elsewhere: dict[str, None] = {}
        self._watcher = watcher
        self._running: list[Running] = []
        self._calls: dict[int, int] = {}
        self._is_layer: dict[int, bool] = {}
        self._thread = threading.get_ident()

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Follow module calls while the context lasts."""
        before = register_module_forward_pre_hook(self._enter)
        after = register_module_forward_hook(self._leave, always_call=True)
        try:
            yield
        finally:
            before.remove()
            after.remove()
            self._running.clear()

    @property
    def innermost(self) -> Running | None:
        """The module that runs now."""
        return self._running[-1] if self._running else None

    @property
    def layer(self) -> Running | None:
        """The outermost running module that is one node as a whole."""
        return next((running for running in self._running if running.layer), None)

    def holders(self, within: Running | None = None) -> list[tuple[nn.Module, str]]:
        """The modules around a running one (or around the current operation), outermost first."""
        found: list[tuple[nn.Module, str]] = []
        for running in self._running:
            if running is within:
                break
            if not is_wrapper(running.module):
                found.append((running.module, running.path))
        return found

    def scope(self, within: Running | None = None) -> tuple[Scope, ...]:
        """The holders as a node's scope."""
        return tuple(self.names.scope(module, path) for module, path in self.holders(within))

    def called_directly(self, module: nn.Module) -> Running:
        """A module whose `forward` is called past every hook (`self.bn.forward(x)`)."""
        self.called[id(module)] = module
        return Running(module, self.names.path(module), self._count(module), layer=True)

    def _count(self, module: nn.Module) -> int:
        count = self._calls.get(id(module), 0)
        self._calls[id(module)] = count + 1
        return count

    def _enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        parent = self._running[-1].path if self._running else ""
        path = self.names.path(module, parent)
        if threading.get_ident() != self._thread:
            if module in self.names:
                self.elsewhere[path] = None
            return
        self.called[id(module)] = module
        call_index = self._count(module)
        outer = self.layer
        running = Running(module, path, call_index, self._stands_alone(module))
        self._running.append(running)
        if running.layer and outer is None and self._watcher is not None:
            with _unobserved():
                self._watcher.layer_begins(running, list(tensors_in(args)))

    def _leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        if not any(running.module is module for running in self._running):
            return
        while self._running[-1].module is not module:
            self._running.pop()
        running = self._running[-1]
        if running is self.layer and self._watcher is not None:
            with _unobserved():
                self._watcher.layer_ends(running, list(tensors_in(output)))
        self._running.pop()

    def _stands_alone(self, module: nn.Module) -> bool:
        known = self._is_layer.get(id(module))
        if known is None:
            known = self._is_layer[id(module)] = is_layer(module)
        return known
