"""Everything about a model and the generators that a check must leave alone, as comparable data."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import numpy
import torch
from torch import Tensor, nn


def fingerprint(model: nn.Module) -> dict[str, Any]:
    return {
        "modules": {name: _module(module) for name, module in model.named_modules()},
        "grads": {name: _freeze(p.grad) for name, p in model.named_parameters()},
        "flags": [p.requires_grad for p in model.parameters()],
        "identity": [id(t) for t in (*model.parameters(), *model.buffers())],
        "memory": [t.data_ptr() for t in (*model.parameters(), *model.buffers())],
        "random": _generators(),
    }


def _module(module: nn.Module) -> object:
    return [(key, _freeze(value)) for key, value in vars(module).items()]


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
