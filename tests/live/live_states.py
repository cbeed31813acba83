"""Everything about a model and the generators that a check must leave alone, as comparable data."""

from __future__ import annotations

import random
import signal
from collections import deque
from typing import Any

import numpy
import torch
import torch._dynamo
from torch import Tensor, nn
from torch.nn.modules import module as torch_module


def fingerprint(model: nn.Module) -> dict[str, Any]:
    return {
        "modules": {name: _module(module) for name, module in model.named_modules()},
        "grads": {name: _freeze(p.grad) for name, p in model.named_parameters()},
        "flags": [p.requires_grad for p in model.parameters()],
        "identity": [id(t) for t in (*model.parameters(), *model.buffers())],
        "memory": [t.data_ptr() for t in (*model.parameters(), *model.buffers())],
        "hooks": [_freeze(p._backward_hooks) for p in model.parameters()],
        "random": _generators(),
        "classes": _classes(model),
        "torch": _surroundings(),
    }


def _module(module: nn.Module) -> object:
    attributes = [(key, _freeze(value)) for key, value in vars(module).items()]
    return (type(module), id(vars(module)), attributes)


def _classes(model: nn.Module) -> object:
    classes = dict.fromkeys(base for module in model.modules() for base in type(module).__mro__)
    return [(cls, [(key, id(value)) for key, value in vars(cls).items()]) for cls in classes]


def _surroundings() -> object:
    """What torch and the process keep for everybody."""
    shared = [value for name, value in vars(torch_module).items() if name.startswith("_global_")]
    tables = [value for value in shared if isinstance(value, dict)]
    return (
        [[(key, id(hook)) for key, hook in table.items()] for table in tables],
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        torch._C._len_torch_function_stack(),
        torch._C._len_torch_dispatch_stack(),
        torch.get_num_threads(),
        str(torch._dynamo.eval_frame._stance),
        signal.getsignal(signal.SIGINT),
        signal.getsignal(signal.SIGALRM),
    )


def _freeze(value: object) -> object:
    match value:
        case Tensor():
            data = value.detach().contiguous().reshape(-1).view(torch.uint8)
            return (tuple(value.shape), str(value.dtype), data.numpy().tobytes())
        case numpy.ndarray():
            return value.tobytes()
        case dict():
            return [(key, _freeze(part)) for key, part in value.items()]
        case list() | tuple() | deque():
            return [_freeze(part) for part in value]
        case torch.Generator():
            return value.get_state().numpy().tobytes()
        case random.Random():
            return value.getstate()
        case numpy.random.Generator():
            return str(value.bit_generator.state)
        case set():
            return sorted(map(str, value))
        case None | bool() | int() | float() | str():
            return value
    if type(value).__module__.startswith("test_"):
        return (id(value), _freeze(vars(value)) if not isinstance(value, nn.Module) else None)
    return id(value)


def _generators() -> object:
    state = numpy.random.get_state()
    return (
        torch.get_rng_state().numpy().tobytes(),
        random.getstate(),
        state[1].tobytes(),
        state[2:],
    )
