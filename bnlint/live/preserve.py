"""Leave a model and the random number generators bit-identical, whatever a forward does to them.

Parameters are not copied, which would double the memory of a model: see `bnlint.live.weights`.
What cannot be put back is told, never passed over.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType

import torch
from torch import Tensor, nn

from bnlint.live.errors import BatchNormWarning, CheckError
from bnlint.live.randomness import RandomState
from bnlint.live.snapshot import Snapshot
from bnlint.live.surroundings import Surroundings
from bnlint.live.weights import Weights


class Preserve:
    """Context manager around everything that a check does with a model.

    On leaving, also by an exception, every module's attributes, buffers, tensors in plain
    attributes, flags, hooks and gradients, the attributes of its classes, every generator's state
    and torch's own modes are as they were. `rewind` does the same for the model in the middle, so
    that every pass starts from the same state; it leaves the generators alone.

    lost: after leaving, what could not be put back, or may change later on, and why. It is warned
    of, too (`BatchNormWarning`).

    Raises CheckError for lazy modules without shape and for models on the meta device.
    """

    def __init__(self, model: nn.Module) -> None:
        self.lost: list[tuple[str, str]] = []
        self._modules = _named(model)
        _refuse_unready([module for module, _ in self._modules])

    def __enter__(self) -> Preserve:
        self._random = RandomState()
        self._surroundings = Surroundings()
        parameters = _unique_parameters(self._modules)
        self._snapshot = self._take_snapshot(parameters)
        self._weights = Weights(parameters)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with ExitStack() as last_first:  # each happens, whatever the others raise
            last_first.callback(self._random.restore)
            last_first.callback(self._restore_model)
            last_first.callback(self._surroundings.restore)
        for name, reason in self.lost:
            told = f"{name or 'the model'} is not as it was before the check: {reason}"
            warnings.warn(BatchNormWarning(told), stacklevel=2)
        self.lost += [(name, self._may_differ(why)) for name, why in self._snapshot.unknown.items()]

    def rewind(self) -> None:
        """Put the model back as it was on entering, its gradients still aside."""
        with torch.no_grad():
            self._snapshot.restore()
            self._weights.rewind()

    def before_write(self, tensor: Tensor) -> None:
        """Copy the parameters whose memory this tensor shares, if any, before it changes."""
        self._weights.before_write(tensor)

    def _restore_model(self) -> None:
        with torch.no_grad():
            self.lost += self._restore()

    def _restore(self) -> Iterator[tuple[str, str]]:
        """Put everything back; yields what is different all the same."""
        failed = self._snapshot.restore()
        yield from self._weights.restore()
        yield from failed.items()
        for thread in self._surroundings.left_running():
            yield "", f"its forward has started the thread {thread!r}, which is still running"

    @staticmethod
    def _may_differ(why: str) -> str:
        return f"{why}: what its forward changes there is not put back"

    def _take_snapshot(self, parameters: dict[str, Tensor]) -> Snapshot:
        snapshot = Snapshot(frozenset(id(parameter) for parameter in parameters.values()))
        for module, name in self._modules:
            snapshot.add_instance(module, name)
            for buffer in module.buffers(recurse=False):
                snapshot.add(buffer, name)
        for name, parameter in parameters.items():
            snapshot.add(vars(parameter), name)
        classes = dict.fromkeys(
            base for module, _ in self._modules for base in type(module).__mro__
        )
        for cls in classes:
            if cls.__module__ != "builtins":
                snapshot.add_class(cls, cls.__name__)
        return snapshot


def _named(model: nn.Module) -> list[tuple[nn.Module, str]]:
    """Registered modules and those held in plain attributes, lists and dictionaries, by name."""
    names = {id(module): name for name, module in model.named_modules()}
    return [(module, names.get(id(module), type(module).__name__)) for module in _modules(model)]


def _modules(model: nn.Module) -> Iterator[nn.Module]:
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


def _unique_parameters(modules: list[tuple[nn.Module, str]]) -> dict[str, Tensor]:
    """Every parameter once, under its first name."""
    found: dict[str, Tensor] = {}
    known: set[int] = set()
    for module, owner in modules:
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in known:
                known.add(id(parameter))
                full = f"{owner}.{name}".lstrip(".")
                found[full if full not in found else f"{full} ({len(found)})"] = parameter
    return found


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
