"""Tensors inside nested values: tuples, lists, dictionaries, dataclasses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final

import torch
from torch import Tensor

_ATOMS: Final = frozenset({int, float, bool, str, bytes, type(None)})


def tensors_in(value: object) -> Iterator[Tensor]:
    """Every tensor in a nested value, in order; a container that holds itself is entered once."""
    pending: list[object] = [value]
    entered: set[int] = set()
    while pending:
        current = pending.pop()
        if type(current) in _ATOMS:
            continue
        if isinstance(current, Tensor):
            yield current
            continue
        parts = _parts(current)
        if not parts or id(current) in entered:
            continue
        entered.add(id(current))
        pending += reversed(parts)


def _parts(value: object) -> list[object]:
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name, None) for field in fields(value)]
    return []


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A copy of nested tuples, lists and dictionaries with every tensor changed.

    Other containers are handed on as they are.
    """
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(part, change) for part in value))
    if type(value) in (tuple, list):
        return type(value)(map_tensors(part, change) for part in value)
    if isinstance(value, dict):
        return {key: map_tensors(part, change) for key, part in value.items()}
    return value


def same_bits(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors hold the same bits (so that NaN equals NaN, and -0.0 is not 0.0)."""
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    if first.device != second.device or first.layout != second.layout:
        return False
    if first.layout is not torch.strided or first.is_quantized:
        return bool(torch.equal(first, second))
    if first.numel() == 0:
        return True
    return bool(torch.equal(_bits(first), _bits(second)))


def _bits(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def unwrapped(tensor: Tensor) -> Tensor:
    """The tensor inside the wrappers of vmap and the other function transforms."""
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor


def storage_key(tensor: Tensor) -> int | None:
    """The identity of a tensor's memory; None where it has none of its own (sparse)."""
    try:
        return int(unwrapped(tensor).untyped_storage()._cdata)
    except (RuntimeError, NotImplementedError):
        return None


def batch_size(value: object) -> int | None:
    """The length of the first dimension of the first tensor that has one."""
    return next((len(tensor) for tensor in tensors_in(value) if tensor.dim() > 0), None)


def restore_tensor(tensor: Tensor, alias: Tensor, copy: Tensor) -> None:
    """Give a tensor its old memory (`alias`) with its old content (`copy`), writing only if needed.

    `copy` is `alias` itself where the content is known to be untouched.
    """
    if copy is not alias:
        try:
            if not same_bits(alias, copy):
                alias.data.copy_(copy)
        except RuntimeError:  # the memory was taken away (resized to nothing)
            alias = copy.clone()
    if not _same_memory(tensor, alias):
        tensor.data = alias


def _same_memory(first: Tensor, second: Tensor) -> bool:
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    if first.device != second.device or first.layout is not second.layout:
        return False
    if first.layout is not torch.strided:
        return same_bits(first, second)
    return first.data_ptr() == second.data_ptr() and first.stride() == second.stride()
