"""Averages of weights: torch's AveragedModel and what is done to its statistics."""

from __future__ import annotations

from typing import Final

from bnlint.source.evaluate.cloning import clone
from bnlint.source.evaluate.core import Core
from bnlint.source.evaluate.module_classes import is_module, reachable_modules
from bnlint.source.values import ANYTHING, NONE, Arguments, Layer, Value, alternatives

AVERAGED: Final = "torch.optim.swa_utils.AveragedModel"
UPDATE_BN: Final = "torch.optim.swa_utils.update_bn"
_BUFFERS: Final = "use_buffers"


class Averaging(Core):
    """Calls of torch.optim.swa_utils."""

    def call_averaging(self, name: str, arguments: Arguments) -> Value | None:
        """Build an averaged copy, or estimate statistics anew; None for any other call."""
        if name == UPDATE_BN:
            self.recalibrated(arguments.get(1, "model") or ANYTHING, arguments)
            return NONE
        if name != AVERAGED:
            return None
        model = arguments.get(0, "model") or ANYTHING
        if not all(is_module(single) for single in alternatives(model)):
            return ANYTHING
        copied = clone(model)
        for original, copy in zip(reachable_modules(model), reachable_modules(copied)):
            self.copy_mode(original, copy, arguments.place)
        buffers = None if arguments.unknown or len(arguments.positional) > 3 else False
        if _BUFFERS in arguments.keywords:
            buffers = self.truth(arguments.keywords[_BUFFERS])
        wrapper = Layer(AVERAGED, {_BUFFERS: buffers}, arguments.place)
        wrapper.fields["module"] = copied
        return wrapper

    def is_average_taken(self, module: Value, method: str, arguments: Arguments) -> bool:
        """Whether this is `averaged.update_parameters(model)`; it is noted where the statistics
        are left out."""
        if not isinstance(module, Layer) or module.name != AVERAGED:
            return False
        if method == "update_parameters" and module.parameters[_BUFFERS] is False:
            self.averaged(module, arguments)
        return method == "update_parameters"
