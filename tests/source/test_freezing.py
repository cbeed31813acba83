"""Programs that freeze layers -> the training forwards that BNL106 accuses, and how."""

from __future__ import annotations

import textwrap

import pytest

import bnlint
from bnlint.finding import Finding, Severity
from bnlint.settings import Settings

START = """\
import torch
from torch import nn
from torchvision import models


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.1))
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        return self.fc(self.body(self.stem(x)).mean((2, 3)))

    def freeze(self):
        for m in self.stem.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.eval()


def set_grad(model, flag):
    for p in model.parameters():
        p.requires_grad = flag


model = Net()
"""
LOOP = """\
optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
for epoch in range(9):
    model.train()
    for x, y in torch.load("a.pt"):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""


def judged(middle: str, loop: str = LOOP) -> list[Finding]:
    text = START + middle + "\n" + loop
    found = bnlint.lint_source(text, settings=Settings(select=("BNL106",))).findings
    line = 1 + next(i for i, code in enumerate(text.splitlines()) if "cross_entropy(model" in code)
    assert [finding.place.line for finding in found if finding.place] == [line] * len(found)
    return list(found)


def frozen_layers(middle: str) -> str:
    return ", ".join(str(finding.measurement["layers"]) for finding in judged(middle))


@pytest.mark.parametrize(
    ("middle", "layers"),
    [
        ("for p in model.stem.parameters():\n    p.requires_grad = False", "stem.1"),
        ("for p in model.stem.parameters():\n    p.requires_grad_(False)", "stem.1"),
        ("model.stem.requires_grad_(False)", "stem.1"),
        ("set_grad(model.body, False)", "body.1"),
        ("set_grad(model, False)\nset_grad(model.fc, True)", "stem.1, body.1"),
        ("set_grad(model, False)\nmodel.fc = nn.Linear(8, 2)", "stem.1, body.1"),
        ("model.stem.apply(lambda m: m.requires_grad_(False))", "stem.1"),
        (
            "for name, p in model.named_parameters():\n    if 'fc' not in name:\n"
            "        p.requires_grad = False",
            "stem.1, body.1",
        ),
        (
            "for name, p in model.named_parameters():\n"
            "    p.requires_grad = not name.startswith('stem.')",
            "stem.1",
        ),
        (
            "for k, v in model.named_parameters():\n    v.requires_grad = True\n"
            "    if any(x in k for x in ['body.']):\n        v.requires_grad = False",
            "body.1",
        ),
        (
            "for name, child in model.named_children():\n    if name in ('stem', 'other'):\n"
            "        for p in child.parameters():\n            p.requires_grad = False",
            "stem.1",
        ),
        (
            "for m in model.modules():\n    if isinstance(m, nn.BatchNorm2d):\n"
            "        m.weight.requires_grad = False\n        m.bias.requires_grad_(False)",
            "stem.1, body.1",
        ),
        (
            "import sys\nif len(sys.argv) > 1:\n    set_grad(model.stem, False)",
            "stem.1",
        ),
    ],
)
def test_what_freezes_a_layer(middle: str, layers: str) -> None:
    assert frozen_layers(middle) == layers


def test_a_model_of_many_layers_is_frozen_one_by_one() -> None:
    """Each round of such a loop decides about another layer, however many there are."""
    many = "model.body = nn.Sequential(*[nn.BatchNorm2d(8) for _ in range(150)])\n"
    loop = "for name, p in model.named_parameters():\n    if 'fc' not in name:\n"
    (finding,) = judged(f"{many}{loop}        p.requires_grad_(False)")
    assert "(and 150 more)" in finding.message


@pytest.mark.parametrize(
    "middle",
    [
        "",
        "set_grad(model, False)",
        "set_grad(model.stem, False)\nset_grad(model, True)",
        "model.stem[0].requires_grad_(False)",
        "model.fc.requires_grad_(False)",
        "model.requires_grad = False",
        "set_grad(model.stem, bool(torch.load('flag')))",
        "for name, p in model.named_parameters():\n    if name.endswith('weight'):\n"
        "        p.requires_grad = False",
        "for m in model.modules():\n    if isinstance(m, nn.BatchNorm2d):\n"
        "        m.bias.requires_grad = False",
        "for name, p in model.named_parameters():\n    if 'stem.1' in name:\n"
        "        p.requires_grad = False\nmodel.stem[1] = nn.BatchNorm2d(8)",
    ],
)
def test_what_does_not(middle: str) -> None:
    assert judged(middle) == []


@pytest.mark.parametrize(
    ("model", "part", "layers"),
    [
        ("resnet50", "model", "bn1, layer1.0.bn1, layer1.0.bn2 and 50 more"),
        ("resnet34", "model.bn1", "bn1"),
        ("resnet18", "model.layer2[0].bn1", ""),
        (
            "resnet18",
            "model.layer2",
            "layer2.0.bn1, layer2.0.bn2, layer2.0.downsample.1 and 2 more",
        ),
        ("vgg16_bn", "model.features", "features.1, features.4, features.8 and 10 more"),
    ],
)
def test_known_models(model: str, part: str, layers: str) -> None:
    head = "model.fc" if model.startswith("resnet") else "model.classifier"
    freeze = f"for p in {part}.parameters():\n    p.requires_grad = False"
    middle = f"model = models.{model}()\n{freeze}\n"
    assert frozen_layers(f"{middle}{head} = nn.Linear(9, 2)") == layers


@pytest.mark.parametrize("test", ["'fc' not in name", "not name.startswith('fc')"])
def test_names_of_known_models(test: str) -> None:
    middle = "model = models.resnet18()\nfor name, p in model.named_parameters():\n"
    found = frozen_layers(f"{middle}    if {test}:\n        p.requires_grad = False")
    assert found == "bn1, layer1.0.bn1, layer1.0.bn2 and 17 more"


@pytest.mark.parametrize("model", ["vgg16", "convnext_tiny", "vit_b_16"])
def test_known_models_without_batchnorm(model: str) -> None:
    middle = f"model = models.{model}()\nset_grad(model, False)\n"
    assert judged(f"{middle}model.classifier = nn.Linear(9, 2)") == []


def test_the_first_children_of_a_known_model() -> None:
    middle = (
        "model = models.resnet18()\ncount = 0\nfor child in model.children():\n    count += 1\n"
        "    if count < 6:\n        for p in child.parameters():\n"
        "            p.requires_grad = False"
    )
    assert frozen_layers(middle) == "bn1, layer1.0.bn1, layer1.0.bn2 and 2 more"


def test_a_target_network_beside_the_one_that_learns() -> None:
    middle = (
        "class Both(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.online, self.target = Net(), Net()\n"
        "        set_grad(self.{0}, False)\n\n    def forward(self, x):\n"
        "        return self.online(x) - self.target(x)\n\n\nmodel = Both()"
    )
    assert judged(middle.format("target")) == []
    assert len(judged(middle.format("online.stem"))) == 1


def test_evidence_says_where_it_is_frozen() -> None:
    (finding,) = judged("set_grad(model.stem, False)")
    assert finding.severity is Severity.NOTE
    assert any("parameters are frozen here" in step.message for step in finding.evidence)


# --- evaluation mode that is undone -----------------------------------------------------------


@pytest.mark.parametrize(
    "middle",
    [
        "model.freeze()",
        "model.stem.eval()",
        "model.stem[1].eval()",
        "model.stem[1].train(False)",
        "model.stem[1].training = False",
        "for m in model.modules():\n    if isinstance(m, nn.BatchNorm2d):\n        m.eval()",
        "model.stem.eval().requires_grad_(False)",
    ],
)
def test_a_part_that_was_frozen_is_trained_again(middle: str) -> None:
    (finding,) = judged(middle)
    assert finding.severity is Severity.WARNING
    assert "had been set to evaluation mode" in finding.message
    messages = [step.message for step in finding.evidence]
    assert "evaluation mode of the frozen part is set here" in messages
    assert "training mode is set again here" in messages


@pytest.mark.parametrize(
    ("middle", "loop"),
    [
        ("", LOOP.replace("    model.train()\n", "    model.train()\n    model.freeze()\n")),
        ("model.train()\nmodel.freeze()", LOOP.replace("    model.train()\n", "")),
        ("model.eval()", LOOP),
        ("model.stem.eval()\nmodel.stem.train()", LOOP),
        ("model.stem.eval()\nprint(model.stem(torch.load('x')).argmax(1))", LOOP),
        (
            "class Own(Net):\n    def train(self, mode=True):\n        super().train(mode)\n"
            "        self.freeze()\n        return self\n\n\nmodel = Own()\nmodel.freeze()",
            LOOP,
        ),
        ("", LOOP + "    model.stem.eval()\n    with torch.no_grad():\n        model(x).argmax(1)"),
    ],
)
def test_evaluation_mode_that_is_kept_or_was_for_an_inference(middle: str, loop: str) -> None:
    assert judged(middle, loop) == []


@pytest.mark.parametrize(
    ("modules", "accused"),
    [
        ("model.modules()", False),
        ("nn.DataParallel(model).modules()", False),
        ("model.stem.modules()", True),
        ("[m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]", True),
    ],
)
def test_flags_that_are_set_one_by_one(modules: str, accused: bool) -> None:
    middle = f"for m in {modules}:\n    m.training = False"
    assert bool(judged(middle)) is accused


FITTED = """\
import lightning as L
import torch
from somewhere import predictor
from torch import nn


class Net(L.LightningModule):
    def __init__(self, norm=True):
        super().__init__()
        self.bn = nn.BatchNorm1d(8) if norm else nn.Identity()
        self.head = predictor()

    def training_step(self, batch, index):
        return self.head(self.bn(batch)).mean()


for fold in range(5):
    net = Net()
    net.load_state_dict(torch.load("net.pt"))
    {middle}
    trainer = L.Trainer()
    trainer.fit({given}, torch.load("data.pt"))
"""


@pytest.mark.parametrize(
    ("middle", "given", "accused"),
    [
        ("net.bn.apply(lambda module: module.requires_grad_(False))", "net", True),
        ("net.bn.requires_grad_(False)", "model=net", True),
        ("net.bn.requires_grad_(False); net.bn.eval()", "net", False),
        ("net.bn.eval(); net.bn.requires_grad_(False)", "net", False),
        ("net.bn.requires_grad_(False); net.bn.requires_grad_(True)", "net", False),
        ("net.bn.weight.requires_grad = False", "net", False),
        ("pass", "net", False),
        ("net.bn.requires_grad_(False)", "nn.Sequential(net)", False),
    ],
)
def test_what_lightning_trains(middle: str, given: str, accused: bool) -> None:
    text = FITTED.format(middle=middle, given=given)
    found = bnlint.lint_source(text, settings=Settings(select=("BNL106",))).findings
    lines = [text.splitlines()[f.place.line - 1].strip() for f in found if f.place is not None]
    assert [line.partition("(")[0] for line in lines] == (["trainer.fit"] if accused else [])


def test_other_trainers_are_not_known() -> None:
    text = FITTED.format(middle="net.bn.requires_grad_(False)", given="net")
    text = text.replace("L.LightningModule", "nn.Module")
    assert not bnlint.lint_source(text, settings=Settings(select=("BNL106",))).findings


TURNS = """\
for x, y in torch.load("a.pt"):
    set_grad(model.stem, False)
    model.train()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    set_grad(model.stem, True)
"""


@pytest.mark.parametrize(
    ("head", "tail"),
    [
        ("", ""),
        ("try:\n", "except KeyboardInterrupt:\n    pass\n"),
        ("try:\n", "finally:\n    model.eval()\n"),
        ("with torch.autograd.detect_anomaly():\n", ""),
        ("if torch.cuda.is_available():\n", ""),
    ],
)
def test_layers_that_learn_in_turns_are_not_frozen(head: str, tail: str) -> None:
    optimizer = "optimizer = torch.optim.SGD(model.parameters(), 0.1)\n"
    body = textwrap.indent(TURNS, "    ") if head else TURNS
    assert not judged("", optimizer + head + body + tail)
