"""BNL505: running statistics with which no layer can work."""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.finding import Finding, Role, Severity
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.predicates import evidence_at
from bnlint.rules.statistics import Layer, paths, tracking_layers

FAULTS = (
    ("nonfinite_channels", "infinite or not a number"),
    ("negative_channels", "a variance below zero"),
    ("collapsed_channels", "a variance of zero although the input varies"),
)


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for the model, at its first broken layer."""
    broken = [layer for layer in tracking_layers(pictures) if _faults(layer)]
    if not broken:
        return
    first, *others = broken
    more = f" ({len(others)} more layers are broken, too)" if others else ""
    yield RULE.finding(
        f"the running statistics of {first.name} are broken: {', '.join(_faults(first))} of "
        f"{first.numbers.get('channels')} channels{more}; in evaluation mode the output is wrong "
        "or not a number: find the batch that did it (bnlint.watch), then reset_running_stats() "
        "and re-estimate with torch.optim.swa_utils.update_bn",
        first.node.place,
        [
            step
            for layer in others
            for step in evidence_at(
                layer.node.place, f"{layer.name}: {', '.join(_faults(layer))}", Role.INSTANCE
            )
        ],
        module=first.node.path or None,
        measurement={**first.numbers, "layers": paths(broken)},
    )


def _faults(layer: Layer) -> list[str]:
    found = [(layer.numbers.get(name), text) for name, text in FAULTS]
    return [f"{text} in {count}" for count, text in found if isinstance(count, int) and count > 0]


RULE = Rule(
    code="BNL505",
    name="broken-statistics",
    severity=Severity.ERROR,
    summary="A running mean or variance is not finite, negative, or zero where the input varies.",
    what="""\
A running mean or running variance of a BatchNorm layer is infinite or not a number, a running
variance is below zero, or it is exactly zero in a channel whose input does vary. The number of
channels is given for each fault. A variance of zero in a channel whose input is constant (a dead
or pruned channel) is not reported: there the layer's output is its bias, as in training.

The state of the buffers does not depend on the data, so the rule also judges made-up input.""",
    why="""\
One batch with an infinite or undefined value makes the running statistics undefined for good: the
update is a weighted sum with the old value, and 0.9 times NaN is NaN. Training goes on as if
nothing had happened, since training mode normalises with the batch; the loss may even recover.
Evaluation returns NaN for every input. A variance below zero comes from arithmetic on whole state
dicts (extrapolation, task vectors); its square root is NaN. A variance of zero divides by
sqrt(eps): with the default eps of 1e-5 a channel is multiplied by 316.""",
    fine_when="""\
- Never, for values that are not finite or negative.
- A variance of zero where the input varies only on the batch at hand: e.g. a channel that was dead
  on all training data. Then its weight is better set to zero.""",
    references=(
        "PyTorch documentation, torch.nn.BatchNorm2d (running statistics) "
        "<https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html>",
        "PyTorch documentation, Automatic Mixed Precision: gradient scaling "
        "<https://docs.pytorch.org/docs/stable/amp.html#gradient-scaling>",
    ),
    wrong=(
        Example(
            """\
import bnlint
import torch
from torch import nn

model = nn.Sequential(
    nn.Linear(64, 32),
    nn.BatchNorm1d(32),  # expect: BNL505
    nn.ReLU(),
    nn.Linear(32, 10),
)
rows = torch.load("rows.pt")
rows[17] = float("inf")  # a missing value that was divided by zero
model(rows)
bnlint.check(model.eval(), torch.load("test.pt"))
""",
            "One infinite row in one batch",
        ),
        Example(
            """\
import bnlint
import torch
from torch import nn

model = nn.Sequential(
    nn.Conv2d(3, 16, 3),
    nn.BatchNorm2d(16),  # expect: BNL505
    nn.ReLU(),
)
first, second = torch.load("epoch8.pt"), torch.load("epoch9.pt")
model.load_state_dict({key: 2 * second[key] - first[key] for key in first})
bnlint.check(model.eval(), torch.load("images.pt"))
""",
            "Extrapolated weights: the variances were extrapolated, too",
        ),
    ),
    right=(
        Example(
            """\
import bnlint
import torch
from torch import nn

model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
rows = torch.load("rows.pt")
model(torch.nan_to_num(rows))
bnlint.check(model.eval(), torch.load("test.pt"))
""",
            "The batch is cleaned first",
        ),
        Example(
            """\
import bnlint
import torch
from torch import nn

model = nn.Sequential(nn.Conv2d(3, 16, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU())
with torch.no_grad():
    model[0].weight[3] = 0
    model[1].running_mean[3] = 0
    model[1].running_var[3] = 0
bnlint.check(model.eval(), torch.load("images.pt"))
""",
            "Nearly wrong: the channel was pruned, its input is constant",
        ),
    ),
    check=check,
    source=False,
    live=True,
)
