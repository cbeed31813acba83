"""Hooks that hang on a tensor: those that run when a gradient reaches it."""

from __future__ import annotations

from typing import Any, Final

from torch import Tensor

_TABLES: Final = ("_backward_hooks", "_post_accumulate_grad_hooks")


class Hooks:
    """The hooks of a tensor at the moment of construction; `restore` goes back to them."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor
        self._tables: dict[str, tuple[Any, dict[Any, Any]]] = {}
        for name in _TABLES:
            table = getattr(tensor, name)
            self._tables[name] = (table, dict(table or {}))

    def restore(self) -> None:
        """Remove what was added since, and put back what was removed."""
        for name, (table, hooks) in self._tables.items():
            if getattr(self._tensor, name) is not table:
                setattr(self._tensor, name, table)
            if table is not None and list(table.items()) != list(hooks.items()):
                table.clear()
                table.update(hooks)
