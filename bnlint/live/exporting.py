"""Forwards by which torch traces or exports a model: nobody uses their outputs, all is symbolic."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Final

import torch
from torch.compiler import is_compiling, is_dynamo_compiling

_TORCH: Final = Path(torch.__file__).parent
_EXPORTERS: Final = {
    str(_TORCH / "jit" / "_trace.py"): "torch.jit",
    str(_TORCH / "export" / "__init__.py"): "torch.export",
    str(_TORCH / "onnx" / "__init__.py"): "torch.onnx",
}
"""Files of torch whose functions export a model, and where users find these functions."""
_DYNAMO: Final = str(_TORCH / "_dynamo") + "/"
_DRAWS: Final = "add_graph"
"""What the functions of every tensorboard writer are called that trace a model to draw it."""


def is_compiled_away() -> bool:
    """Whether the code that runs now is compiled, so that a hook must do nothing.

    `torch.export.export` without `strict` compiles nothing: it runs the model, hooks and all.
    """
    return is_compiling() and (is_dynamo_compiling() or not _is_exporting())


def exporter(user: FrameType) -> str | None:
    """The function of torch that the user's frame calls to export a model; None where it is none.

    Empty where the model runs for some other reason, such as to draw it, or to compare the outputs
    of the exported program with its own.
    """
    at_work = torch._C._get_tracing_state() is not None or _is_exporting()
    torch_frame = _called_by(user)
    place = None if torch_frame is None else _EXPORTERS.get(torch_frame.f_code.co_filename)
    if torch_frame is None or place is None:
        return "" if at_work else None
    if not at_work or _is_drawn(user):
        return ""
    name = f"{place}.{torch_frame.f_code.co_name}"
    if name != "torch.onnx.export":
        return name
    return f"{name}(dynamo=True)" if _is_exporting() else f"{name}(training=PRESERVE)"


def _is_exporting() -> bool:
    """Whether torch.export is at work (False before torch 2.7, which cannot tell)."""
    ask = getattr(torch.compiler, "is_exporting", None)
    return bool(ask is not None and ask())


def _called_by(user: FrameType) -> FrameType | None:
    """The running function of torch that the user's frame has called.

    Once a program has used dynamo, that wraps functions such as `torch.jit.trace`.
    """
    called: FrameType | None = None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame is not user:
        if not frame.f_code.co_filename.startswith(_DYNAMO):
            called = frame
        frame = frame.f_back
    return called


def _is_drawn(user: FrameType) -> bool:
    frame: FrameType | None = user
    while frame is not None:
        if frame.f_code.co_name == _DRAWS:
            return True
        frame = frame.f_back
    return False
