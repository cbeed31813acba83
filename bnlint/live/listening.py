"""Hears of every forward, backward pass and optimizer step of a watched model.

The hooks are torch's global ones: nothing is put on the model, so that copies and checkpoints that
the user makes of it meanwhile are clean. A compiled part is heard from its outside: inside it the
hooks are traced, and there they are empty.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from bnlint.graph import Kind
from bnlint.live.callers import Callers, Site, checkpointing, may_be_training_step, stance
from bnlint.live.exporting import exporter, is_compiled_away
from bnlint.live.modules import is_wrapper
from bnlint.live.roster import Entry, Roster
from bnlint.live.tensors import batch_size, tensors_in

_GLOBAL_HOOKS = r"Using `torch\.compile\(module\)` when there are global hooks"
_LARGEST_OUTPUT = 64
"""Tensors of an output from which a backward pass is listened for."""


@dataclass(slots=True, eq=False)
class Call:
    """One forward of the watched model, or of a part of it that is called by itself.

    modes: the training flag of each layer of the roster; root_trains: of the model itself.
    frozen: layers whose scale and shift do not learn. called: the layers that ran, with the values
    per channel of their input (None: not seen). may_train: a backward pass may follow, by the code.
    generates: it makes images or sequences of vectors, as a generator does of noise.
    recomputed: BatchNorm layers that ran again in the backward pass, with the line that
    checkpoints them, where it is known. exported_by: the function of torch that exports the model
    by this call ("torch.jit.trace"), "" for a forward of its own.
    """

    module: nn.Module
    site: Site
    grad: bool
    modes: tuple[bool, ...]
    root_trains: bool
    frozen: frozenset[int]
    batch: int | None
    discarded: bool
    may_train: bool
    called: dict[int, int | None] = field(default_factory=dict)
    recomputed: dict[int, Site | None] = field(default_factory=dict)
    generates: bool = False
    learned: bool = False
    exported_by: str = ""


class Ear(Protocol):
    """Who is told. Each method is called on the thread on which it happens."""

    def reached(self, call: Call, entry: Entry, values: int | None) -> None:
        """A BatchNorm layer is about to run; values: values per channel of its input."""

    def ended(self, call: Call) -> None:
        """A forward is over, by returning or by an exception."""

    def exported(self, call: Call) -> None:
        """A forward is over by which the model was traced or exported."""

    def learned(self, call: Call) -> None:
        """A gradient has reached the output of a call."""

    def stepped(self, ours: bool) -> None:
        """An optimizer has stepped; ours: it holds parameters of the model."""


class Listener:
    """The hooks; on `start` they are put in place, on `stop` they are all gone."""

    def __init__(self, roster: Roster, ear: Ear) -> None:
        self._roster = roster
        self._ear = ear
        self._callers = Callers()
        self._now = threading.local()
        self._latest: Call | None = None
        self._parameters = {id(parameter) for parameter in roster.root.parameters()}
        self._wrappers: dict[type, bool] = {}
        self._checkpoints: dict[int, Site] = {}
        self._looked_at: set[int] = set()
        self._hooks = ExitStack()

    def start(self) -> None:
        """Begin to listen."""
        with ExitStack() as hooks:
            hooks.enter_context(_without_compile_warning())
            for handle in (
                register_module_forward_pre_hook(self._enter),
                register_module_forward_hook(self._leave, always_call=True),
                register_optimizer_step_post_hook(self._step),
            ):
                hooks.callback(handle.remove)
            for module in self._roster.root.modules():
                compiled = module._compiled_call_impl
                if compiled is not None:
                    hooks.enter_context(self._outside(module, compiled))
            self._hooks = hooks.pop_all()

    def stop(self) -> None:
        """Remove every hook."""
        self._hooks.close()

    # -- modules

    @property
    def _current(self) -> Call | None:
        return getattr(self._now, "call", None)

    def _enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if is_compiled_away():
            return
        call = self._current
        if call is None or call.module is module:
            if not self._belongs(module):
                return
            if torch._C._current_graph_task_id() != -1:
                self._recompute(module)
                return
            call = self._begin(module, args)
        if not self._now.heard:
            return
        if self._hides(module):
            call.called.update(dict.fromkeys(self._roster.below(module)))
            return
        entry = self._roster.entry(module, "")
        if entry is None:
            return
        if call.exported_by:  # asking for sizes would be a part of what is traced
            call.called[entry.index] = None
            return
        values = _values_per_channel(args)
        if entry.index >= len(call.modes):  # a layer that turned up just now
            call.modes += tuple(e.module.training for e in self._roster.entries[len(call.modes) :])
        call.called[entry.index] = values
        if entry.kind is Kind.BATCHNORM:
            self._look_for_checkpoint(call, entry)
            self._ear.reached(call, entry, values)

    def _leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if is_compiled_away():
            return
        call = self._current
        if call is not None and call.module is module:
            self._end(call, output)

    def _hides(self, module: nn.Module) -> bool:
        """Whether hooks inside a wrapper do not fire, or fire for copies on other threads."""
        cls = type(module)
        if cls not in self._wrappers:
            self._wrappers[cls] = is_wrapper(module)
        if not self._wrappers[cls]:
            return False
        if isinstance(module, nn.DataParallel):
            return len(module.device_ids) > 1
        return hasattr(module, "_orig_mod")

    def _belongs(self, module: nn.Module) -> bool:
        if module in self._roster:
            return True
        inner = getattr(module, "_orig_mod", None)  # compiled after the watch has begun
        return isinstance(inner, nn.Module) and inner in self._roster

    def _recompute(self, module: nn.Module) -> None:
        """A layer runs during a backward pass: its forward was checkpointed."""
        entry = self._roster.entry(module, "")
        call = self._latest
        if call is None or entry is None or entry.kind is not Kind.BATCHNORM:
            return
        self._gradient(call)
        if module.training and module.running_mean is not None and module.momentum:
            call.recomputed[entry.index] = site = self._checkpoints.get(entry.index)
            if site is None:  # it was not checkpointed when it was looked at: look again
                self._looked_at.discard(entry.index)

    def _look_for_checkpoint(self, call: Call, entry: Entry) -> None:
        """Find the line that checkpoints a layer, when it runs for the first time."""
        if not call.grad or entry.index in self._looked_at:
            return
        self._looked_at.add(entry.index)
        frame = checkpointing()
        if frame is not None:
            self._checkpoints[entry.index] = self._callers.site(frame)

    # -- forwards

    def _begin(self, module: nn.Module, args: tuple[Any, ...]) -> Call:
        with torch._C.DisableTorchFunction():
            call, heard = self._new_call(module, args)
        self._now.call, self._now.heard = call, heard
        return call

    def _new_call(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Call, bool]:
        """The call, and whether it is one of the user's."""
        how = stance()
        by = exporter(how.frame) if how is not None else None
        heard = how is not None and not how.ours and by != ""
        grad = torch.is_grad_enabled() or (how is not None and how.checkpointed)
        modes = self._roster.modes()
        suspect = how.frame if how is not None and (by or not grad) and any(modes) else None
        call = Call(
            module=module,
            site=self._callers.site(how.frame) if how is not None else Site.unknown(),
            grad=grad,
            modes=modes,
            root_trains=self._roster.root.training,
            frozen=self._roster.frozen() if grad else frozenset(),
            batch=batch_size(args) if heard and not by else None,
            generates=heard and not by and _positions(args) == 1,
            discarded=suspect is not None and self._callers.is_discarded(suspect),
            may_train=suspect is not None and may_be_training_step(suspect),
            exported_by=by or "",
        )
        return call, heard

    def _end(self, call: Call, output: Any) -> None:
        heard = self._now.heard
        self._now.call = None
        if not heard:
            return
        if call.exported_by:
            self._ear.exported(call)
            return
        with torch._C.DisableTorchFunction():
            if call.batch is None:
                call.batch = batch_size(output)
            call.generates = call.generates and (_positions(output) or 0) > 1
            if call.grad:
                self._latest = call
                self._await_backward(call, output)
        self._ear.ended(call)

    def _await_backward(self, call: Call, output: Any) -> None:
        nodes: dict[Any, None] = {}
        for _, tensor in zip(range(_LARGEST_OUTPUT), tensors_in(output)):
            if tensor.grad_fn is not None:
                nodes[tensor.grad_fn] = None
        for node in nodes:
            node.register_prehook(partial(self._gradient, call))

    def _gradient(self, call: Call, gradients: tuple[Tensor | None, ...] = ()) -> None:
        if not call.learned:
            call.learned = True
            self._ear.learned(call)

    # -- optimizers

    def _step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        held = (id(p) for group in optimizer.param_groups for p in group["params"])
        self._ear.stepped(any(parameter in self._parameters for parameter in held))

    # -- modules that are compiled in place

    @contextmanager
    def _outside(self, module: nn.Module, compiled: Callable[..., Any]) -> Iterator[None]:
        """Listen around the compiled call of a module (`module.compile()`), past which no hook of
        Python's gets."""
        listened = _Around(self, module, compiled)
        module._compiled_call_impl = listened
        try:
            yield
        finally:
            if module._compiled_call_impl is listened:
                module._compiled_call_impl = compiled

    def around(
        self, module: nn.Module, run: Callable[..., Any], args: tuple[Any, ...], kwargs: Any
    ) -> Any:
        """Run the compiled call of a module as one forward, or as a part of the current one."""
        outer = self._current
        call = outer if outer is not None else self._begin(module, args)
        call.called.update(dict.fromkeys(self._roster.below(module)))
        output: Any = None
        try:
            output = run(*args, **kwargs)
        finally:
            if outer is None:
                self._end(call, output)
        return output


class _Around:
    """Stands in for the compiled call of a module while it is watched."""

    def __init__(self, listener: Listener, module: nn.Module, run: Callable[..., Any]) -> None:
        self._listener = listener
        self._module = module
        self._run = run

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if is_compiled_away():
            return self._run(*args, **kwargs)
        return self._listener.around(self._module, self._run, args, kwargs)


@contextmanager
def _without_compile_warning() -> Iterator[None]:
    """Silence what torch says of compiled modules under global hooks: ours take care of them."""
    warnings.filterwarnings("ignore", message=_GLOBAL_HOOKS)
    ours = warnings.filters[0]
    try:
        yield
    finally:
        with suppress(ValueError):  # somebody has reset the filters
            warnings.filters.remove(ours)  # type: ignore[attr-defined]


def _positions(value: object) -> int | None:
    """Values per sample and channel of the first tensor (N, C, ...), where it is one of numbers."""
    tensor = next(tensors_in(value), None)
    if tensor is None or tensor.dim() < 2 or not tensor.is_floating_point():
        return None
    return tensor.shape[2:].numel()


def _values_per_channel(args: tuple[Any, ...]) -> int | None:
    """N*H*W of the first argument; None where it is passed by keyword."""
    if not args or not isinstance(args[0], Tensor) or args[0].dim() < 2 or not args[0].shape[1]:
        return None
    return args[0].numel() // args[0].shape[1]
