"""Writes bnlint/source/known_models.json: torchvision constructors that build BatchNorm or Dropout.

Every constructor is built on the meta device and its modules are listed: nothing is typed by hand.

    python docs/generate_known_models.py
"""

from __future__ import annotations

import inspect
import json
from collections import Counter
from pathlib import Path

import torch

TARGET = Path(__file__).parent.parent / "bnlint" / "source" / "known_models.json"
OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor a) -> Tensor",
)


def declare_operators() -> torch.library.Library:
    """torchvision imports without its compiled operators once they are declared."""
    library = torch.library.Library("torchvision", "DEF")
    for operator in OPERATORS:
        library.define(operator)
    return library


def sensitive_layers(model: torch.nn.Module) -> dict[str, int]:
    """How many BatchNorm layers and active dropouts (also stochastic depth) a model holds."""
    counts: Counter[str] = Counter()
    for module in model.modules():
        is_norm = isinstance(module, torch.nn.modules.batchnorm._BatchNorm)
        drops = isinstance(module, torch.nn.modules.dropout._DropoutNd) and module.p > 0
        if is_norm or drops:
            counts[f"torch.nn.{type(module).__name__}"] += 1
    return dict(sorted(counts.items()))


def main() -> None:
    """Build every registered model and write the table."""
    library = declare_operators()  # must outlive the import
    import torchvision
    from torchvision.models import get_model, get_model_builder, list_models

    table: dict[str, dict[str, int]] = {}
    for name in list_models():
        if name.startswith("quantized_"):
            continue
        accepted = inspect.signature(get_model_builder(name)).parameters
        offline = {key: None for key in ("weights", "weights_backbone") if key in accepted}
        try:
            with torch.device("meta"):
                model = get_model(name, **offline)
        except NotImplementedError:  # its constructor reads values, which the meta device has not
            model = get_model(name, **offline)
        table[name] = sensitive_layers(model)
    document = {"torchvision": torchvision.__version__, "models": table}
    del library
    TARGET.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
