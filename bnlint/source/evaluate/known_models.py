"""Models of torchvision, by constructor name: which BatchNorm and Dropout they hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from bnlint.source.values import (
    ANYTHING,
    Arguments,
    Layer,
    Value,
)
from bnlint.torchnames import lookup

if TYPE_CHECKING:
    from bnlint.source.evaluate.module_methods import ModuleMethods


@cache
def table() -> Mapping[str, Mapping[str, int]]:
    """Sensitive layers by constructor; written by docs/generate_known_models.py."""
    text = files("bnlint.source").joinpath("known_models.json").read_text(encoding="utf-8")
    models: Mapping[str, Mapping[str, int]] = json.loads(text)["models"]
    return models


def known_model(machine: ModuleMethods, name: str, arguments: Arguments) -> Value:
    """The model that a torchvision constructor builds; ANYTHING for a name not in the table."""
    constructor = name.rpartition(".")[2]
    layers = table().get(constructor)
    if layers is None:
        return ANYTHING
    model = Layer(f"torchvision.models.{constructor}", {}, arguments.place)
    for layer_name in layers:
        entry = lookup(layer_name)
        parameters = dict(entry.parameters) if entry is not None else {}
        layer = Layer(layer_name, parameters, arguments.place)
        model.fields[f"({layer_name.rpartition('.')[2]})"] = layer
        machine.layer_created(layer)
    return model
