"""Ways to set a mode, to switch gradients off, and to do both around a routine."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from layout import Layout

HELPERS = {
    "set_mode": "def set_mode(model, training):\n    if training:\n        model.train()\n"
    "    else:\n        model.eval()\n",
    "switch": "def switch(mode, *models):\n    for model in models:\n        model.train(mode)\n",
    "to_eval": "def to_eval(model):\n    model.eval()\n    return model\n",
    "apply_mode": "def apply_mode(model, mode):\n    assert mode in ('train', 'eval')\n"
    "    getattr(model, mode)()\n",
    "freeze_layers": "def freeze_layers(model):\n    for module in model.modules():\n"
    "        if isinstance(module, (nn.BatchNorm1d, nn.Dropout)):\n            module.eval()\n",
    "unfreeze_layers": "def unfreeze_layers(model):\n    for module in model.modules():\n"
    "        module.train()\n",
    "evaluating": "@contextlib.contextmanager\ndef evaluating(model):\n"
    "    was_training = model.training\n    model.eval()\n    try:\n        yield model\n"
    "    finally:\n        model.train(was_training)\n",
    "evaluation": "@contextlib.contextmanager\ndef evaluation(model):\n    model.eval()\n"
    "    with torch.no_grad():\n        yield\n    model.train()\n",
    "EvalMode": "class EvalMode:\n    def __init__(self, model):\n        self.model = model\n\n"
    "    def __enter__(self):\n        self.was = self.model.training\n"
    "        self.model.eval()\n        return self.model\n\n"
    "    def __exit__(self, *error):\n        self.model.train(self.was)\n",
}
TRAIN = (
    "<model>.train()",
    "<model>.train()",
    "<model>.train()",
    "<model>.train(True)",
    "<model>.train(mode=True)",
    "$set_mode(<model>, True)",
    "$set_mode(<model>, training=True)",
    "$switch(True, <model>)",
    "$apply_mode(<model>, 'train')",
    "$unfreeze_layers(<model>)",
    "for net in [<model>]:\n    net.train()",
    "<model>.apply(lambda module: module.train())",
    "if not <model>.training:\n    <model>.train()",
    "<model>.requires_grad_(True).train()",
)
EVAL = (
    "<model>.eval()",
    "<model>.eval()",
    "<model>.eval()",
    "<model>.train(False)",
    "<model>.train(mode=False)",
    "$set_mode(<model>, False)",
    "$switch(False, <model>)",
    "$to_eval(<model>)",
    "$apply_mode(<model>, 'eval')",
    "$freeze_layers(<model>)",
    "for net in (<model>,):\n    net.eval()",
    "<model> = <model>.eval()",
    "<model>.train(not True)",
    "if <model>.training:\n    <model>.eval()",
    "<model>.cpu().eval()",
    "for module in <model>.modules():\n    module.training = False",
)
CONTEXTS = (
    "with torch.no_grad():",
    "with torch.no_grad():",
    "with torch.no_grad():",
    "with torch.inference_mode():",
    "with torch.set_grad_enabled(False):",
    'with torch.no_grad(), torch.autocast("cpu", enabled=False):',
    "with torch.autograd.grad_mode.no_grad():",
)
DECORATORS = ("@torch.no_grad()", "@torch.no_grad()", "@torch.inference_mode()")
RESTORING = ("with $evaluating(<model>):", "with $evaluation(<model>):", "with $EvalMode(<model>):")


@dataclass
class Idioms:
    """Chooses among the idioms; the helpers that they need are added to the program."""

    random: Random
    layout: Layout

    def pick(self, *options: str) -> str:
        """One of several texts, with the helpers that it refers to."""
        text = self.random.choice(options)
        for name, definition in HELPERS.items():
            if f"${name}" in text:
                self.layout.define(name, definition, "utils")
        return text

    def train(self) -> list[str]:
        """Lines that set training mode."""
        return self.pick(*TRAIN).split("\n")

    def evaluate(self) -> list[str]:
        """Lines that set evaluation mode."""
        return self.pick(*EVAL).split("\n")
