"""Overrides of `train` and `eval` in the classes of a model, switched once to see what they do."""

from __future__ import annotations

import inspect
import linecache
import warnings
from collections.abc import Callable, Iterator, Sequence
from types import CodeType, FunctionType
from typing import Any, NamedTuple, TypeGuard

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bnlint.finding import Place
from bnlint.live.modules import is_sensitive
from bnlint.live.operations import is_query, may_write
from bnlint.live.places import Places, display_path, is_own
from bnlint.live.preserve import Preserve
from bnlint.live.tensors import tensors_in
from bnlint.overrides import (
    MODE_NAMES,
    SWITCHES,
    HiddenMethod,
    ModeMethod,
    ModeOverride,
    Reach,
)


class Candidate(NamedTuple):
    """A method (or, if hidden, an attribute) of one module that stands in another's place."""

    module: nn.Module
    path: str
    name: str
    hidden: bool


def candidates(root: nn.Module) -> list[Candidate]:
    """What there is to look at, once for each class; mostly nothing."""
    found: dict[object, Candidate] = {}
    for path, module in root.named_modules():
        cls = type(module)
        for name, torchs in _TORCHS:
            if getattr(cls, name) is not torchs:
                found.setdefault((cls, name), Candidate(module, path, name, hidden=False))
        for name in _hidden_names(module):
            found.setdefault((cls, "hidden", name), Candidate(module, path, name, hidden=True))
    return list(found.values())


def mode_methods(
    wanted: Sequence[Candidate], preserve: Preserve, places: Places
) -> tuple[ModeMethod, ...]:
    """What the classes of a model put in the place of methods that set modes.

    preserve: of a model that holds them all; it is put back after each switch.
    """
    found: list[ModeMethod] = []
    for module, path, name, is_hidden in wanted:
        method: ModeMethod | None
        if is_hidden:
            method = _hidden(module, path, name, places)
        else:
            method = _override(module, path, name, preserve)
        found += [] if method is None else [method]
    return tuple(found)


_TORCHS = (("train", nn.Module.train), ("eval", nn.Module.eval))


# --- overrides -------------------------------------------------------------------------------


def _override(module: nn.Module, path: str, name: str, preserve: Preserve) -> ModeOverride | None:
    """An override of the user's; None for one of torch's own, and for what is no function."""
    owner = next(base for base in type(module).__mro__ if name in vars(base))
    function = inspect.unwrap(vars(owner)[name])
    if not _is_theirs(function):
        return None
    parameters = list(inspect.signature(function).parameters.values())[1:]
    accepts = _accepts(function, (module, False) if name == "train" else (module,))
    reach, returns_self = Reach.UNKNOWN, None
    if _does_nothing(function.__code__):
        reach = Reach.DISABLED
    elif name == "train" and accepts and _takes_mode(parameters):
        reach, returns_self = _switch(module, preserve)
    elif not _words(function.__code__) & SWITCHES and "super" not in _words(function.__code__):
        reach = Reach.LOST
    return ModeOverride(
        cls=owner.__name__,
        method=name,
        signature=f"{name}({', '.join(_shown(p) for p in _parameters(function))})",
        place=_place(function),
        given=parameters[0].name if parameters and name == "train" else "",
        accepts=accepts,
        reach=reach,
        returns_self=returns_self,
        has_own_eval=name == "train" and type(module).eval is not nn.Module.eval,
        path=path,
    )


def _is_theirs(method: Any) -> TypeGuard[FunctionType]:
    """Whether a method is the user's (or another package's), not torch's."""
    return isinstance(method, FunctionType) and not is_own(method.__code__.co_filename)


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


def _accepts(function: Callable[..., Any], arguments: tuple[object, ...]) -> bool:
    """Whether torch's own call fits the signature."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    return True


def _takes_mode(parameters: list[inspect.Parameter]) -> bool:
    """Whether the first parameter is one for a mode: what else takes `train(False)` may be a
    training loop, which nobody wants to be run."""
    first = parameters[0]
    is_flag = isinstance(first.default, bool) or first.annotation in (bool, "bool")
    return is_flag or first.name in MODE_NAMES or first.kind is first.VAR_POSITIONAL


def _does_nothing(code: CodeType) -> bool:
    """Whether a body is empty, but for a docstring and `return self`."""
    return not code.co_names and not code.co_freevars and len(code.co_code) <= _EMPTY


_EMPTY = len((lambda self: self).__code__.co_code) + 4
"""Bytes of a body that returns, with what tracing and line numbers may add."""


def _words(code: CodeType) -> frozenset[str]:
    """The names that code mentions, that of inner functions included."""
    inner = (_words(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return frozenset(code.co_names).union(*inner)


def _switch(module: nn.Module, preserve: Preserve) -> tuple[Reach, bool | None]:
    """Set evaluation mode once from training mode; and, where that fails, from evaluation mode."""
    try:
        result, below = _told_to_evaluate(module, preserve, from_training=True)
        if not below:
            return Reach.PASSED, _returned(module, result)
        result, below = _told_to_evaluate(module, preserve, from_training=False)
        return Reach.FORCED if below else Reach.LOST, _returned(module, result)
    except Exception:  # the user's own code, called in a moment that it may not expect
        return Reach.UNKNOWN, None
    finally:
        preserve.rewind()


def _told_to_evaluate(
    module: nn.Module, preserve: Preserve, *, from_training: bool
) -> tuple[object, bool]:
    """What `train(False)` returns, and whether it leaves the module in training mode: itself, or
    all BatchNorm and Dropout layers below it."""
    preserve.rewind()
    for part in module.modules():
        part.training = from_training
    with torch.no_grad(), warnings.catch_warnings(), _Writing(preserve.before_write):
        result = module.train(False)
    layers = [part for part in module.modules() if is_sensitive(part)]
    trained = [part.training for part in layers]
    return result, module.training or (bool(trained) and all(trained))


def _returned(module: nn.Module, result: object) -> bool | None:
    if result is None:
        return False
    return True if result is module else None


class _Writing(TorchFunctionMode):
    """Tells of every tensor that may be about to change in place."""

    def __init__(self, before_write: Callable[[Tensor], None]) -> None:
        super().__init__()
        self._before_write = before_write

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one function; inside it this mode is off."""
        kwargs = kwargs or {}
        if not is_query(func) and may_write(func, kwargs):
            for tensor in tensors_in((args, kwargs)):
                self._before_write(tensor)
        return func(*args, **kwargs)


def _shown(parameter: inspect.Parameter) -> str:
    if parameter.kind is parameter.VAR_POSITIONAL:
        return f"*{parameter.name}"
    if parameter.kind is parameter.VAR_KEYWORD:
        return f"**{parameter.name}"
    if parameter.default is parameter.empty:
        return parameter.name
    is_short = isinstance(parameter.default, bool | int | float | str | None)
    return f"{parameter.name}={parameter.default!r}" if is_short else f"{parameter.name}=..."


def _place(function: FunctionType) -> Place | None:
    """The name in the `def` line, which stands below the decorators."""
    file, first = function.__code__.co_filename, function.__code__.co_firstlineno
    for line in range(first, first + _LONGEST_DECORATION):
        text = linecache.getline(file, line)
        if text.lstrip().startswith(("def ", "async def ")):
            start = text.index("def ") + len("def ") + 1
            end = start + len(function.__name__)
            return Place(display_path(file), line, start, line, end)
    return None


_LONGEST_DECORATION = 50
"""Lines of decorators above a method."""


# --- attributes ------------------------------------------------------------------------------


def _hidden_names(module: nn.Module) -> Iterator[str]:
    """The attributes of a module that are no functions, under the name of a mode method."""
    cls = type(module)
    for name, value in vars(module).items():
        if name.startswith("_") or callable(value) or not hasattr(cls, name):
            continue
        method = inspect.unwrap(getattr(cls, name)) if callable(getattr(cls, name)) else None
        if name in ("train", "eval") or (_is_theirs(method) and _words(method.__code__) & SWITCHES):
            yield name


def _hidden(module: nn.Module, path: str, name: str, places: Places) -> HiddenMethod:
    method = inspect.unwrap(getattr(type(module), name))
    return HiddenMethod(
        cls=type(module).__name__,
        attribute=name,
        place=places.of_attribute(type(module), name),
        defined=_place(method) if _is_theirs(method) else None,
        path=path,
    )
