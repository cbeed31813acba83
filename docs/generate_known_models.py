"""Writes bnlint/source/known_models.json: constructors of torchvision, timm and
segmentation_models_pytorch, and the BatchNorm and Dropout layers that they build; and
known_parts.json: what torchvision's models hold directly (`layer4`, `fc`).

Every constructor is called, where possible on the meta device, and its modules are listed: nothing
is typed by hand. Constructors that build the same are written as one group.

    pip install --no-deps timm segmentation_models_pytorch huggingface_hub safetensors pyyaml
    python docs/generate_known_models.py
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from unittest import mock

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

TARGET = Path(__file__).parent.parent / "bnlint" / "source" / "known_models.json"
PARTS = TARGET.with_name("known_parts.json")
OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor a) -> Tensor",
)
Layout: TypeAlias = tuple[tuple[str, str], ...]
"""For each type of sensitive layer its torch name, and where the first of them sits."""


Part: TypeAlias = dict[str, object]


class Built(NamedTuple):
    """What a constructor builds, and whether `drop_rate` makes it drop."""

    layout: Layout
    drops: bool = False


def declare_operators() -> torch.library.Library:
    """torchvision imports without its compiled operators once they are declared."""
    library = torch.library.Library("torchvision", "DEF")
    for operator in OPERATORS:
        library.define(operator)
    return library


def layout_of(model: nn.Module, without: str = "\0") -> Layout:
    """The BatchNorm layers and active dropouts of a model, one of each type; those below the
    attribute `without` left out."""
    found: dict[str, str] = {}
    for path, module in model.named_modules():
        name = _torch_name(module)
        if name and not path.startswith(without):
            found.setdefault(name, path)
    return tuple(sorted(found.items()))


def _torch_name(module: nn.Module) -> str:
    """The class of torch behind a BatchNorm or an active dropout; "" for anything else."""
    drops = isinstance(module, _DropoutNd) and module.p > 0
    if not drops and not isinstance(module, _BatchNorm):
        return ""
    bases = (base for base in type(module).__mro__ if base.__module__.startswith("torch.nn."))
    return f"torch.nn.{next(bases).__name__}"


def build(construct: Callable[[], nn.Module]) -> nn.Module:
    """Build a model on the meta device, or really where its constructor reads values."""
    try:
        with torch.device("meta"):
            return construct()
    except (NotImplementedError, RuntimeError):
        return construct()


def grouped(models: Mapping[str, Built]) -> list[dict[str, Any]]:
    """Constructors by what they build, those that build nothing sensitive included."""
    groups: dict[Built, list[str]] = {}
    for name, built in sorted(models.items()):
        groups.setdefault(built, []).append(name)
    return [
        {"layers": dict(layout), "names": " ".join(names), **({"drop_rate": True} if drops else {})}
        for (layout, drops), names in groups.items()
    ]


def torchvision_models() -> dict[str, Built]:
    """What torchvision's constructors build by default: pretrained detectors freeze BatchNorm."""
    from torchvision.models import get_model, list_models

    names = [name for name in list_models() if not name.startswith("quantized_")]
    with offline():
        return {name: Built(layout_of(build(lambda n=name: get_model(n)))) for name in names}


def torchvision_parts() -> dict[str, dict[str, Part]]:
    """What torchvision's models hold directly, by attribute, in the order of the model."""
    from torchvision.models import get_model, list_models

    found: dict[str, dict[str, Part]] = {}
    with offline():
        for name in list_models():
            if not name.startswith("quantized_"):
                model = build(lambda n=name: get_model(n))
                found[name] = {child: describe(part) for child, part in model.named_children()}
    return found


def describe(part: nn.Module) -> Part:
    """The class of a torch layer; of anything else whether it has parameters, and the paths of the
    BatchNorm and Dropout layers in it, by class."""
    groups = isinstance(part, (nn.Sequential, nn.ModuleList, nn.ModuleDict))
    has_children = any(True for _ in part.children())
    if type(part).__module__.startswith("torch.nn.modules.") and not has_children and not groups:
        return {"class": f"torch.nn.{type(part).__name__}"}
    learns = any(True for _ in part.parameters())
    layers: dict[str, str] = {}
    for path, module in part.named_modules():
        name = _torch_name(module)
        if name:
            layers[name] = f"{layers.get(name, '')} {path}".strip()
    return {"learns": learns, "layers": layers}


@contextmanager
def offline() -> Iterator[None]:
    """Load nothing where a constructor of torchvision asks for weights."""
    from torchvision.models import WeightsEnum

    with (
        mock.patch.object(WeightsEnum, "get_state_dict", return_value={}),
        mock.patch.object(nn.Module, "load_state_dict"),
    ):
        yield


def timm_models() -> dict[str, Built]:
    """What timm's constructors build, under their former names, too."""
    import timm
    from timm.models import _registry

    found: dict[str, Built] = {}
    droppers: dict[type, bool] = {}
    for name in timm.list_models():
        model = build(lambda n=name: timm.create_model(n))
        cls = type(model)
        if cls not in droppers:
            droppers[cls] = _takes_drop_rate(name)
        found[name] = Built(layout_of(model), droppers[cls])
    for former, current in _registry._deprecated_models.items():
        base = (current or "").partition(".")[0]
        if base in found:
            found.setdefault(former, found[base])
    return found


def _takes_drop_rate(name: str) -> bool:
    """Whether a model of timm drops when it is given a `drop_rate`."""
    import timm

    try:
        model = build(lambda: timm.create_model(name, drop_rate=0.25))
    except TypeError:
        return False
    rates = {m.p for m in model.modules() if isinstance(m, _DropoutNd)}
    return 0.25 in rates or getattr(model, "drop_rate", None) == 0.25


def segmentation_models() -> dict[str, Built]:
    """The decoders of segmentation_models_pytorch, and its encoders as "encoder:NAME"."""
    import segmentation_models_pytorch as smp
    from segmentation_models_pytorch.encoders import encoders, get_encoder

    found: dict[str, Built] = {}
    for cls in smp.MODEL_ARCHITECTURES_MAPPING.values():
        encoder = "tu-vit_base_patch16_224.augreg_in21k" if cls is smp.DPT else "resnet34"
        model = build(lambda c=cls, e=encoder: c(e, encoder_weights=None))
        found[cls.__name__] = Built(layout_of(model, "encoder."))
    for name in encoders:
        model = build(lambda n=name: get_encoder(n, weights=None))
        found[f"encoder:{name}"] = Built(layout_of(model))
    return found


def main() -> None:
    """Build every registered model and write the table."""
    warnings.simplefilter("ignore")
    library = declare_operators()  # must outlive the import
    document = {
        package: {"version": version(package), "groups": grouped(models())}
        for package, models in (
            ("torchvision", torchvision_models),
            ("timm", timm_models),
            ("segmentation_models_pytorch", segmentation_models),
        )
    }
    parts = torchvision_parts()
    del library
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    TARGET.write_text(text, encoding="utf-8")
    PARTS.write_text(one_line_a_part(parts), encoding="utf-8")
    print(f"{len(text):,} bytes", file=sys.stderr)


def one_line_a_part(models: Mapping[str, Mapping[str, Part]]) -> str:
    """The parts of models as JSON, in the order of the model, each on a line of its own."""
    described = (
        f"{json.dumps(name)}: {{\n  "
        + ",\n  ".join(f"{json.dumps(n)}: {json.dumps(part)}" for n, part in parts.items())
        + "\n }"
        for name, parts in models.items()
    )
    return "{\n " + ",\n ".join(described) + "\n}\n"


if __name__ == "__main__":
    main()
