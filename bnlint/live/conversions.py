"""What a SyncBatchNorm was before `convert_sync_batchnorm` put it there, as the source says it.

The conversion replaces every subclass of BatchNorm by torch's plain SyncBatchNorm and leaves no
trace on the model, but the class that holds the layer still says what it constructs.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bnlint.live.modules import qualified
from bnlint.live.places import Places


def replaced_classes(root: nn.Module, places: Places) -> dict[int, str]:
    """By id of a plain SyncBatchNorm, the class with a forward of its own that stood there."""
    found: dict[int, str] = {}
    for path, module in root.named_modules():
        if type(module) is not nn.SyncBatchNorm:
            continue
        for holder, below in _holders(root, path):
            declared = list(_declared(holder, below, places))
            fusing = [cls for cls in declared if cls is not None and _fuses(cls)]
            if fusing and fusing == declared:
                found[id(module)] = qualified(fusing[0])
    return found


def _holders(root: nn.Module, path: str) -> Iterator[tuple[nn.Module, list[str]]]:
    """The modules that hold the one at `path`, innermost first, with the rest of the path."""
    parts = path.split(".")
    for length in range(len(parts) - 1, -1, -1):
        yield root.get_submodule(".".join(parts[:length])), parts[length:]


def _declared(holder: nn.Module, below: list[str], places: Places) -> Iterator[type | None]:
    """The classes that the holder's source constructs for an attribute (or an entry of one).

    One for each assignment; None where it cannot be told.
    """
    for _, owner, value in places.assigned(type(holder), below[0]):
        module = sys.modules.get(owner.__module__)
        yield _constructed(value, below[1:], {} if module is None else vars(module))


def _constructed(value: ast.expr, entries: list[str], names: dict[str, Any]) -> type | None:
    """The class of a constructor call, or of an entry of nested Sequential calls."""
    for entry in entries:
        if not isinstance(value, ast.Call) or _resolve(value.func, names) is not nn.Sequential:
            return None
        starred = any(isinstance(item, ast.Starred) for item in value.args)
        if starred or not entry.isdigit() or int(entry) >= len(value.args):
            return None
        value = value.args[int(entry)]
    cls = _resolve(value.func, names) if isinstance(value, ast.Call) else None
    return cls if isinstance(cls, type) else None


def _resolve(expression: ast.expr, names: dict[str, Any]) -> object:
    """What a dotted name stands for at module level; None for everything else."""
    match expression:
        case ast.Name(id=name):
            return names.get(name)
        case ast.Attribute(value=value, attr=attribute):
            return getattr(_resolve(value, names), attribute, None)
        case _:
            return None


def _fuses(cls: type) -> bool:
    """Whether a class is a BatchNorm whose forward does more than BatchNorm's."""
    own = not cls.__module__.startswith("torch.")
    return own and issubclass(cls, _BatchNorm) and cls.forward is not _BatchNorm.forward
