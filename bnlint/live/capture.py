"""The function mode of one pass: every torch function goes through it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from bnlint.live.drawing import Drawing, Operation
from bnlint.live.intercept import (
    BatchNormCall,
    DropoutCall,
    Plan,
    Sensitive,
    has_hidden_dropout,
    override,
    sensitive_call,
)
from bnlint.live.operations import hands_out, is_query, may_write
from bnlint.live.stack import Stack
from bnlint.live.tensors import tensors_in


class Observer(Protocol):
    """Who measures what passes by; called right after the function has run, without grad."""

    def batchnorm(self, key: str, node: int | None, call: BatchNormCall) -> None:
        """A BatchNorm call; its key is the same in every pass of a model."""

    def dropout(self, node: int | None, call: DropoutCall | None) -> None:
        """A dropout call; None for dropout inside an attention or recurrent layer."""


class Capture(TorchFunctionMode):
    """Follows one forward: runs mode-sensitive functions as planned, draws, tells the observer.

    before_write: told of every tensor that may be about to change in place. modes: by id, the
    training flag of modules that have another one for the time of the pass.
    """

    def __init__(
        self,
        plan: Plan,
        stack: Stack,
        observer: Observer,
        before_write: Callable[[Tensor], None],
        drawing: Drawing | None = None,
        modes: Mapping[int, bool] | None = None,
    ) -> None:
        super().__init__()
        self._modes = modes or {}
        self._plan = plan
        self._stack = stack
        self._observer = observer
        self._before_write = before_write
        self._drawing = drawing
        self._calls: dict[str, int] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one function; inside it this mode is off."""
        kwargs = kwargs or {}
        if hands_out(func):
            self._before_writes(tensors_in(args))
        if is_query(func):
            return func(*args, **kwargs)
        sensitive = sensitive_call(func, args, kwargs)
        tensors = list(tensors_in((args, kwargs)))
        if sensitive is None and may_write(func, kwargs):
            self._before_writes(tensors)
        operation = self._begin(func, tensors, kwargs, sensitive)
        result = self._run(func, args, kwargs, sensitive)
        self._end(operation, result, sensitive)
        return result

    def _before_writes(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            self._before_write(tensor)

    def _begin(
        self,
        func: Callable[..., Any],
        tensors: list[Tensor],
        kwargs: dict[str, Any],
        sensitive: Sensitive | None,
    ) -> Operation | None:
        if self._drawing is None:
            return None
        return self._drawing.begin(func, tensors, kwargs, sensitive)

    def _run(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        sensitive: Sensitive | None,
    ) -> Any:
        match sensitive:
            case BatchNormCall():
                self._key = self._next_key(sensitive)
                return sensitive.run(self._plan, self._key)
            case DropoutCall():
                return sensitive.run(self._plan)
            case None:
                if has_hidden_dropout(func, args):
                    self._observer.dropout(None, None)
                args, kwargs = override(func, args, kwargs, self._plan)
                return func(*args, **kwargs)

    def _end(self, operation: Operation | None, result: Any, sensitive: Sensitive | None) -> None:
        node = None
        if self._drawing is not None and operation is not None:
            node = self._drawing.end(operation, result)
        if sensitive is None:
            return
        with torch.no_grad():
            match sensitive:
                case BatchNormCall():
                    self._observer.batchnorm(self._key, node, self._as_called(sensitive))
                case DropoutCall():
                    self._observer.dropout(node, sensitive)

    def _as_called(self, call: BatchNormCall) -> BatchNormCall:
        """The call with the mode of its module: without running statistics, torch's BatchNorm
        normalises with the batch in both modes, and so its `training` argument says nothing."""
        running = self._stack.innermost
        if running is not None and id(running.module) in self._modes:
            return replace(call, training=self._modes[id(running.module)])
        if call.has_running or running is None:
            return call
        return replace(call, training=running.module.training)

    def _next_key(self, call: BatchNormCall) -> str:
        owner = self._stack.names.owner(call.running_mean)
        if owner is not None:
            path = self._stack.names.path(owner)
        else:
            innermost = self._stack.innermost
            path = innermost.path if innermost is not None else ""
        count = self._calls.get(path, 0)
        self._calls[path] = count + 1
        return f"{path}#{count}"


@contextmanager
def eagerly() -> Iterator[None]:
    """No gradients, and no compiled code: it would run past every hook and mode."""
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        yield
