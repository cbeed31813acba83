"""BNL503: running statistics that were never updated are used for inference."""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.finding import Finding, Role, Severity
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.predicates import evidence_at
from bnlint.rules.statistics import names, paths, purpose_of, title_of, tracking_layers
from bnlint.trace import Purpose


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for the model, at its first layer without statistics."""
    purpose = purpose_of(pictures)
    if purpose is Purpose.TRAINING:
        return
    layers = tracking_layers(pictures)
    untouched = [layer for layer in layers if layer.is_initial and not layer.trains]
    if not untouched:
        return
    first = untouched[0]
    count = "all" if len(untouched) == len(layers) else f"{len(untouched)} of"
    plural = "layers" if len(layers) > 1 else "layer"
    yield RULE.finding(
        f"{title_of(pictures)} is in evaluation mode, but the running statistics of {count} "
        f"{len(layers)} BatchNorm {plural} ({names(untouched)}) are those of a new layer (mean 0, "
        "variance 1), so nothing is normalised; load a checkpoint together with its buffers, or "
        "run torch.optim.swa_utils.update_bn on training data",
        first.node.place,
        [
            step
            for layer in untouched[1:]
            for step in evidence_at(layer.node.place, f"{layer.name}, too", Role.INSTANCE)
        ],
        severity=None if purpose is Purpose.INFERENCE else Severity.NOTE,
        module=first.node.path or None,
        measurement={**first.numbers, "layers": paths(untouched)},
    )


RULE = Rule(
    code="BNL503",
    name="never-updated",
    severity=Severity.ERROR,
    summary="A model is used for inference with running statistics that were never updated.",
    what="""\
A BatchNorm layer runs in evaluation mode, and every one of its running means is exactly 0 and
every running variance exactly 1: the values that the constructor writes. No training forward and
no checkpoint has touched them.

Under `phase="inference"` this is an error. Without a phase it is a note, since nobody has said
that the model is finished: a shape test on a new network is no mistake. Under `phase="training"`
it is not reported. The state of the buffers does not depend on the data, so the rule also judges
made-up input.""",
    why="""\
In evaluation mode a BatchNorm divides by sqrt(running_var) and subtracts running_mean. With 1 and 0
it does nothing but apply its weight and bias, while the layers around it were trained to receive
normalised values: activations grow or shrink from layer to layer, and the predictions have little
to do with what was learnt. Measured on small networks whose statistics were reset, every layer is
off by 0.5 to 0.9 of its output's deviation.

The usual ways to get there: weights loaded with `strict=False` from a checkpoint without buffers,
`model.load_state_dict(dict(model.named_parameters()))`, an averaged copy of the parameters without
`update_bn`, a training that ran with every BatchNorm in evaluation mode, or a converted model
whose statistics were left behind.""",
    fine_when="""\
- The network is new and the forward is a test of shapes or speed: say nothing about the phase.
- The statistics were folded into the convolution before it and the layer was left in place as an
  identity; then remove the layer.""",
    references=(
        "PyTorch documentation, torch.nn.BatchNorm2d "
        "<https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html>",
        "PyTorch documentation, torch.optim.swa_utils: taking care of batch normalization "
        "<https://docs.pytorch.org/docs/stable/optim.html#taking-care-of-batch-normalization>",
        "Ioffe and Szegedy 2015, Batch Normalization, algorithm 2 "
        "<https://arxiv.org/abs/1502.03167>",
    ),
    wrong=(
        Example(
            """\
import bnlint
import torch
from torch import nn

model = nn.Sequential(
    nn.Conv2d(3, 16, 3),
    nn.BatchNorm2d(16),  # expect: BNL503
    nn.ReLU(),
)
weights = torch.load("weights.pt")  # saved from model.named_parameters(): no buffers
model.load_state_dict(weights, strict=False)
model.eval()
bnlint.check(model, torch.load("images.pt"), phase="inference")
""",
            "A checkpoint without buffers, and strict=False",
        ),
        Example(
            """\
import bnlint
import torch
from torch import nn

model = nn.Sequential(
    nn.Linear(64, 32),
    nn.BatchNorm1d(32),  # expect: BNL503
    nn.ReLU(),
    nn.Linear(32, 10),
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
model.eval()
for x, y in torch.load("batches.pt"):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
bnlint.check(model, torch.load("test.pt"), phase="inference")
""",
            "A training that never was in training mode",
        ),
    ),
    right=(
        Example(
            """\
import bnlint
import torch
from torch import nn

model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU())
model.load_state_dict(torch.load("model.pt"))
model.eval()
bnlint.check(model, torch.load("images.pt"), phase="inference")
""",
            "The whole state dict, buffers included",
        ),
        Example(
            """\
import bnlint
import torch
from torch import nn

model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU())
bnlint.check(model, torch.randn(8, 3, 32, 32), phase="training")
""",
            "Nearly wrong: the statistics are new because training is about to start",
        ),
    ),
    check=check,
    source=False,
    live=True,
)
