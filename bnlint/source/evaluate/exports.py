"""Calls that freeze a model as it is: tracing, export, fusion of layers, quantisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bnlint.source.evaluate.core import Core
from bnlint.source.values import (
    ANYTHING,
    NONE,
    Arguments,
    External,
    FunctionObject,
    Method,
    Namespace,
    Value,
)

EXPORTS: Final[Mapping[str, tuple[str, ...]]] = {
    "torch.jit.trace": ("func",),
    "torch.jit.trace_module": ("mod",),
    "torch.jit.freeze": ("mod",),
    "torch.export.export": ("mod",),
    "torch.export.draft_export": ("mod",),
    "torch.onnx.export": ("model",),
    "torch.onnx.dynamo_export": ("model",),
    "torch.quantization.fuse_modules": ("model",),
    "torch.quantization.quantize_fx.fuse_fx": ("model",),
    "torch.quantization.quantize_fx.prepare_fx": ("model",),
    "torch.nn.utils.fusion.fuse_conv_bn_eval": ("conv", "bn"),
    "torch.nn.utils.fuse_conv_bn_eval": ("conv", "bn"),
    "torch.fx.experimental.optimization.fuse": ("model",),
}
"""Functions of torch by the name before 1.10 (`torch.quantization` is `torch.ao.quantization`),
with the parameters that hold the model, which come first."""

PREPARES_TRAINING: Final = frozenset(
    {
        "prepare_qat",
        "prepare_qat_fx",
        "prepare_qat_pt2e",
        "move_exported_model_to_train",
        "allow_exported_model_train_eval",
    }
)
"""Functions, by their last name, after which a model that was fused or exported is trained."""


SAVES: Final = frozenset({"torch.jit.save", "torch.export.save", "torch.save"})
"""Functions that write away what was exported."""
EXPORTED: Final = "exported"
"""The kind of namespace that stands for an exported program."""


class Exports(Core):
    """Calls that note an export; what comes out of it is followed until it is written away."""

    def call_export(self, name: str, arguments: Arguments) -> Value | None:
        """Call a function that exports a model; None for any other."""
        if name in SAVES and arguments.positional:
            self.program_saved(arguments.positional[0], arguments)
            return NONE
        if name.rpartition(".")[2] in PREPARES_TRAINING:
            self.prepare_training(arguments)
            return None
        parameters = EXPORTS.get(_before_1_10(name))
        if parameters is None:
            return None
        how = self._how(name, arguments)
        program = Namespace(EXPORTED)
        for position, parameter in enumerate(parameters):
            model = arguments.get(position, parameter)
            if isinstance(model, Method | FunctionObject):
                model = model.receiver if model.name in ("forward", "__call__") else None
            if how and model is not None:
                self.export_module(model, how, program, arguments)
        return program

    def program_method(self, program: Namespace, name: str, arguments: Arguments) -> Value:
        """A method of an exported program: `save`, or one that gives the program back."""
        if name.lstrip("_").startswith("save"):
            self.program_saved(program, arguments)
            return NONE
        return program

    def _how(self, name: str, arguments: Arguments) -> str:
        """What runs, with the option that decides; "" where that cannot be told."""
        if name != "torch.onnx.export":
            return _before_1_10(name)
        dynamo = self.truth(arguments.keywords.get("dynamo", ANYTHING))
        if dynamo:
            return "torch.onnx.export(dynamo=True)"
        training = arguments.keywords.get("training")
        keeps = isinstance(training, External) and training.name.endswith("Mode.PRESERVE")
        return "torch.onnx.export(training=PRESERVE)" if keeps and dynamo is False else ""


def _before_1_10(name: str) -> str:
    """The name that a function of torch.ao has elsewhere."""
    return name.replace("torch.ao.", "torch.", 1)
