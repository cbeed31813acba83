"""BNL504: running statistics that disagree with the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bnlint.finding import Finding, Role, Severity
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.predicates import evidence_at
from bnlint.rules.statistics import (
    LEAST_DRIFT,
    Layer,
    averaged_layers,
    paths,
    settled_layers,
    significant_drift,
)


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for the model, at the layer that is furthest off."""
    if averaged_layers(pictures):
        return  # whose statistics are BNL501's
    layers = settled_layers(pictures)
    stale = [layer for layer in layers if (significant_drift(layer) or 0.0) > LEAST_DRIFT]
    if not stale:
        return
    worst = max(stale, key=lambda layer: significant_drift(layer) or 0.0)
    others = [layer for layer in stale if layer is not worst]
    yield RULE.finding(
        f"the running statistics of {worst.name} disagree with this data: they move its output by "
        f"{significant_drift(worst):.2f} of its deviation, where chance explains "
        f"{worst.number('floor'):.2f}{_extent(worst, stale, layers)}{_proof(worst)}; "
        f"{_advice(stale, layers)}",
        worst.node.place,
        [
            step
            for layer in others
            for step in evidence_at(
                layer.node.place,
                f"{layer.name} is off by {significant_drift(layer):.2f}",
                Role.INSTANCE,
            )
        ],
        module=worst.node.path or None,
        measurement={**worst.numbers, "layers": [worst.node.path, *paths(others)]},
    )


def _extent(worst: Layer, stale: Sequence[Layer], layers: Sequence[Layer]) -> str:
    if len(stale) == 1:
        return f" (of {len(layers)} layers, this one alone)" if len(layers) > 1 else ""
    if stale[0] is worst:
        return f" (it is the first of {len(stale)} layers that are off, of {len(layers)})"
    return f" ({len(stale)} of {len(layers)} layers are off, {stale[0].name} is the first)"


def _proof(worst: Layer) -> str:
    after = worst.number("d_recalibrated")
    return "" if after is None else f"; re-estimated on the other half of the data: {after:.2f}"


def _advice(stale: Sequence[Layer], layers: Sequence[Layer]) -> str:
    if len(layers) > 1 and len(stale) * 5 >= len(layers) * 4:
        return (
            "nearly all layers are off, so the statistics belong to other weights or other data: "
            "re-estimate them with torch.optim.swa_utils.update_bn"
        )
    if len(stale) == 1 and stale[0] is layers[0]:
        return "only the first layer is off: is the input scaled as it was in training?"
    if len(stale) == 1 and stale[0] is layers[-1] and len(layers) > 1:
        return (
            "only the last layer is off: were the statistics last updated on a batch with other "
            "classes?"
        )
    return "re-estimate them on training data with torch.optim.swa_utils.update_bn"


RULE = Rule(
    code="BNL504",
    name="stale-statistics",
    severity=Severity.WARNING,
    summary="The running statistics of a BatchNorm layer disagree with the data it is run on.",
    what="""\
The live check runs the model on the given data with every BatchNorm on batch statistics and
compares each layer's batch mean and variance with its running ones. With s = sqrt(v + eps), b for
the batch and r for the running statistics, the root mean square of the difference of the two
normalised outputs is exactly

    d = sqrt((mean_b - mean_r)^2 / s_r^2 + v_b (1 / s_b - 1 / s_r)^2)

and a layer's d is the mean over its channels.

A layer is reported when d is above 0.25 and above three times what batches of this size give by
chance (more for fewer than 16 samples). That floor is predicted from the scatter of the samples, so
a layer on a small map or a small batch is not accused of its noise. Because the layers before it
use batch statistics as well, one bad layer does not put the blame on those behind it: the one with
the largest d is named, and the first one in the forward. Behind dropout, d is measured with dropout
on as well and the smaller one counts. With `recalibrate=True` the finding also says what d is after
the statistics were re-estimated on the other half of the data.

Random input makes every good network drift, so without real data nothing is judged. Statistics that
were never updated are BNL503's; layers that are still collecting their first statistics are left
alone.""",
    why="""\
Evaluation uses the running statistics. If they do not describe the data, every later layer receives
inputs it was not trained for: a small network with a largest d of 0.38 gave another prediction for
75 % of its inputs, and re-estimating its statistics, with no weight changed, took its accuracy from
0.21 to 0.71. Nothing fails and the loss of training looks right, because training mode normalises
with the batch.

The pattern tells the cause. The first layer alone: the input is scaled in another way than in
training (d was 2.56 there and 0.06 elsewhere). All layers: weights were changed, averaged or
fine-tuned without updating the statistics, or the data is from elsewhere. The last layers: the last
batches of training held one class only.""",
    fine_when="""\
- The data is another domain on purpose and you want to know how the model does as it is; adapting
  the statistics to it is a method of its own (Li et al. 2017, AdaBN).
- The batch is not a fair sample of the data: sorted by class, or frames of a single video. Pass a
  shuffled loader.""",
    references=(
        'Wu and Johnson 2021, Rethinking "Batch" in BatchNorm, sections 3 and 5 '
        "<https://arxiv.org/abs/2105.07576>",
        "Li et al. 2017, Revisiting Batch Normalization for Practical Domain Adaptation "
        "<https://arxiv.org/abs/1603.04779>",
        "PyTorch documentation, torch.optim.swa_utils.update_bn "
        "<https://docs.pytorch.org/docs/stable/optim.html#taking-care-of-batch-normalization>",
    ),
    wrong=(
        Example(
            """\
import bnlint
import torch
from torch import nn

model = nn.Sequential(
    nn.Conv2d(3, 16, 3),
    nn.BatchNorm2d(16),  # expect: BNL504
    nn.ReLU(),
    nn.Conv2d(16, 16, 3),
    nn.BatchNorm2d(16),
    nn.ReLU(),
)
model.load_state_dict(torch.load("trained_on_0_to_1.pt"))
images = torch.load("images_0_to_255.pt").float()
bnlint.check(model.eval(), images, phase="inference")
""",
            "The input is scaled in another way than in training",
        ),
        Example(
            """\
import bnlint
import torch
from torch import nn

model = nn.Sequential(
    nn.Linear(64, 32),
    nn.BatchNorm1d(32),  # expect: BNL504
    nn.ReLU(),
    nn.Linear(32, 10),
)
runs = [torch.load("run1.pt"), torch.load("run2.pt")]
model.load_state_dict({key: (runs[0][key] + runs[1][key]) / 2 for key in runs[0]})
bnlint.check(model.eval(), torch.load("rows.pt"), recalibrate=True)
""",
            "Weights of two trainings averaged, and their statistics with them",
        ),
    ),
    right=(
        Example(
            """\
import bnlint
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
runs = [torch.load("run1.pt"), torch.load("run2.pt")]
model.load_state_dict({key: (runs[0][key] + runs[1][key]) / 2 for key in runs[0]})
update_bn(torch.load("batches.pt"), model)
bnlint.check(model.eval(), torch.load("rows.pt"))
""",
            "The statistics are re-estimated for the new weights",
        ),
        Example(
            """\
import bnlint
import torch
from torch import nn

model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
model.load_state_dict(torch.load("model.pt"))
bnlint.check(model.eval(), torch.randn(4, 64))
""",
            "Nearly wrong: four samples show nothing that chance does not explain",
        ),
    ),
    check=check,
    source=False,
    live=True,
    needs_data=True,
)
