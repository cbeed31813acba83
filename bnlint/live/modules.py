"""What the modules of a model are called, and which torch class each of them is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from bnlint.graph import UNKNOWN, Kind, Parameter, Scope
from bnlint.torchnames import CONTAINERS, TorchName, canonical, lookup

WRAPPERS = frozenset(
    {
        "torch._dynamo.eval_frame.OptimizedModule",
        "torch.nn.parallel.data_parallel.DataParallel",
        "torch.nn.parallel.distributed.DistributedDataParallel",
    }
)
"""Modules around a model that are no part of it."""


def qualified(cls: type) -> str:
    """The qualified class name in torch's public spelling."""
    return canonical(f"{cls.__module__}.{cls.__qualname__}")


def is_wrapper(module: nn.Module) -> bool:
    """Whether the module only wraps another one (compiled, data parallel)."""
    return qualified(type(module)) in WRAPPERS


def is_distributed(module: nn.Module) -> bool:
    """Whether a DistributedDataParallel is among the wrappers around a model."""
    while is_wrapper(module):
        if qualified(type(module)).endswith(".DistributedDataParallel"):
            return True
        inner = module.module if hasattr(module, "module") else module._orig_mod
        if not isinstance(inner, nn.Module):
            break
        module = inner
    return False


def unwrap(module: nn.Module) -> nn.Module:
    """The model inside compilation and data-parallel wrappers, whose threads hide a forward."""
    while is_wrapper(module):
        inner = module.module if hasattr(module, "module") else module._orig_mod
        if not isinstance(inner, nn.Module):
            break
        module = inner
    return module


def is_scripted(module: nn.Module) -> bool:
    """Whether the module is compiled TorchScript, into which nobody can look."""
    return type(module).__module__.startswith("torch.jit.")


def outermost_scripted(root: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The parts of a model that are TorchScript as a whole, with their names."""
    outer: str | None = None
    for path, module in root.named_modules():
        inside = outer is not None and (not outer or path.startswith(f"{outer}."))
        if is_scripted(module) and not inside:
            outer = path
            yield path, module


def scripted_norms(module: nn.Module) -> int:
    """BatchNorm layers inside a compiled TorchScript module."""
    names = (getattr(part, "original_name", "") for part in module.modules())
    return sum("BatchNorm" in name for name in names)


def torch_class(cls: type) -> tuple[TorchName, type] | None:
    """The nearest class in the method resolution order that the table of torch names knows."""
    for base in cls.__mro__:
        entry = lookup(qualified(base))
        if entry is not None:
            return entry, base
    return None


def torch_entry(module: nn.Module) -> TorchName | None:
    """What the table says of the module's class, or of the torch class that it extends."""
    known = torch_class(type(module))
    return known[0] if known else None


def runs_torch_forward(module: nn.Module) -> bool:
    """Whether the module is a torch layer that computes what torch's class computes."""
    known = torch_class(type(module))
    if known is None or "forward" in vars(module):
        return False
    return bool(type(module).forward is known[1].forward)  # type: ignore[attr-defined]


def is_sensitive(module: nn.Module) -> bool:
    """Whether the module's own output depends on the mode: BatchNorm or Dropout."""
    entry = torch_entry(module)
    return entry is not None and entry.kind in (Kind.BATCHNORM, Kind.DROPOUT)


def is_frozen(norm: nn.Module) -> bool:
    """Whether a BatchNorm layer that keeps running statistics has a scale and shift that do not
    learn."""
    affine = [p for p in (norm.weight, norm.bias) if isinstance(p, Tensor)]
    if not affine or norm.running_mean is None or norm.momentum == 0:
        return False
    return not any(parameter.requires_grad for parameter in affine)


def is_layer(module: nn.Module) -> bool:
    """Whether a call of the module is one node: a torch layer with no sensitive layer inside."""
    if is_scripted(module):
        return True
    if not runs_torch_forward(module):
        return False
    return not any(is_sensitive(child) for child in module.modules() if child is not module)


def parameters_of(module: nn.Module) -> dict[str, Parameter]:
    """The constructor parameters that can be read off the module, by torch's names."""
    entry = torch_entry(module)
    if entry is None:
        return {}
    found = {name: _value(getattr(module, name, UNKNOWN)) for name, _ in entry.parameters}
    if "bias" in found:
        bias = getattr(module, "bias", None)
        found["bias"] = bias if isinstance(bias, bool) else bias is not None
    if entry.kind is Kind.BATCHNORM:
        found["num_features"] = _value(getattr(module, "num_features", UNKNOWN))
    return found


def _value(value: Any) -> Parameter:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, tuple):
        return tuple(_value(part) for part in value)
    return UNKNOWN


class Names:
    """The qualified names of a model's modules and of the owners of running statistics."""

    def __init__(self, root: nn.Module) -> None:
        self.root = root
        self._paths: dict[int, str] = {}
        self._owners: dict[int, nn.Module] = {}
        for path, module in root.named_modules():
            self._paths[id(module)] = path
            for buffer in module.buffers(recurse=False):
                self._owners.setdefault(id(buffer), module)

    def path(self, module: nn.Module, parent: str = "") -> str:
        """The qualified name; for a module that is not registered, one below its caller's."""
        known = self._paths.get(id(module))
        if known is not None:
            return known.replace("_orig_mod.", "")
        return f"{parent}.{type(module).__name__}".lstrip(".")

    def __contains__(self, module: nn.Module) -> bool:
        return id(module) in self._paths

    def owner(self, buffer: Tensor | None) -> nn.Module | None:
        """The module that holds this buffer; None for a tensor that is no buffer."""
        return self._owners.get(id(buffer)) if buffer is not None else None

    def scope(self, module: nn.Module, path: str) -> Scope:
        """The module as one step of a node's scope."""
        cls = qualified(type(module))
        return Scope(path, cls, container=cls in CONTAINERS)

    def batchnorms(self) -> Iterator[tuple[str, nn.Module]]:
        """Every registered module that is torch's BatchNorm, with its name."""
        for path, module in self.root.named_modules():
            entry = torch_entry(module)
            if entry is not None and entry.kind is Kind.BATCHNORM:
                yield path.replace("_orig_mod.", ""), module
