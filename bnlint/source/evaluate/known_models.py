"""Models of torchvision, timm and segmentation_models_pytorch, by constructor: which BatchNorm and
Dropout they hold."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pkgutil import get_data
from typing import TYPE_CHECKING, Any, Final

import msgspec

from bnlint.finding import Place
from bnlint.graph import UNKNOWN, Kind
from bnlint.records import Struct, replace
from bnlint.source.values import (
    ANYTHING,
    NONE,
    Arguments,
    External,
    Known,
    Layer,
    Value,
    hard,
)
from bnlint.torchnames import is_batchnorm, lookup

if TYPE_CHECKING:
    from bnlint.source.evaluate.module_methods import ModuleMethods

VISION: Final = "torchvision"
TIMM: Final = "timm"
SEGMENTATION: Final = "segmentation_models_pytorch"
HUBS: Final = {
    "pytorch/vision": VISION,
    "facebookresearch/": VISION,  # their ResNets are torchvision's, under the same names
    "huggingface/pytorch-image-models": TIMM,
    "rwightman/pytorch-image-models": TIMM,
}
"""Whose constructors the repositories of torch.hub have, by the beginning of their names."""


_WEIGHTS: Final = ("pretrained", "weights", "weights_backbone", "checkpoint_path")
"""Parameters of constructors that bring trained weights."""


class KnownModel(Struct, frozen=True):
    """What a constructor builds: the torch name of each type of sensitive layer, and where the
    first of them sits. drops: whether a `drop_rate` makes it drop."""

    layers: Mapping[str, str]
    drops: bool = False


@cache
def table() -> Mapping[str, Mapping[str, KnownModel]]:
    """Known models by package and constructor; written by docs/generate_known_models.py."""
    return {
        package: {
            name: KnownModel(group["layers"], group.get("drop_rate", False))
            for group in described["groups"]
            for name in group["names"].split()
        }
        for package, described in _read("known_models.json").items()
    }


@cache
def parts_table() -> Mapping[str, Mapping[str, Mapping[str, object]]]:
    """What models of torchvision hold directly, by qualified constructor and attribute: the class
    of a torch layer; else whether it has parameters, and the paths of the BatchNorm and Dropout
    layers in it, by class. Written by docs/generate_known_models.py."""
    models: Mapping[str, Mapping[str, Mapping[str, object]]] = _read("known_parts.json")
    return {f"{VISION}.models.{name}": parts for name, parts in models.items()}


def _read(name: str) -> Any:
    data = get_data("bnlint.source", name)
    assert data is not None
    return msgspec.json.decode(data)


def is_known_model(value: Value) -> bool:
    """Whether an object is one of the models of which all parts are known."""
    return isinstance(value, Layer) and value.name in parts_table()


def known_model(machine: ModuleMethods, name: str, arguments: Arguments) -> Value | None:
    """The model that a call builds; None when it is no call of a known constructor.

    ANYTHING for a constructor of torchvision or of a factory that is not in the table.
    """
    package, _, rest = name.partition(".")
    last = rest.rpartition(".")[2]
    if name == "torch.hub.load":
        return _from_hub(machine, arguments)
    if package == VISION and rest.startswith("models."):
        if last == "get_model":
            return _named(machine, VISION, 0, "name", arguments) or ANYTHING
        return _build(machine, VISION, last, arguments) or ANYTHING
    if package == TIMM:
        if last == "create_model":
            return _named(machine, TIMM, 0, "model_name", arguments) or ANYTHING
        return _build(machine, TIMM, last, arguments)
    if package == SEGMENTATION:
        if last == "create_model":
            return _named(machine, SEGMENTATION, 0, "arch", arguments) or ANYTHING
        return _build_segmentation(machine, last, arguments)
    return None


def brings_weights(name: str, arguments: Arguments) -> bool:
    """Whether a call of a known constructor may build the model with trained weights: an argument
    says so, or is not known, or the package does so by default."""
    package, _, rest = name.partition(".")
    if package == SEGMENTATION:
        return hard(arguments.keywords.get("encoder_weights", ANYTHING)) != NONE
    is_named = rest.rpartition(".")[2] in ("get_model", "create_model")
    if name == "torch.hub.load" or arguments.unknown or len(arguments.positional) > is_named:
        return True  # resnet18(True)
    given = (arguments.keywords.get(each, NONE) for each in _WEIGHTS)
    return any(hard(value) not in (NONE, Known(False)) for value in given)


def _named(
    machine: ModuleMethods, package: str, position: int, parameter: str, arguments: Arguments
) -> Value | None:
    """The model whose name is an argument."""
    text = _text(arguments.get(position, parameter))
    keywords = {k: v for k, v in arguments.keywords.items() if k != parameter}
    positional = arguments.positional[position + 1 :]
    inner = replace(arguments, positional=positional, keywords=keywords)
    if package == SEGMENTATION:
        names = {name.lower(): name for name in table()[package]}
        return _build_segmentation(machine, names.get(text.lower(), ""), inner)
    # timm: "hf_hub:timm/resnet50.a1_in1k" is resnet50 with the weights a1_in1k
    constructor = text.rpartition("/")[2].partition(".")[0] if package == TIMM else text
    return _build(machine, package, constructor, inner)


def _from_hub(machine: ModuleMethods, arguments: Arguments) -> Value | None:
    repository = _text(arguments.get(0, "repo_or_dir"))
    package = next((p for start, p in HUBS.items() if repository.startswith(start)), None)
    if package is None:
        return None
    if repository.startswith("facebookresearch/"):
        name = _text(arguments.get(1, "model"))
        if not name.startswith(("resnet", "resnext", "wide_resnet")):
            return None
    return _named(machine, package, 1, "model", arguments)


def _build(
    machine: ModuleMethods, package: str, constructor: str, arguments: Arguments
) -> Value | None:
    known = table()[package].get(constructor)
    if known is None or not _is_batchnorm(arguments.keywords.get("norm_layer", NONE)):
        return None
    layers = dict(known.layers)
    rate = hard(arguments.keywords.get("drop_rate", NONE))
    if known.drops and isinstance(rate, Known) and isinstance(rate.value, float) and rate.value > 0:
        layers.setdefault("torch.nn.Dropout", "drop_rate")
    name = f"{package}.models.{constructor}"
    parts = parts_table().get(name)
    if parts is not None:
        return _from_parts(machine, name, parts, arguments.place)
    return _assembled(machine, name, layers, arguments)


def _build_segmentation(
    machine: ModuleMethods, constructor: str, arguments: Arguments
) -> Value | None:
    """A decoder with an encoder; by default both normalise with BatchNorm."""
    models = table()[SEGMENTATION]
    known = models.get(constructor)
    if known is None or ":" in constructor:
        return None
    layers = dict(known.layers)
    if not _normalises(arguments):
        layers = {name: path for name, path in layers.items() if not is_batchnorm(name)}
    name = _text(arguments.get(0, "encoder_name") or Known("resnet34"))
    timm_name = name.removeprefix("tu-")
    encoder = models.get(f"encoder:{name}") if timm_name == name else table()[TIMM].get(timm_name)
    for layer, path in encoder.layers.items() if encoder is not None else ():
        if is_batchnorm(layer):
            layers.setdefault(layer, f"encoder.{path}")
    return _assembled(machine, f"{SEGMENTATION}.{constructor}", layers, arguments)


def _normalises(arguments: Arguments) -> bool:
    """Whether a decoder has BatchNorm for sure."""
    if arguments.unknown:
        return False
    chosen = hard(arguments.keywords.get("decoder_use_norm", Known("batchnorm")))
    older = hard(arguments.keywords.get("decoder_use_batchnorm", Known(True)))
    return chosen in (Known("batchnorm"), Known(True)) and older == Known(True)


def _from_parts(
    machine: ModuleMethods,
    name: str,
    parts: Mapping[str, Mapping[str, object]],
    place: Place | None,
) -> Layer:
    """A model with all that it holds directly, in order."""
    model = Layer(name, {}, place)
    for child, part in parts.items():
        match part:
            case {"class": str(class_name)}:
                model.fields[child] = _layer(machine, class_name, place)
            case {"learns": bool(learns), "layers": dict(layers)}:
                group = Layer(f"{name}.{child}", {"learns": learns}, place)
                for class_name, paths in layers.items():
                    for path in paths.split():
                        group.fields[path] = _layer(machine, class_name, place)
                model.fields[child] = group
    return model


def _layer(machine: ModuleMethods, class_name: str, place: Place | None) -> Layer:
    """A layer of which the class is known; of a BatchNorm or Dropout the usual parameters, too."""
    entry = lookup(class_name)
    parameters = dict(entry.parameters) if entry is not None else {}
    if entry is None or entry.kind not in (Kind.BATCHNORM, Kind.DROPOUT):
        parameters = dict.fromkeys(parameters, UNKNOWN)
    layer = Layer(class_name, parameters, place)
    machine.layer_created(layer)
    return layer


def _assembled(
    machine: ModuleMethods, name: str, layers: Mapping[str, str], arguments: Arguments
) -> Layer:
    """A module that holds one layer of each type, under a name that no attribute has."""
    model = Layer(name, {}, arguments.place)
    for layer_name, path in layers.items():
        model.fields[f"({path})"] = _layer(machine, layer_name, arguments.place)
    machine.holder_created(model)
    return model


def shown_path(path: str) -> str:
    """The path of a layer as a message names it: that of a known model's first layer of a type,
    which is stored in parentheses; "" where the model was taken apart."""
    before, _, first = path.partition("(")
    if not first:
        return path
    return (
        ""
        if before.removesuffix(".").rpartition(".")[2].isdigit()
        else path.replace("(", "").replace(")", "")
    )


def _is_batchnorm(norm: Value) -> bool:
    """Whether a `norm_layer` leaves BatchNorm in place."""
    if norm == NONE:
        return True
    return isinstance(norm, External) and is_batchnorm(norm.name)


def _text(value: Value | None) -> str:
    known = hard(value) if value is not None else NONE
    return known.value if isinstance(known, Known) and isinstance(known.value, str) else ""
