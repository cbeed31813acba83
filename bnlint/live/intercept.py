"""Mode-sensitive functions, run with another mode than the one they were called with.

`F.batch_norm` is given batch statistics, running statistics or given statistics, and never the
running buffers to write to; dropout is switched on or off. No `.training` flag is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias

import torch.nn.functional as F
from torch import Tensor

Statistics: TypeAlias = Mapping[str, tuple[Tensor, Tensor]]
"""Mean and biased variance of each BatchNorm call, by the key of the call."""


class Source(Enum):
    """Where BatchNorm takes its mean and variance from."""

    BATCH = "batch"
    RUNNING = "running"


@dataclass(frozen=True)
class Plan:
    """How the mode-sensitive functions run in one pass.

    dropout: switched on. given: statistics that replace the running ones, by call.
    """

    source: Source
    dropout: bool = False
    given: Statistics | None = None


@dataclass(frozen=True, slots=True)
class BatchNormCall:
    """One call of `F.batch_norm` (or `torch.batch_norm`) with the arguments that it was given."""

    input: Tensor
    running_mean: Tensor | None
    running_var: Tensor | None
    weight: Tensor | None
    bias: Tensor | None
    training: bool
    momentum: float
    eps: float

    @property
    def has_running(self) -> bool:
        """Whether running statistics exist."""
        return self.running is not None

    @property
    def running(self) -> tuple[Tensor, Tensor] | None:
        """Running mean and variance; None where the layer keeps none."""
        if self.running_mean is None or self.running_var is None:
            return None
        return self.running_mean, self.running_var

    @property
    def values_per_channel(self) -> int:
        """Values from which one channel's statistics are computed (N*H*W)."""
        channels = self.input.shape[1] if self.input.dim() > 1 else 1
        return self.input.numel() // max(channels, 1)

    def run(self, plan: Plan, key: str) -> Tensor:
        """The layer's output under this plan; running statistics are never written.

        Where batch statistics are impossible (one value per channel), running ones are used.
        """
        if plan.given is not None and key in plan.given:
            mean, variance = plan.given[key]
            return self._normalise(mean, variance)
        impossible = self.values_per_channel <= 1 and self.has_running
        if self.has_running and (plan.source is Source.RUNNING or impossible):
            return self._normalise(self.running_mean, self.running_var)
        return F.batch_norm(self.input, None, None, self.weight, self.bias, True, 0.0, self.eps)

    def _normalise(self, mean: Tensor | None, variance: Tensor | None) -> Tensor:
        return F.batch_norm(
            self.input, mean, variance, self.weight, self.bias, False, 0.0, self.eps
        )


@dataclass(frozen=True, slots=True)
class DropoutCall:
    """One call of a function of the dropout family, with the arguments that it was given."""

    function: Callable[..., Any]
    input: Tensor
    p: float
    training: bool
    inplace: bool

    def run(self, plan: Plan) -> Any:
        """The output with dropout on or off; off returns a view, so that both names stay apart."""
        if plan.dropout and self.p > 0:
            if self.inplace and self.function.__name__ not in _TORCH_DROPOUT:
                return self.function(self.input, self.p, True, self.inplace)
            return self.function(self.input, self.p, True)
        return self.input.view_as(self.input)


Sensitive: TypeAlias = BatchNormCall | DropoutCall

_F_BATCH_NORM: Final = [
    "input",
    "running_mean",
    "running_var",
    "weight",
    "bias",
    "training",
    "momentum",
    "eps",
]
_F_BATCH_NORM_DEFAULTS: Final[Mapping[str, Any]] = {
    "weight": None,
    "bias": None,
    "training": False,
    "momentum": 0.1,
    "eps": 1e-5,
}
_TORCH_BATCH_NORM: Final = [
    "input",
    "weight",
    "bias",
    "running_mean",
    "running_var",
    "training",
    "momentum",
    "eps",
    "cudnn_enabled",
]
_F_DROPOUT: Final = frozenset(
    ["dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"]
)
_TORCH_DROPOUT: Final = frozenset(
    ["dropout_", "alpha_dropout_", "feature_dropout", "feature_dropout_", "feature_alpha_dropout_"]
)
_RECURRENT: Final = frozenset(["lstm", "gru", "rnn_tanh", "rnn_relu"])


def sensitive_call(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Sensitive | None:
    """The call as a BatchNorm or dropout call; None for every other function."""
    name = getattr(function, "__name__", "")
    functional = getattr(function, "__module__", None) == "torch.nn.functional"
    if name == "batch_norm":
        return _batch_norm(functional, args, kwargs)
    if name in _F_DROPOUT or name in _TORCH_DROPOUT:
        return _dropout(function, functional, args, kwargs)
    return None


def _batch_norm(
    functional: bool, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> BatchNormCall | None:
    bound: dict[str, Any] = dict(_F_BATCH_NORM_DEFAULTS) if functional else {}
    bound |= zip(_F_BATCH_NORM if functional else _TORCH_BATCH_NORM, args)
    bound |= kwargs
    bound.pop("cudnn_enabled", None)
    if set(bound) != set(_F_BATCH_NORM) or not isinstance(bound["input"], Tensor):
        return None
    return BatchNormCall(**{**bound, "momentum": bound["momentum"] or 0.0})


def _dropout(
    function: Callable[..., Any], functional: bool, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> DropoutCall | None:
    names = ("input", "p", "training", "inplace") if functional else ("input", "p", "train")
    bound: dict[str, Any] = {"p": 0.5, "training": True, "inplace": False}
    bound |= zip(names, args)
    bound |= kwargs
    if not isinstance(bound.get("input"), Tensor):
        return None
    inplace = bool(bound["inplace"]) or function.__name__.endswith("_")
    training = bool(bound.get("train", bound["training"]))
    return DropoutCall(function, bound["input"], float(bound["p"]), training, inplace)


def override(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], plan: Plan
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a function that has dropout inside, with dropout as planned.

    Attention and recurrent layers; RReLU's random slopes are always off.
    """
    name = getattr(function, "__name__", "")
    if name == "multi_head_attention_forward" and "training" in kwargs:
        return args, {**kwargs, "training": plan.dropout}
    if name == "rrelu" and "training" in kwargs:
        return args, {**kwargs, "training": False}
    if plan.dropout:
        return args, kwargs
    if name == "scaled_dot_product_attention":
        off = tuple(0.0 if index == 4 else value for index, value in enumerate(args))
        return off, {**kwargs, "dropout_p": 0.0} if "dropout_p" in kwargs else kwargs
    if name in _RECURRENT:
        return tuple(0.0 if type(value) is float else value for value in args), kwargs
    return args, kwargs


def has_hidden_dropout(function: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """Whether the call is of a layer with dropout inside, switched on by a non-zero rate."""
    name = getattr(function, "__name__", "")
    if name == "multi_head_attention_forward":
        return len(args) > 10 and bool(args[10])
    if name in _RECURRENT:
        return any(type(value) is float and value > 0 for value in args)
    return False
