"""What a forward should not do to its model, each a function of the model, the running layer and
chance."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import numpy
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

Lie = Callable[[nn.Module, nn.Module, random.Random], object]


def _parent(root: nn.Module, chance: random.Random) -> tuple[nn.Module, str]:
    """A random module with children, and the name of one."""
    parent = chance.choice([m for m in root.modules() if any(True for _ in m.children())])
    return parent, chance.choice([name for name, _ in parent.named_children()])


def swap_a_module(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    setattr(*_parent(root, chance), nn.Identity())


def drop_a_module(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    delattr(*_parent(root, chance))


def add_a_module(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    module.add_module("grown", nn.BatchNorm1d(3))


def add_hooks(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    module.register_forward_hook(lambda *_: None)
    module.register_full_backward_hook(lambda *_: None)
    module.register_state_dict_pre_hook(lambda *_: None)


def add_global_hooks(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    nn.modules.module.register_module_forward_hook(lambda *_: None)
    nn.modules.module.register_module_full_backward_hook(lambda *_: None)


def remove_hooks(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    module._forward_hooks.clear()
    next(root.parameters())._backward_hooks = None


def write_buffers(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    for buffer in root.buffers():
        buffer.fill_(3)


def replace_buffers(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    for part in root.modules():
        for name, buffer in list(part.named_buffers(recurse=False)):
            setattr(part, name, buffer + 1)


def free_buffers(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    for buffer in root.buffers():
        buffer.untyped_storage().resize_(0)


def register_things(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    module.register_parameter("extra", nn.Parameter(torch.ones(3)))
    module.register_buffer("noted", torch.ones(3))


def replace_parameters(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    for part in root.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            setattr(part, name, nn.Parameter(parameter + 1))


def _some_parameter(root: nn.Module, chance: random.Random) -> nn.Parameter:
    return chance.choice(list(root.parameters()))


def write_a_parameter(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    with torch.no_grad():
        _some_parameter(root, chance).add_(1)


def write_through_data(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    _some_parameter(root, chance).data.view(-1)[0] = 5.0


def write_through_numpy(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    _some_parameter(root, chance).detach().numpy()[...] = 0


def write_out(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    parameter = _some_parameter(root, chance)
    with torch.no_grad():
        torch.add(parameter, 1, out=parameter.data)
        torch._foreach_mul_(list(root.parameters()), 0.5)


def free_a_parameter(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    _some_parameter(root, chance).untyped_storage().resize_(0)


def change_dtype(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    root.double()


def freeze(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    root.requires_grad_(False)


def flip_modes(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    for part in root.modules():
        part.training = chance.random() < 0.5


def leave_gradients(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    for parameter in root.parameters():
        parameter.grad = torch.ones_like(parameter)


def hook_tensors(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    for parameter in root.parameters():
        if parameter.requires_grad:
            parameter.register_hook(lambda gradient: gradient * 0)
        parameter.noted = True  # type: ignore[attr-defined]


def change_attributes(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    module.seen = [1]  # type: ignore[assignment]
    vars(module)["training"] = "perhaps"
    vars(root).setdefault("log", []).append(1)


def replace_dict(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    object.__setattr__(module, "__dict__", {**vars(module), "other": 1})


def change_class(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    module.__class__ = type("Other", (type(module),), {})
    type(root).calls = getattr(type(root), "calls", 0) + 1  # type: ignore[attr-defined]


def change_torch(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    torch.set_grad_enabled(True)
    torch.set_num_threads(2)
    torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
    nn.BatchNorm2d.forward = nn.BatchNorm2d.forward  # type: ignore[method-assign]


class Through(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: object, args: Any = (), kwargs: Any = None
    ) -> Any:
        return func(*args, **(kwargs or {}))


def enter_a_mode(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    Through().__enter__()


def gamble(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    torch.manual_seed(1), numpy.random.seed(1), random.seed(1)
    torch.rand(3), numpy.random.rand(), random.random()


def tell_a_thread(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    """A thread of its own, which has come to its end, changes attributes and buffers."""

    def work() -> None:
        vars(module)["seen"] = 1
        for buffer in root.buffers():
            buffer.zero_()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def write_in_a_thread(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    """What no mode sees and what was not copied."""

    def work() -> None:
        with torch.no_grad():
            _some_parameter(root, chance).view(-1)[0] += 1

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def leave_a_thread(root: nn.Module, module: nn.Module, chance: random.Random) -> None:
    threading.Thread(target=THREADS.wait, daemon=True, name="left behind").start()


THREADS = threading.Event()
"""Set, it ends the threads that were left behind."""

LIES: dict[str, Lie] = {
    lie.__name__.replace("_", " "): lie
    for lie in (
        swap_a_module,
        drop_a_module,
        add_a_module,
        add_hooks,
        add_global_hooks,
        remove_hooks,
        write_buffers,
        replace_buffers,
        free_buffers,
        register_things,
        replace_parameters,
        write_a_parameter,
        write_through_data,
        write_through_numpy,
        write_out,
        free_a_parameter,
        change_dtype,
        freeze,
        flip_modes,
        leave_gradients,
        hook_tensors,
        change_attributes,
        replace_dict,
        change_class,
        change_torch,
        enter_a_mode,
        gamble,
        tell_a_thread,
        write_in_a_thread,
        leave_a_thread,
    )
}

TOLD = frozenset({"write in a thread", "leave a thread"})
"""Lies that cannot be undone: they must be told."""
