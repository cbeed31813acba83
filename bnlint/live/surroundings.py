"""What a forward can change in torch itself, and the threads that it can leave behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.modules import module as torch_module


class Surroundings:
    """torch's own state at the moment of construction; `restore` goes back to it.

    Gradient mode, default type, threads, determinism, the hooks that are global to all modules,
    and the modes that functions and operators go through.
    """

    def __init__(self) -> None:
        self._hooks = [(table, dict(table)) for table in _global_hooks()]
        self._grad = torch.is_grad_enabled()
        self._dtype = torch.get_default_dtype()
        self._cores = torch.get_num_threads()
        self._deterministic = torch.get_deterministic_debug_mode()
        cudnn = torch.backends.cudnn
        self._cudnn = (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32)
        self._modes = _modes()
        self._threads = set(threading.enumerate())

    def restore(self) -> None:
        """Put everything back but the threads, which nobody can end."""
        functions, operators = self._modes
        while _modes()[0] > functions:
            torch._C._pop_torch_function_stack()
        while _modes()[1] > operators:
            torch._C._pop_torch_dispatch_stack(None)
        for table, hooks in self._hooks:
            if list(table.items()) != list(hooks.items()):
                table.clear()
                table.update(hooks)
        torch.set_grad_enabled(self._grad)
        if torch.get_default_dtype() is not self._dtype:
            torch.set_default_dtype(self._dtype)
        if torch.get_num_threads() != self._cores:
            torch.set_num_threads(self._cores)
        if torch.get_deterministic_debug_mode() != self._deterministic:
            torch.set_deterministic_debug_mode(self._deterministic)
        cudnn = torch.backends.cudnn
        if (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32) != self._cudnn:
            cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32 = self._cudnn

    def left_running(self) -> Iterator[str]:
        """The names of threads that were started since and are still alive."""
        for thread in threading.enumerate():
            if thread not in self._threads:
                yield thread.name


def _global_hooks() -> list[dict[Any, Any]]:
    """torch's tables of hooks that hold for every module."""
    names = [name for name in vars(torch_module) if name.startswith("_global_")]
    return [table for name in names if isinstance(table := getattr(torch_module, name), dict)]


def _modes() -> tuple[int, int]:
    """How many modes functions and operators go through."""
    return torch._C._len_torch_function_stack(), torch._C._len_torch_dispatch_stack()
