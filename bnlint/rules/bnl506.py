"""BNL506: the outputs of training and evaluation mode disagree."""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.finding import Finding, Severity
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.statistics import (
    Layer,
    model_place,
    purpose_of,
    settled_layers,
    significant_drift,
    title_of,
    tracking_layers,
)
from bnlint.trace import Purpose

FEWEST = 8
"""Samples below which the outputs are not compared."""

FLIPS = 0.25
"""Share of flipped predictions, beyond the control, from which on they are reported."""

ERRORS = 4.0
"""Standard errors by which the flips must exceed their control."""

DRIFT = 0.3
"""Relative distance from which on outputs that are no predictions disagree."""

TIMES = 5.0
"""How many times its control that distance must be."""

LAYER_DRIFT = 0.2
"""d that some layer must have: without a cause in a layer, the outputs are not accused."""


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for the model."""
    purpose = purpose_of(pictures)
    if purpose not in (Purpose.INFERENCE, Purpose.TRAINING):
        return
    if purpose is Purpose.INFERENCE and any(layer.trains for layer in tracking_layers(pictures)):
        return  # BNL101, which measures the same
    disagreement = _disagreement(pictures)
    layers = settled_layers(pictures)
    if disagreement is None or len(layers) < len(tracking_layers(pictures)):
        return
    drifting = [layer for layer in layers if (significant_drift(layer) or 0.0) > LAYER_DRIFT]
    if not drifting:
        return
    worst = max(drifting, key=lambda layer: significant_drift(layer) or 0.0)
    yield RULE.finding(
        f"{title_of(pictures)} gives other outputs in training mode than in evaluation mode: "
        f"{disagreement}; {_cause(worst)}",
        model_place(pictures),
        module=title_of(pictures),
        measurement=pictures.measured.output,
    )


def _disagreement(pictures: Pictures) -> str | None:
    """How the outputs disagree beyond chance, in words; None where they do not."""
    output = pictures.measured.output
    numbers = {key: v for key, v in output.items() if isinstance(v, int | float)}
    if numbers.get("batch", 0) < FEWEST or "drift" not in numbers:
        return None
    drift = numbers["drift"]
    if "flip_excess" in numbers:
        excess, error = numbers["flip_excess"], numbers.get("flip_excess_error", 0.0)
        if excess <= max(FLIPS, ERRORS * error):
            return None
        return (
            f"{numbers['flip_rate']:.0%} of the predictions change, where the noise of the batch "
            f"explains {numbers['flip_control']:.0%} (the output is off by {drift:.0%})"
        )
    net, control = numbers.get("drift_net", 0.0), numbers.get("drift_control")
    if control is None or net <= max(DRIFT, TIMES * control):
        return None
    return f"they are off by {drift:.0%}, where the noise of the batch explains {control:.0%}"


def _cause(worst: Layer) -> str:
    return (
        f"the running statistics of {worst.name} are furthest off ({significant_drift(worst):.2f} "
        "of its output's deviation); re-estimate them with torch.optim.swa_utils.update_bn, or "
        "train with larger batches or a larger BatchNorm momentum"
    )


RULE = Rule(
    code="BNL506",
    name="outputs-disagree",
    severity=Severity.WARNING,
    summary="A model's outputs in training mode and in evaluation mode differ beyond batch noise.",
    what="""\
The live check runs the model once with every BatchNorm on batch statistics and once on running
statistics, dropout off in both. Of a classifier it compares the predictions (the arg max over
classes), of other models the outputs themselves (relative L2 distance).

The control puts the same samples into half the batch, which changes the batch statistics by as much
as a new batch would. A model is reported when more than 25 % of its predictions flip beyond those
that flip in the control and beyond four standard errors (without classes: when the outputs are off
by more than 30 % and five times the control), and some layer's own statistics are off by more than
0.2 of its output's deviation. What remains random without dropout (stochastic depth) is measured by
a repeat and subtracted. It needs a stated phase and 8 samples of real data.""",
    why="""\
In training, a network is optimised as the function that normalises with its batch; in evaluation
another function is used. If the two disagree, the validation loss says nothing about the training
that led to it, and the deployed model is not the one that was trained. How
much a drift of the layers matters is decided by the layers behind them: a network with a largest d
of 0.38 changed 75 % of its predictions. This rule measures the effect where BNL504 names
the cause.""",
    fine_when="""\
- The model is in the middle of a training with a high learning rate: the running statistics lag
  behind the weights and catch up when the rate falls.
- Training mode at test time is the method (pix2pix).""",
    references=(
        'Wu and Johnson 2021, Rethinking "Batch" in BatchNorm, section 3.1 '
        "<https://arxiv.org/abs/2105.07576>",
        "Singh and Shrivastava 2019, EvalNorm: Estimating Batch Normalization Statistics for "
        "Evaluation <https://arxiv.org/abs/1904.06031>",
    ),
    wrong=(
        Example(
            """\
import bnlint
import torch
from torch import nn


class Net(nn.Module):  # expect: BNL506
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(64, 32),
            nn.BatchNorm1d(32),  # expect: BNL504
            nn.ReLU(),
            nn.Linear(32, 10),
        )

    def forward(self, x):
        return self.body(x)


model = Net()
model.load_state_dict(torch.load("weights_of_epoch_90_buffers_of_epoch_1.pt"))
bnlint.check(model.eval(), torch.load("rows.pt"), phase="inference")
""",
            "Weights and statistics of different moments",
        ),
        Example(
            """\
import bnlint
import torch
from torch import nn


class Net(nn.Module):  # expect: BNL506
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(64, 32)
        self.bn = nn.BatchNorm1d(32, momentum=1e-4)  # expect: BNL504
        self.out = nn.Linear(32, 10)

    def forward(self, x):
        return self.out(self.bn(self.fc(x)).relu())


model = Net()
model.load_state_dict(torch.load("trained.pt"))
bnlint.check(model.eval(), torch.load("rows.pt"), phase="inference")
""",
            "A momentum so small that the statistics never arrive",
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
model.load_state_dict(torch.load("model.pt"))
update_bn(torch.load("batches.pt"), model)
bnlint.check(model.eval(), torch.load("rows.pt"), phase="inference")
""",
            "The statistics fit the weights",
        ),
        Example(
            """\
import bnlint
import torch
from torch import nn

model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
model.load_state_dict(torch.load("model.pt"))
bnlint.check(model.eval(), torch.load("four_rows.pt"), phase="inference")
""",
            "Nearly wrong: four samples flip by chance alone",
        ),
    ),
    check=check,
    source=False,
    live=True,
    needs_data=True,
)
