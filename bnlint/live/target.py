"""What `bnlint check` is pointed at: a model in a file or a module, its weights and its inputs."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from bnlint.graph import Kind
from bnlint.live.errors import CheckError
from bnlint.live.inputs import Inputs
from bnlint.live.modules import torch_entry
from bnlint.live.observe import first_line

_REFUSED = re.compile(r"Unsupported \w+: GLOBAL ([\w.]+)")
_SHAPE = re.compile(r"(?:(?P<dtype>\w+):)?(?P<sizes>\d+(?:,\d+)*)")


def load_target(target: str) -> tuple[nn.Module, Any]:
    """The model that TARGET names, and the inputs that it brings along (None for none).

    TARGET is `file.py:name` or `package.module:name`; the name is a module, or a callable that
    returns a module or `(module, inputs)`. Raises CheckError for everything that goes wrong.
    """
    place, separator, name = target.rpartition(":")
    is_name = name.replace(".", "_").isidentifier()
    if not separator or not place or ":" in place[2:] or not is_name:  # 2: the drive of Windows
        raise CheckError(
            f"TARGET {target!r} is not of the form file.py:name or package.module:name"
        )
    value: Any = _import(place)
    for part in name.split("."):
        if not hasattr(value, part):
            raise CheckError(
                f"{place} has no {name!r}: name a module or a function that builds one"
            )
        value = getattr(value, part)
    return _model_of(value, target)


def _model_of(value: Any, target: str) -> tuple[nn.Module, Any]:
    if isinstance(value, nn.Module):
        return value, None
    if not callable(value):
        kind = type(value).__name__
        raise CheckError(f"{target} is of type {kind}: name a torch.nn.Module or its builder")
    try:
        built = value()
    except (Exception, SystemExit) as error:  # foreign code can raise anything
        raise CheckError(f"{target}() raised {_shown(error)}") from error
    model, inputs = built if isinstance(built, tuple) and len(built) == 2 else (built, None)
    if not isinstance(model, nn.Module):
        kind = type(model).__name__
        raise CheckError(f"{target}() returned {kind}: let it return a module or (module, inputs)")
    return model, inputs


def _shown(error: BaseException) -> str:
    return f"{type(error).__name__}: {first_line(error)}"


def _import(place: str) -> ModuleType:
    if place.endswith(".py"):
        return _import_file(Path(place))
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(place)
    except (Exception, SystemExit) as error:  # importing runs foreign code
        raise CheckError(f"cannot import {place}: {_shown(error)}") from error


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise CheckError(f"{path} does not exist or is no file: check the spelling")
    specification = importlib.util.spec_from_file_location(path.stem, path)
    if specification is None or specification.loader is None:
        raise CheckError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(specification)
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules[path.stem] = module
    try:
        specification.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # importing runs foreign code
        raise CheckError(f"cannot import {path}: {_shown(error)}") from error
    return module


def load_weights(model: nn.Module, file: Path) -> None:
    """Load a state dict (bare, or under "state_dict" or "model") from a file, weights only."""
    loaded = _load(file)
    for key in ("state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping):
        kind = type(loaded).__name__
        raise CheckError(f"{file} holds a {kind}: save the state_dict() of the model there")
    weights = dict(loaded)
    if weights and all(str(key).startswith("module.") for key in weights):
        weights = {str(key).removeprefix("module."): value for key, value in weights.items()}
    try:
        model.load_state_dict(weights)
    except (RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckError(f"the weights in {file} do not fit the model: {reason}") from error


def load_input(file: Path) -> Any:
    """A tensor, tuple or dictionary of tensors from a .pt file, or an array from a .npy file."""
    if file.suffix == ".npy":
        return _load_array(file)
    return _load(file)


def _load(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckError(f"{file} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # the unpickler can raise anything on a broken file
        raise CheckError(
            f"{file} cannot be read as tensors only: save tensors, or a dictionary of them, with "
            f"torch.save ({_unpickled(error)})"
        ) from error


def _unpickled(error: Exception) -> str:
    """Why the unpickler gave up, without its advice to trust the file."""
    refused = _REFUSED.search(str(error))
    if refused is not None:
        return f"it holds {refused[1]}, which is more than tensors"
    return "it is damaged, or was not written by torch.save"


def _load_array(file: Path) -> Tensor:
    try:
        import numpy

        return torch.from_numpy(numpy.load(file, allow_pickle=False))
    except FileNotFoundError as error:
        raise CheckError(f"{file} cannot be read: {error.strerror}") from error
    except Exception as error:  # as above; also arrays of types that torch lacks
        raise CheckError(f"{file} cannot be read as an array: {_shown(error)}") from error


def random_inputs(model: nn.Module, shapes: Sequence[str]) -> Inputs:
    """Made-up inputs of these shapes (`8,3,32,32`, `int64:8,128`), one positional argument each."""
    return Inputs(tuple(_random(model, shape) for shape in shapes), synthetic=True)


def _random(model: nn.Module, shape: str) -> Tensor:
    match = _SHAPE.fullmatch(shape.replace(" ", ""))
    dtype = getattr(torch, (match["dtype"] or "float32") if match else "", None)
    if match is None or not isinstance(dtype, torch.dtype):
        raise CheckError(f"input shape {shape!r}: write 8,3,32,32 or int64:8,128")
    sizes = tuple(map(int, match["sizes"].split(",")))
    if 0 in sizes:
        raise CheckError(f"input shape {shape!r} holds no value")
    if dtype.is_floating_point or dtype.is_complex:
        return torch.randn(sizes, dtype=dtype)
    return torch.randint(_vocabulary(model), sizes).to(dtype)


def _vocabulary(model: nn.Module) -> int:
    """The smallest number of rows of an embedding, so that every made-up integer is valid."""
    rows = [
        int(module.num_embeddings)  # type: ignore[arg-type]
        for module in model.modules()
        if (entry := torch_entry(module)) is not None and entry.kind is Kind.EMBEDDING
    ]
    return min(rows, default=2)
