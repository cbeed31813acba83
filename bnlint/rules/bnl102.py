"""BNL102: `model.eval` without the parentheses."""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.finding import AddCall, Finding, Fix, Severity
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.trace import ModeNotCalled


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each statement, however many entry points reach it."""
    found = {
        event.place: event
        for trace in pictures.traces
        for event in trace.events()
        if isinstance(event, ModeNotCalled)
    }
    for event in found.values():
        name = f"{event.receiver}.{event.method}"
        yield RULE.finding(
            f"`{name}` names the method and does not call it, so the mode stays as it was; "
            f"write `{name}()`",
            event.place,
            fix=Fix(f"write {name}()", (AddCall(event.place),)),
        )


RULE = Rule(
    code="BNL102",
    name="eval-not-called",
    severity=Severity.ERROR,
    summary="`model.eval` or `model.train` stands alone as a statement and is not called.",
    what="""\
A statement consists of nothing but `model.eval` or `model.train`: the bound method is looked up
and thrown away. Attributes of other objects that happen to have these names (`args.eval`, the
results of a COCO evaluation) are not reported, nor is an assignment.""",
    why="""\
Python accepts the line and does nothing. A network that was meant to be evaluated goes on in
training mode: BatchNorm normalises with the statistics of each test batch and moves its running
statistics towards the test data, Dropout stays on. PyTorch's own documentation of `Module.eval`
names these layers as the reason to call it. No exception and no warning follows.""",
    fine_when="""\
- Never as a statement. As a value (`callbacks.append(model.eval)`) it is fine and not reported.""",
    references=(
        "PyTorch documentation, torch.nn.Module.eval "
        "<https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.eval>",
        "PyTorch documentation, Autograd mechanics: evaluation mode "
        "<https://docs.pytorch.org/docs/stable/notes/autograd.html#evaluation-mode-nn-module-eval>",
    ),
    wrong=(
        Example(
            """\
import torch
from torch import nn

model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
model.load_state_dict(torch.load("weights.pt"))
model.eval  # expect: BNL102
""",
            "The parentheses are missing",
        ),
        Example(
            """\
import torch
from torch import nn
from torch.utils.data import DataLoader


def fit(model: nn.Module, loader: DataLoader, optimizer: torch.optim.Optimizer):
    model.train  # expect: BNL102
    for x, y in loader:
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.BatchNorm1d(10))
data = DataLoader(torch.load("train.pt"), batch_size=64, shuffle=True)
fit(network, data, torch.optim.SGD(network.parameters(), lr=0.1))
""",
            "The same in a training function",
        ),
    ),
    right=(
        Example(
            """\
import torch
from torch import nn

model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
model.load_state_dict(torch.load("weights.pt"))
model.eval()
""",
            "Called",
        ),
        Example(
            """\
import argparse

from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--eval", action="store_true")
args = parser.parse_args()
model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
if args.eval:
    model.eval()
before_test = [model.eval]
args.eval
""",
            "Nearly wrong: a flag of that name, and the method as a value",
        ),
    ),
    check=check,
    fix_safety="Unsafe: the program starts to do what it says, so its results change.",
)
