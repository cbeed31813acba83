"""The passes over a model: all without grad, all from the same state and the same random seed."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from bnlint.live.capture import Capture, Observer, eagerly
from bnlint.live.drawing import Drawing
from bnlint.live.drift import on_cpu
from bnlint.live.inputs import Inputs
from bnlint.live.intercept import Plan
from bnlint.live.interrupts import Shield
from bnlint.live.modules import Names
from bnlint.live.observe import Silent
from bnlint.live.preserve import Preserve
from bnlint.live.randomness import RandomState, seed_everything
from bnlint.live.stack import Stack
from bnlint.live.tensors import map_tensors, tensors_in


@dataclass(frozen=True)
class Outcome:
    """What one pass gave.

    outputs: the output's tensors, copied to the CPU. random: whether the pass drew random numbers.
    called: the modules that ran, by id. elsewhere: names of modules that ran on other threads.
    """

    outputs: list[Tensor]
    random: bool
    called: Mapping[int, nn.Module]
    elsewhere: tuple[str, ...]


@dataclass(frozen=True)
class Session:
    """One model between two states that are the same, ready to be run any number of times.

    shield: holds signals back from everything but the model's own forward.
    """

    model: nn.Module
    preserve: Preserve
    names: Names
    seed: int
    shield: Shield = field(default_factory=Shield)

    def run(
        self,
        inputs: Inputs,
        plan: Plan,
        observer: Observer | None = None,
        drawing: Drawing | None = None,
        *,
        another_seed: bool = False,
    ) -> Outcome:
        """One forward, from the state in which the model was handed over."""
        stack = drawing.stack if drawing is not None else Stack(self.names)
        watching: Observer = observer if observer is not None else Silent()
        args, kwargs = _copied(inputs)
        self.preserve.rewind()
        modes = _unsynchronised(self.model)
        capture = Capture(plan, stack, watching, self.preserve.before_write, drawing, modes)
        seed_everything(self.seed + 1 if another_seed else self.seed)
        before = RandomState()
        if drawing is not None:
            drawing.inputs((args, kwargs))
        result = self._forward(args, kwargs, capture, stack)
        if drawing is not None:
            drawing.outputs(result)
        return Outcome(
            [on_cpu(tensor) for tensor in tensors_in(result)],
            RandomState() != before,
            stack.called,
            tuple(stack.elsewhere),
        )

    def _forward(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], capture: Capture, stack: Stack
    ) -> Any:
        with warnings.catch_warnings():
            # said of a compiled part of the model, and meant for people who add hooks for good
            warnings.filterwarnings("ignore", message="Using `torch.compile")
            with eagerly(), stack.hooked(), capture, self.shield.lowered():
                return self.model(*args, **kwargs)


def _unsynchronised(model: nn.Module) -> dict[int, bool]:
    """Let SyncBatchNorm compute on this process's batch alone; the training flags, by id.

    Its forward in training mode waits for the other processes, which may not be checking, and
    refuses the CPU. In evaluation mode it is a plain call of `F.batch_norm`, which is run as
    planned in any mode. The flags are put back with everything else.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return {}
    synchronised = [part for part in model.modules() if isinstance(part, nn.SyncBatchNorm)]
    modes = {id(part): part.training for part in synchronised}
    for part in synchronised:
        part.training = False
    return modes


def _copied(inputs: Inputs) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with tensors of their own: a forward may write to its input."""

    def copy(tensor: Tensor) -> Tensor:
        return torch.clone(tensor.detach())

    return map_tensors(inputs.args, copy), map_tensors(inputs.kwargs, copy)
