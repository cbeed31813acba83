"""Small training programs -> mode findings: what becomes of an output tells what it was for."""

from __future__ import annotations

import textwrap

import pytest
from drawn import HEADER

import bnlint
from bnlint.finding import Finding, Severity
from bnlint.settings import Settings

PROGRAM = """\
import argparse
from torch.utils.data import DataLoader
from torchvision.utils import save_image

loader = DataLoader(torch.load("train.pt"), batch_size=64)
held_out = DataLoader(torch.load("valid.pt"), batch_size=64)


class Net(nn.Module):
    def __init__(self, p=0.5):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.drop = nn.Dropout(p)

    def forward(self, x):
        return self.drop(self.fc(x))


def fit(net, optimizer):
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.mse_loss(net(x), y)
        loss.backward()
        optimizer.step()


"""
TRAINED = "net = Net()\noptimizer = torch.optim.SGD(net.parameters(), 0.1)\n"


def findings(text: str, made: str = TRAINED) -> list[Finding]:
    """The mode findings of a program."""
    settings = Settings(select=("BNL101", "BNL103"))
    source = HEADER + PROGRAM + made + textwrap.dedent(text)
    return list(bnlint.lint_source(source, settings=settings).findings)


def codes(text: str, made: str = TRAINED) -> list[str]:
    """Their codes, sorted."""
    return sorted(finding.code for finding in findings(text, made))


VALIDATE = """\
def validate(net):
    {mode}
    total = 0
    for x, y in held_out:
        loss = F.mse_loss(net(x), y)
        {use}
    return total


for epoch in range(9):
    net.train()
    fit(net, optimizer)
    print(validate(net))
"""


@pytest.mark.parametrize(
    ("use", "wanted"),
    [
        ("total += loss.item()", ["BNL101"]),
        ("total += float(loss)", ["BNL101"]),
        ("total += loss.detach().cpu().numpy()", ["BNL101"]),
        ("total += loss", []),
    ],
)
def test_a_number_read_in_a_loop_of_its_own_is_a_validation(use: str, wanted: list[str]) -> None:
    assert codes(VALIDATE.format(mode="pass", use=use)) == wanted
    assert codes(VALIDATE.format(mode="net.eval()", use=use)) == []


def test_training_mode_set_for_the_measurement_is_meant() -> None:
    assert codes(VALIDATE.format(mode="net.train()", use="total += loss.item()")) == []


def test_it_is_a_warning() -> None:
    (finding,) = findings(VALIDATE.format(mode="pass", use="total += loss.item()"))
    assert finding.severity is Severity.WARNING
    assert "to be measured" in finding.message


def test_what_is_measured_in_the_rounds_of_the_training_is_none() -> None:
    text = """\
    for x, y in loader:
        loss = F.mse_loss(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(F.mse_loss(net(x), y).item())
    """
    assert codes(text) == []


SAMPLES = """\
def sample(net):
    {before}
    save_image(net(next(iter(held_out))), "images.png")
    {behind}


for epoch in range(9):
    net.train()
    for step, (x, y) in enumerate(loader):
        loss = F.mse_loss(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 0:
            sample(net)
"""


@pytest.mark.parametrize(
    ("before", "behind", "wanted"),
    [
        ("pass", "net.train()", ["BNL101"]),
        ("net.eval()", "net.train()", []),
        ("net.train()", "net.train()", []),
        ("pass", "pass", []),
        ("pass", "net.eval()", []),
    ],
)
def test_who_goes_back_to_training_meant_to_leave_it(
    before: str, behind: str, wanted: list[str]
) -> None:
    found = codes(SAMPLES.format(before=before, behind=behind))
    assert [code for code in found if code == "BNL101"] == wanted


@pytest.mark.parametrize("reduce", ["min", "max", "sum"])
def test_python_reduces_losses(reduce: str) -> None:
    """Where a backward pass flows to stays known, so that the other forwards are none of it."""
    text = f"""\
    for epoch in range(9):
        for x, y in loader:
            outputs = torch.chunk(net(x), 4)
            loss = {reduce}(F.mse_loss(out, y) for out in outputs)
            loss.backward()
            optimizer.step()
        print([net(x).argmax(1) for x, y in held_out])
    """
    assert codes(text) == ["BNL101"]


OPTIONS = """\
parser = argparse.ArgumentParser()
parser.add_argument("--dropout", type=float, default={default})
args = parser.parse_args()
net = Net(args.dropout)
optimizer = torch.optim.SGD(net.parameters(), 0.1)
"""
PREDICT = """\
for epoch in range(9):
    fit(net, optimizer)
    with torch.no_grad():
        print([net(x).argmax(1) for x, y in held_out])
"""


def test_a_dropout_that_an_option_switches_on() -> None:
    (finding,) = findings(PREDICT, OPTIONS.format(default=0.0))
    assert finding.severity is Severity.WARNING
    assert "wherever the option sets its rate" in finding.message
    (finding,) = findings(PREDICT, OPTIONS.format(default=0.1))
    assert finding.severity is Severity.ERROR
    assert "option" not in finding.message


def test_a_dropout_that_nothing_switches_on() -> None:
    off = "net = Net(0.0)\noptimizer = torch.optim.SGD(net.parameters(), 0.1)\n"
    assert codes(PREDICT, off) == []


def test_functional_dropout_that_an_option_switches_on() -> None:
    functional = """\
    class Functional(nn.Module):
        def __init__(self, p):
            super().__init__()
            self.p = p

        def forward(self, x):
            return F.dropout(x, self.p, training=self.training)

    """
    made = OPTIONS.replace("Net(", "Functional(")
    for default, wanted in ((0, 1), (0.5, 1)):
        text = textwrap.dedent(functional) + made.format(default=default)
        assert len(findings(PREDICT, text)) == wanted
    text = textwrap.dedent(functional) + made.replace("Functional(args.dropout)", "Functional(0)")
    assert findings(PREDICT, text.format(default=0)) == []


@pytest.mark.parametrize("base", ["_BatchNorm", "BatchNorm1d"])
def test_a_batchnorm_of_the_projects_own_is_one(base: str) -> None:
    made = f"""\
    from torch.nn.modules.batchnorm import {base}

    class Synchronized({base}):
        def __init__(self, width):
            super().__init__(width)
            self.parallel = False

        def forward(self, x):
            if not (self.parallel and self.training):
                return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias,
                                    self.training, self.momentum, self.eps)
            return (x - x.mean(0)) * x.std(0)

    net = nn.Sequential(nn.Linear(4, 4), Synchronized(4))
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    """
    assert codes(PREDICT, textwrap.dedent(made)) == ["BNL101"]
    assert codes(
        PREDICT.replace("    with", "    net.eval()\n    with"), textwrap.dedent(made)
    ) == ["BNL103"]


OVERRIDING = """\
class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.bn = nn.BatchNorm1d(4)

    def forward(self, x):
        return self.bn(x)

    def train(self, mode=True):
        {body}
        return self


class Whole(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = Backbone()
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.backbone(x))


net = Whole()
optimizer = torch.optim.SGD(net.parameters(), 0.1)
"""


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("super().train(mode)", []),
        ("self.rounds = 0", ["BNL101"]),
        ("super().train(True)", ["BNL101"]),
        ("self.bn.train(mode)", []),
    ],
)
def test_what_lies_below_an_override_is_its_affair(body: str, wanted: list[str]) -> None:
    text = PREDICT.replace("    fit", "    net.train()\n    fit").replace(
        "    with", "    net.eval()\n    with"
    )
    assert codes(text, OVERRIDING.format(body=body)) == wanted


@pytest.mark.parametrize(
    ("use", "wanted"),
    [
        ("total += loss.data[0]", ["BNL101"]),
        ("scores[0:4] = net(x)\n        print(scores.argmax(1))", ["BNL101"]),
        ("scores[0:4] += net(x).data\n        print(scores.argmax(1))", ["BNL101"]),
        ("scores[0:4] = net(x)", []),
    ],
)
def test_outputs_that_fill_a_tensor(use: str, wanted: list[str]) -> None:
    text = VALIDATE.replace("    total = 0\n", "    total, scores = 0, torch.zeros(4, 4)\n")
    assert codes(text.format(mode="pass", use=use)) == wanted


def test_a_loss_of_what_fills_a_tensor_goes_back_to_it() -> None:
    text = """\
    for x, y in loader:
        scores = torch.zeros(4, 4)
        for row in range(4):
            scores[row] = net(x[row])
        print((scores > 0.5).sum())
        F.mse_loss(scores, y).backward()
        optimizer.step()
    """
    assert codes(text) == []


def test_the_names_that_an_option_lists() -> None:
    """A string as the default of `nargs="+"` says nothing of the names that the user gives."""
    text = """\
    parser = argparse.ArgumentParser()
    parser.add_argument("--arch", default="small", nargs="+")
    args = parser.parse_args()
    networks = {"small": Net, "large": lambda: nn.Sequential(Net(), Net())}
    for name in args.arch:
        net = networks[name]()
        print(net(next(iter(held_out))).argmax(1))
    """
    assert codes(text) == ["BNL101"]
    assert codes(text.replace("    print", "    net.eval()\n        print")) == []


def test_an_export_leaves_its_mode_behind() -> None:
    text = """\
    for epoch in range(9):
        fit(net, optimizer)
        if epoch % 2 == 0:
            net.eval()
            torch.jit.trace(net, torch.load("x.pt")).save("net.ts")
    """
    assert codes(text) == ["BNL103"]
    assert codes(text.replace("    fit", "    net.train()\n        fit")) == []
