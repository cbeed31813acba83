"""What a torch function is called and which kind of operation it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from bnlint.graph import Kind
from bnlint.torchnames import TorchName, lookup

QUERIES: Final = frozenset(
    [
        "size",
        "dim",
        "stride",
        "numel",
        "nelement",
        "ndimension",
        "storage_offset",
        "element_size",
        "get_device",
        "data_ptr",
        "is_contiguous",
        "is_floating_point",
        "is_complex",
        "is_signed",
        "is_same_size",
        "item",
        "tolist",
        "numpy",
        "__len__",
        "__bool__",
        "__int__",
        "__float__",
        "__index__",
        "__format__",
        "__repr__",
        "__hash__",
        "untyped_storage",
        "storage",
        "_set_grad_enabled",
        "is_inference",
        "is_tensor",
        "is_pinned",
        "result_type",
        "__contains__",
    ]
)
"""Functions that ask a tensor something and compute nothing that flows on."""

_ALIASES: Final = {
    "__add__": "add",
    "__radd__": "add",
    "__iadd__": "add_",
    "__sub__": "sub",
    "__rsub__": "sub",
    "rsub": "sub",
    "__isub__": "sub_",
    "__mul__": "mul",
    "__rmul__": "mul",
    "__imul__": "mul_",
    "__truediv__": "div",
    "true_divide": "div",
    "subtract": "sub",
    "__matmul__": "matmul",
}
_VIEWS: Final = frozenset({"T", "mT", "H", "mH", "real", "imag"})
_RECURRENT: Final = frozenset(["lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell"])
_DECORATION: Final = re.compile(r"(?:_with_indices|_)$")


_BY_SHAPE: Final = re.compile(r"\w+_like$|new_(?:zeros|ones|empty|full|tensor)$")


def takes_shape_only(name: str) -> bool:
    """Whether a function asks its operand for shape and type only: `zeros_like`."""
    return _BY_SHAPE.match(name.rpartition(".")[2]) is not None


def is_query(function: Callable[..., Any]) -> bool:
    """Whether the function asks a tensor something and computes nothing that flows on."""
    name = getattr(function, "__name__", "")
    if name != "__get__":
        return name in QUERIES
    attribute = getattr(getattr(function, "__self__", None), "__name__", "")
    return attribute != "data" and attribute not in _VIEWS


def describe(function: Callable[..., Any]) -> TorchName:
    """The public name of a function that a function mode sees, and its kind.

    A function that the table of torch names does not know is of kind CALL.
    """
    name = getattr(function, "__name__", type(function).__name__)
    prefix = _prefix(function)
    if name == "__get__":
        return _attribute(function)
    if name == "__getitem__":
        return TorchName("torch.Tensor.__getitem__", Kind.SLICE)
    if prefix == "torch.ops":
        name = name.partition(".")[0]
        prefix = "torch"
    name = _ALIASES.get(name, name)
    if name in _RECURRENT:
        return TorchName(f"torch.{name}", Kind.RECURRENT)
    for spelling in (name, _DECORATION.sub("", name)):
        known = lookup(f"{prefix}.{spelling}")
        if known is not None:
            return known
    return TorchName(f"{prefix}.{name}", Kind.CALL)


def _prefix(function: Callable[..., Any]) -> str:
    if hasattr(function, "__objclass__"):
        return "torch.Tensor"
    module = getattr(function, "__module__", None) or "torch"
    if module in ("torch.nn.functional", "torch._C._nn"):
        return "torch.nn.functional"
    if module == "torch._tensor":
        return "torch.Tensor"
    return "torch.ops" if module.startswith("torch._ops") else "torch"


def _attribute(function: Callable[..., Any]) -> TorchName:
    """`x.T`, `x.data`: an attribute that is a tensor."""
    name = getattr(getattr(function, "__self__", None), "__name__", "")
    kind = Kind.RESHAPE if name in _VIEWS else Kind.IDENTITY
    return TorchName(f"torch.Tensor.{name}", kind)


_HANDED_OUT: Final = frozenset(
    ["numpy", "__array__", "__dlpack__", "untyped_storage", "storage", "_typed_storage"]
)
"""Functions that give a tensor's memory away, to be written by whoever has it."""


def hands_out(function: Callable[..., Any]) -> bool:
    """Whether the function gives memory to somebody whose writes cannot be seen."""
    return getattr(function, "__name__", "") in _HANDED_OUT


def may_write(function: Callable[..., Any], kwargs: dict[str, Any]) -> bool:
    """Whether the function, by its name or arguments, may change an operand in place."""
    name = getattr(function, "__name__", "")
    if name.endswith("_") and not name.endswith("__"):
        return True
    if name in ("__setitem__", "__set__") or (name.startswith("__i") and name != "__invert__"):
        return True
    return bool(
        kwargs.get("inplace") or kwargs.get("out") is not None or kwargs.get("max_norm") is not None
    )
