"""BNL101: inference in training mode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bnlint.finding import Evidence, Finding, Measurement, Place, Role, Severity
from bnlint.graph import Kind
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.inference import Ground, Inference, inference_in_training_mode
from bnlint.rules.mode_fixes import evaluation_fix
from bnlint.rules.predicates import (
    acts_itself,
    evidence_at,
    grouped,
    sensitive_name,
    sensitive_names,
    wherever,
)
from bnlint.solver import ModeFact
from bnlint.trace import Forward, LoadState, ModeTrace, SensitiveLayer

LIKELY = (Ground.PREDICTS, Ground.MEASURED, Ground.TIMED)
"""Grounds that are worth a warning, not an error."""


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each place of a forward, whichever chains and models lead to it."""
    found = list(_mistakes(pictures))
    for same_place in grouped(found, _key).values():
        yield _finding(same_place[0], pictures)


def _mistakes(pictures: Pictures) -> Iterator[Inference]:
    loaded: dict[int, LoadState] = {}
    current: ModeTrace | None = None
    for trace, seen in pictures.observations:
        if trace is not current:
            current, loaded = trace, {}
        if isinstance(seen.event, LoadState):
            loaded[seen.event.model] = seen.event
        elif isinstance(seen.event, Forward):
            mistake = inference_in_training_mode(trace, seen, loaded.get(seen.event.model))
            if mistake is not None:
                yield mistake


def _key(mistake: Inference) -> object:
    return mistake.forward.place or (mistake.trace.entry, mistake.forward.model)


def _finding(mistake: Inference, pictures: Pictures) -> Finding:
    trace, forward = mistake.trace, mistake.forward
    model = trace.models.get(forward.model)
    title = model.title if model is not None else "the model"
    layers = [trace.layers[each] for each in mistake.layers]
    layer = layers[0]
    measured = pictures.measured.output
    return RULE.finding(
        f"{title} runs {mistake.ground.value}{_by(mistake)}, but is in training mode: "
        f"{_raises(mistake) or _consequence(layers)}{_drift(measured)}; "
        f"call {_receiver(forward, title)}.eval() before this forward",
        forward.place,
        _evidence(mistake),
        severity=Severity.WARNING if mistake.ground in LIKELY or wherever(layers) else None,
        fix=None
        if pictures.measured.is_live
        else evaluation_fix(forward, trace, mistake.observation, pictures.traces),
        module=(layer.path or title) if pictures.measured.is_live else None,
        measurement=measured,
    )


def _raises(mistake: Inference) -> str:
    if mistake.raising is None:
        return ""
    name = sensitive_name(mistake.trace.layers[mistake.raising])
    return (
        f"{name} gets one value per channel from a batch of one, for which PyTorch raises "
        '"Expected more than 1 value per channel when training"'
    )


def _by(mistake: Inference) -> str:
    calls = [call.function for call in mistake.observation.chain]
    return f" (called through {' > '.join(calls)})" if calls else ""


def _receiver(forward: Forward, title: str) -> str:
    """A name to call `.eval()` on: as the program says, else a plain lower-case title."""
    if forward.receiver:
        return forward.receiver
    return title if title.isidentifier() and title[0].islower() else "model"


def _consequence(layers: Sequence[SensitiveLayer]) -> str:
    names = sensitive_names(layers)
    if layers[0].kind is Kind.DROPOUT:
        does = "acts" if acts_itself(layers[0]) else "drops values"
        return f"{names} {does} at random{wherever(layers)}"
    return (
        f"{names} normalises with the statistics of each batch and moves its running statistics "
        "towards this data"
    )


def _drift(measured: Measurement) -> str:
    drift, flips = measured.get("drift"), measured.get("flip_rate")
    if not isinstance(drift, float):
        return ""
    flipped = f", {flips:.0%} of the predictions change" if isinstance(flips, float) else ""
    return f" (measured: the output is off by {drift:.0%}{flipped})"


def _evidence(mistake: Inference) -> list[Evidence]:
    trace, forward, seen = mistake.trace, mistake.forward, mistake.observation
    model = trace.models.get(forward.model)
    layer = trace.layers[mistake.layers[0] if mistake.raising is None else mistake.raising]
    steps: list[Evidence] = []
    if model is not None:
        message = f"{model.title} is built here; new modules start in training mode"
        steps += evidence_at(model.built, message, Role.CAUSE)
    message = f"it holds this {layer.name.rpartition('.')[2]}"
    steps += evidence_at(layer.place, message, Role.CAUSE)
    for fact in sorted(seen.state.get(layer.id, ()), key=_fact_order):
        if fact.how != "built":
            steps += evidence_at(fact.place, "this sets training mode", Role.CAUSE)
    if mistake.loaded is not None:
        steps += evidence_at(mistake.loaded.place, "its weights are loaded here")
    for call in seen.chain:
        steps += evidence_at(call.place, f"{call.function}() is called here")
    message = "gradients are off here, which does not set evaluation mode"
    steps += evidence_at(forward.context_place, message)
    if mistake.ground is Ground.TIMED:
        for place in _warming_up(trace, forward):
            steps += evidence_at(place, "it is warmed up here: evaluation mode is due before")
    return list(dict.fromkeys(steps))


def _warming_up(trace: ModeTrace, timed: Forward) -> Iterator[Place | None]:
    """Where a network runs before its speed is measured, for nothing else."""
    for earlier in trace.of(Forward):
        if earlier is timed:
            return
        if earlier.model == timed.model and earlier.discarded and earlier.place != timed.place:
            yield earlier.place


def _fact_order(fact: ModeFact) -> tuple[str, int]:
    return (fact.place.path, fact.place.line) if fact.place is not None else ("", 0)


RULE = Rule(
    code="BNL101",
    name="inference-without-eval",
    severity=Severity.ERROR,
    summary="A model with BatchNorm or Dropout is used for inference while in training mode.",
    what="""\
A forward is inference, and its BatchNorm or Dropout layers are in training mode on every path
that leads to it. A module that drops or draws at random where `self.training` says so counts as
Dropout, when its rate is known: stochastic depth (`DropPath`), functional dropout, attention. It is
inference when

- it runs under `torch.no_grad()`, `torch.inference_mode()` or `set_grad_enabled(False)`, as a block
  or as a decorator, and its output is used;
- or the weights were loaded with `load_state_dict` before, and no gradient ever flows back;
- or (a warning) its output reaches an argmax, a metric or a file, and no gradient flows back
  from it;
- or (a warning) a number is made of its output (`loss.item()`) outside the loop that trains, no
  gradient flows back from it, and the model was trained, or got trained weights;
- or (a warning) a clock is read before and behind it, and a new network has nothing else to do;
- or its input is a single sample of made-up data, of which some BatchNorm surely gets one value per
  channel (behind global pooling, in a head on flat features): PyTorch raises there, so a mere test
  of shapes is reported, too;
- or, in the live check, you say so: `bnlint.check(model, inputs, phase="inference")`.

The mode is followed from the entry point (a script, a notebook's cells, `main()`) through calls
into functions and files, and the finding names the chain. Of a class that nobody in the project
builds, because its users do, the public methods are entry points, too, whatever others of them came
before; a parameter that is declared to be a model of the project is one, in an unknown mode. A
function that no visible chain reaches is not reported, nor are shape tests on noise, sampling from
a GAN while it is trained, teachers and pseudo-labels inside a training step, features that are
collected before the batches are run again with gradients, a forward whose output
nobody reads (statistics being re-estimated), and dropout that alone was switched back on. The live
check measures how far the output is off and how many predictions change.""",
    why="""\
`no_grad` and `eval` are independent: the first stops recording gradients, the second changes
what BatchNorm and Dropout do. In training mode a BatchNorm normalises each sample with the other
samples of its batch, so a prediction depends on its neighbours, on the batch size and on their
order; a batch of one raises an error or loses all information. Each such forward also moves the
running statistics towards the test data, so it damages the model for every later evaluation.
Dropout makes predictions random. Nothing fails: on a batch that looks like training data the
numbers are a little wrong, on a sorted or small batch they are very wrong.

The mistake was fixed, among others, in Pytorch-UNet's predict.py, in the official fast neural
style example, in nnU-Net's final validation and in Ludwig's batch evaluation.""",
    fine_when="""\
- The running statistics are to be re-estimated: use `torch.optim.swa_utils.update_bn`, or do not
  use the outputs.
- Training mode at test time is the method: pix2pix, adaptation at test time, Monte Carlo dropout.
  Suppress it with that reason: `# bnlint: ignore[BNL101] Monte Carlo dropout`.
- The model has no BatchNorm and no Dropout: then it is not reported.""",
    fix_safety="""\
Unsafe: predictions change, as they should. `eval()` is written above the loops and `with` blocks
that only infer. There is no fix where the model has no plain name at that place, or where a
training step follows that does not set its own mode.""",
    references=(
        "PyTorch documentation, Autograd mechanics: evaluation mode "
        "<https://docs.pytorch.org/docs/stable/notes/autograd.html#evaluation-mode-nn-module-eval>",
        "PyTorch documentation, torch.nn.Module.eval "
        "<https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.eval>",
        "Ioffe and Szegedy 2015, Batch Normalization, section 3.1 "
        "<https://arxiv.org/abs/1502.03167>",
        "Pytorch-UNet, the fix of predict.py <https://github.com/milesial/Pytorch-UNet/commit/"
        "3af421f3060c30b19ee38bc6e00db2593e53ad62>",
        "torchvision, issue 2079: one forward in training mode changes later predictions "
        "<https://github.com/pytorch/vision/issues/2079>",
    ),
    wrong=(
        Example(
            """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        x = self.bn(self.conv(x)).relu()
        return self.fc(x.mean(dim=(2, 3)))


model = Net()
model.load_state_dict(torch.load("net.pt"))
images = torch.load("images.pt")
with torch.no_grad():
    scores = model(images)  # expect: BNL101
print(scores.argmax(dim=1))
""",
            "no_grad is not eval",
        ),
        Example(
            """\
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader


def train(model, loader, optimizer):
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


@torch.no_grad()
def accuracy(model, loader):
    right = 0
    for x, y in loader:
        right += (model(x).argmax(dim=1) == y).sum().item()  # expect: BNL101
    return right / len(loader.dataset)


def main():
    model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    training = DataLoader(torch.load("train.pt"), batch_size=64, shuffle=True)
    validation = DataLoader(torch.load("valid.pt"), batch_size=64)
    for epoch in range(10):
        train(model, training, optimizer)
        print(epoch, accuracy(model, validation))


if __name__ == "__main__":
    main()
""",
            "The validation function inherits the mode of the training function",
        ),
    ),
    right=(
        Example(
            """\
import torch
from torch import nn

model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten())
model.load_state_dict(torch.load("net.pt"))
model.eval()
with torch.no_grad():
    features = model(torch.load("images.pt"))
torch.save(features, "features.pt")
""",
            "eval() and no_grad()",
        ),
        Example(
            """\
import torch
from torch import nn

model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten())
model.load_state_dict(torch.load("net.pt"))
model.train()
with torch.no_grad():
    for images in torch.load("batches.pt"):
        model(images)
model.eval()
""",
            "Nearly wrong: the outputs are not used, the statistics are being re-estimated",
        ),
        Example(
            """\
import torch
from torch import nn

model = nn.Sequential(nn.Linear(64, 32), nn.LayerNorm(32), nn.ReLU(), nn.Linear(32, 10))
model.load_state_dict(torch.load("net.pt"))
with torch.no_grad():
    scores = model(torch.load("rows.pt"))
print(scores.argmax(dim=1))
""",
            "Nearly wrong: no layer of this model knows a mode",
        ),
    ),
    check=check,
    live=True,
)
