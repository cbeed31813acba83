"""Small training programs -> mode findings: what sets, saves, restores and forgets the mode."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from drawn import HEADER

import bnlint
from bnlint.settings import Settings

PROGRAM = """\
import argparse, copy, importlib
from torch.utils.data import DataLoader

loader = DataLoader(torch.load("train.pt"), batch_size=64)
held_out = DataLoader(torch.load("valid.pt"), batch_size=64)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.bn = nn.BatchNorm1d(4)

    def forward(self, x):
        return self.bn(self.fc(x))


def fit(net, optimizer):
    for x, y in loader:
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()


@torch.no_grad()
def predict(net):
    return [net(x).argmax(1) for x in held_out]


net = Net()
optimizer = torch.optim.SGD(net.parameters(), 0.1)
"""


def codes(text: str, program: str = PROGRAM) -> list[str]:
    """The mode findings of a program: their codes, sorted."""
    settings = Settings(select=("BNL101", "BNL103"))
    result = bnlint.lint_source(HEADER + program + textwrap.dedent(text), settings=settings)
    return sorted(finding.code for finding in result.findings)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("was = net.training\nnet.eval()\nnet(torch.rand(2, 4))\nnet.train(was)", ["BNL101"]),
        ("net.eval()\nwas = net.training\nnet(torch.rand(2, 4))\nnet.train(was)", []),
        ("was = net.training\nnet.eval()\nTEST\nif was:\n    net.train()", ["BNL101"]),
        ("was = net.training\nnet.eval()\nif not was:\n    net.train()", []),
        ("was = not net.training\nnet.eval()\nTEST\nif not was:\n    net.train()", ["BNL101"]),
        ("if net.training:\n    net.eval()", []),
        ("if not net.training:\n    net.eval()", ["BNL101"]),
        ("was = net.training\nnet.eval()\nnet.train(mode=was)", ["BNL101"]),
        ("was = net.training\nnet.eval()\nnet.training = was", []),
        ("net.bn.eval()\nwas = net.training\nnet.eval()\nnet.train(was)", ["BNL101"]),
    ],
)
def test_a_saved_mode_is_restored_exactly(body: str, wanted: list[str]) -> None:
    body = body.replace("TEST", "net(torch.rand(2, 4))")
    assert codes(body + "\nprint(predict(net))\n") == wanted


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("was = net.training\n    net.eval()\n    print(predict(net))\n    net.train(was)", []),
        ("was = net.training\n    net.eval()\n    print(predict(net))", ["BNL103"]),
        ("net.eval()\n    print(predict(net))", ["BNL103"]),
        ("net.eval()", ["BNL103"]),
        ("if unknown():\n        net.eval()", []),
        ("net.bn.eval()", []),  # the model itself stays in training mode: one layer is frozen
    ],
)
def test_a_round_that_ends_in_evaluation_mode(body: str, wanted: list[str]) -> None:
    text = f"net.train()\nfor epoch in range(9):\n    fit(net, optimizer)\n    {body}\n"
    assert codes(text) == wanted


def test_a_validation_before_the_loop_leaks_as_well_as_the_one_in_it() -> None:
    text = """\
    def validate():
        net.eval()
        print(predict(net))
    if unknown():
        validate()
    for epoch in range(9):
        fit(net, optimizer)
        validate()
    """
    assert codes(text) == ["BNL103"]


@pytest.mark.parametrize(
    ("statement", "wanted"),
    [
        ("net(x)", []),  # the statistics are being re-estimated
        ("losses.append(net(x))", ["BNL101"]),
        ("y = net(x)\n        meter.update(y)", ["BNL101"]),
        ("y = net(x)\n        loss = F.cross_entropy(y, y)\n        log(loss)", ["BNL101"]),
        ("show(net(x))", ["BNL101"]),
    ],
)
def test_only_a_forward_alone_in_its_statement_is_for_the_statistics(
    statement: str, wanted: list[str]
) -> None:
    text = f"losses = []\nwith torch.no_grad():\n    for x, y in held_out:\n        {statement}\n"
    assert codes(text) == wanted


@pytest.mark.parametrize(
    "code",
    [
        "import thop\nprint(thop.profile(net, (torch.rand(2, 4),)))",
        "from apex import amp\nnet, optimizer = amp.initialize(net, optimizer, opt_level='O1')",
        "from accelerate import Accelerator\naccelerator = Accelerator()\n"
        "net, optimizer, loader = accelerator.prepare(net, optimizer, loader)",
        "import lightning\nfabric = lightning.Fabric()\n"
        "net, optimizer = fabric.setup(net, optimizer)",
    ],
)
def test_libraries_that_leave_the_mode_alone(code: str) -> None:
    assert codes(f"{code}\nfit(net, optimizer)\nprint(predict(net))\n") == ["BNL101"]


def test_accelerate_goes_backward() -> None:
    text = """\
    from accelerate import Accelerator
    accelerator = Accelerator()
    net, optimizer = accelerator.prepare(net, optimizer)
    net.train()
    for epoch in range(9):
        for x, y in loader:
            optimizer.zero_grad()
            accelerator.backward(F.cross_entropy(net(x), y))
            optimizer.step()
        net.eval()
        print(predict(net))
    """
    assert codes(text) == ["BNL103"]


@pytest.mark.parametrize(
    "make",
    [
        "args.arch",  # an option whose default names no entry
        "unknown()",
        "'big'",
    ],
)
def test_any_entry_of_a_table_of_models(make: str) -> None:
    text = f"""\
    parser = argparse.ArgumentParser()
    parser.add_argument("--arch", default="")
    args = parser.parse_args()
    table = {{"small": Net, "big": lambda: nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))}}
    net = table[{make}]()
    print(predict(net))
    """
    assert codes(text) == ["BNL101"]


def test_the_loaders_of_a_dictionary_with_unknown_keys_are_iterated() -> None:
    text = """\
    loaders = {name: torch.utils.data.DataLoader(load(name)) for name in names()}
    net.load_state_dict(torch.load("net.pt"))
    for name in list(loaders.keys()):
        with torch.no_grad():
            for x in loaders[name]:
                print(net(x).argmax(1))
    """
    assert codes(text) == ["BNL101"]


MODELS = {
    "models/__init__.py": "",
    "models/plain.py": "from torch import nn\n\n\nclass Main(nn.Module):\n    def __init__(self):\n"
    "        super().__init__()\n        self.bn = nn.BatchNorm1d(4)\n\n"
    "    def forward(self, x):\n        return self.bn(x)\n",
}
NAMED = """\
import argparse, importlib, torch
import models.plain
from yacs.config import CfgNode

config = CfgNode()
config.model = CfgNode()
config.model.name = "plain"
parser = argparse.ArgumentParser()
parser.add_argument("--arch", default="")
args = parser.parse_args()


class Config(CfgNode):
    pass


own = Config()
own.name = "plain"


def adapted(config):
    if config.model.name in ("plain", "large"):
        for name in ("a", "b"):
            config.model.width = 4
    return config


net = {}
net.load_state_dict(torch.load("net.pt"))
with torch.no_grad():
    print(net(torch.load("x.pt")).argmax(1))
"""


@pytest.mark.parametrize(
    "make",
    [
        "importlib.import_module('models.plain').Main()",
        "getattr(importlib.import_module('models.' + args.arch), 'Main')()",
        "importlib.import_module('models.' + unknown()).__getattribute__('Main')()",
        "importlib.import_module(f'models.{config.clone().model.name}').Main()",
        "importlib.import_module(f'models.{adapted(config).model.name}').Main()",
        "importlib.import_module('.' + own.name, 'models').Main()",
        "importlib.import_module('.plain', package='models').Main()",
        "eval('models.' + config.model.name + '.Main')()",
        "getattr(models.plain, unknown())()",
        "getattr(models.plain, args.arch)()",
        "models.plain.__dict__[unknown()]()",
    ],
)
def test_models_imported_by_name(make: str, tmp_path: Path) -> None:
    for name, text in {**MODELS, "main.py": NAMED.format(make)}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    settings = Settings(select=("BNL101",), root=tmp_path)
    findings = bnlint.lint_paths([tmp_path], settings=settings).findings
    assert [finding.code for finding in findings] == ["BNL101"]


def test_what_a_configuration_says_may_be_changed() -> None:
    text = """\
    from easydict import EasyDict
    options = EasyDict({"evaluate": False})
    if options.evaluate:
        net.eval()
    fit(net, optimizer)
    print(predict(net))
    """
    assert codes(text) == []


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ("start = time.time()\nfor i in range(9):\n    net(x)\nprint(time.time() - start)", 1),
        ("start = time.time()\nfor i in range(9):\n    y = net(x)\nprint(time.time() - start)", 1),
        ("for i in range(9):\n    net(x)", 0),
        ("y = net(x)\nprint(y.shape, time.time())", 0),
        ("net.eval()\nstart = time.time()\nnet(x)\nprint(time.time() - start)", 0),
        # the statistics of a trained network are re-estimated
        ("fit(net, optimizer)\nstart = time.time()\nnet(x)\nprint(time.time() - start)", 0),
    ],
)
def test_the_speed_of_a_new_network_is_measured(code: str, wanted: int) -> None:
    text = "import time\nx = torch.randn(8, 4)\nwith torch.no_grad():\n"
    assert codes(text + textwrap.indent(code, "    ")) == ["BNL101"] * wanted


def test_what_warms_a_network_up_is_named() -> None:
    text = """\
import time, torch
from torch import nn

net = nn.Sequential(nn.Linear(4, 4), nn.Dropout())
x = torch.randn(8, 4)
with torch.no_grad():
    for i in range(9):
        net(x)
    start = time.time()
    for i in range(9):
        net(x)
    print(time.time() - start)
"""
    (finding,) = bnlint.lint_source(text, settings=Settings(select=("BNL101",))).findings
    assert finding.place is not None
    assert finding.place.line == 11
    warm = [e.place.line for e in finding.evidence if "warmed up" in e.message]
    assert warm == [8]


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ("@app.route('/predict')\ndef answer(x):\n    return {'y': predict(net)}", 1),
        ("def answer(x):\n    return predict(net)\ngr.Interface(fn=answer).launch()", 1),
        ("net.eval()\n@app.route('/predict')\ndef answer(x):\n    return {'y': predict(net)}", 0),
        ("@app.route('/predict')\ndef answer(x):\n    return {'y': predict(net)}\nnet.eval()", 0),
        ("def answer(x):\n    return predict(net)", 0),
    ],
)
def test_functions_that_a_framework_calls(code: str, wanted: int) -> None:
    text = "import gradio as gr\nfrom flask import Flask\napp = Flask('a')\n"
    assert codes(f"{text}net.load_state_dict(torch.load('a'))\n{code}\n") == ["BNL101"] * wanted


def test_batchnorm_that_was_synchronised_before_torch_did() -> None:
    text = """\
    from lib.sync_batchnorm import SynchronizedBatchNorm1d as BN
    net = nn.Sequential(nn.Linear(4, 4), BN(4))
    print(predict(net))
    """
    assert codes(text) == ["BNL101"]


def test_an_optimizer_of_single_layers_may_train_any_model() -> None:
    text = """\
    def weights(net):
        for part in net.modules():
            if isinstance(part, nn.Linear):
                yield part.weight
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 4))
    optimizer = torch.optim.SGD([{"params": weights(net)}], 0.1)
    net.train()
    for epoch in range(9):
        fit(net, optimizer)
        net.eval()
        print(predict(net))
    """
    assert codes(text) == ["BNL103"]


def test_the_mode_of_one_of_several_models_is_restored() -> None:
    text = """\
    net = {"a": Net, "b": lambda: nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))}[unknown()]()
    was = net.training
    net.eval()
    net(torch.rand(2, 4))
    net.train(was)
    print(predict(net))
    """
    assert codes(text) == ["BNL101"]


def test_an_option_that_nothing_can_change_decides() -> None:
    text = """\
    parser = argparse.ArgumentParser()
    parser.add_argument("--eval", action="store_true", default={})
    if not parser.parse_args().eval:
        net.eval()
    print(predict(net))
    """
    assert codes(text.format("None")) == []
    assert codes(text.format("False")) == []
    assert codes(text.format("True")) == ["BNL101"]


def test_of_too_many_models_some_are_followed() -> None:
    choice = "".join(f"elif name == '{n}':\n    net = Net()\n" for n in range(40))
    text = f"name = torch.load('name')\nif not name:\n    net = Net()\n{choice}print(predict(net))"
    assert codes(text) == ["BNL101"]


def test_a_wrapper_that_is_there_in_one_branch_only() -> None:
    text = """\
    if unknown():
        net = nn.DataParallel(net)
    if unknown():
        inner = net.module
    else:
        inner = net
    {}
    print(predict(inner))
    """
    assert codes(text.format("")) == ["BNL101"]
    assert codes(text.format("inner.eval()")) == []


HELPERS = """\
class Experiment:
    def __init__(self, arch):
        self.net = Net() if arch == "a" else nn.Sequential(Net(), Net())

    def outputs(self, batch):
        first = batch["first"].float()
        second = batch["second"].float()
        for scale in range(torch.load("scales.pt")):
            first = first * scale + second / 2 - batch["third"][:, 2:4] * batch["fourth"][:, 4:6]
        return self.net(first)

    def test(self):
        {}
        with torch.no_grad():
            return [self.outputs(batch).argmax(1) for batch in held_out]


def label(batch):
    first = batch["first"].float()
    second = batch["second"].float()
    for scale in range(torch.load("scales.pt")):
        first = first * scale + second / 2 - batch["third"][:, 2:4] * batch["fourth"][:, 4:6]
    return net(Variable(first, volatile=True))


"""


def test_helpers_that_run_a_model_of_their_object_or_module() -> None:
    experiment = "Experiment(torch.load('arch')).test()\n"
    assert codes(HELPERS.format("") + experiment) == ["BNL101"]
    assert codes(HELPERS.format("self.net.eval()") + experiment) == []
    labels = "from torch.autograd import Variable\n" + HELPERS.format("self.net.eval()")
    assert codes(labels + "print([label(x) for x in held_out])") == ["BNL101"]
    assert codes(labels + "net.eval()\nprint([label(x) for x in held_out])") == []


def test_a_logger_only_looks_at_a_model() -> None:
    text = "logger = unknown()\nlogger.info(net)\nprint(predict(net))"
    assert codes(text) == ["BNL101"]
    assert codes(text.replace("info", "prepare")) == []


def test_one_of_the_functions_that_build_models() -> None:
    text = """\
    def small():
        return Net()

    def large():
        return nn.Sequential(Net(), Net())

    def outside(x):
        return x + 1

    made = globals()[torch.load("name")]()
    print(predict(made))
    """
    assert codes(text) == ["BNL101"]


@pytest.mark.parametrize(
    ("use", "wanted"),
    [
        ("torch.sigmoid(net(x)) > 0.5", ["BNL101"]),
        ("torch.round(torch.sigmoid(net(x)))", ["BNL101"]),
        ("metrics.f1_score(y, net(x).cpu().numpy())", ["BNL101"]),
        ("np.save('features', net(x).cpu().numpy())", ["BNL101"]),
        ("Image.fromarray(net(x).cpu().numpy()).save('x.png')", ["BNL101"]),
        ("TSNE(2).fit_transform(pd.DataFrame([net(x).cpu().numpy()]))", ["BNL101"]),
        ("net(x) == y", []),
        ("net(x) + 0.5", []),
    ],
)
def test_what_becomes_of_an_output_proves_inference(use: str, wanted: list[str]) -> None:
    text = f"""\
    import numpy as np
    import pandas as pd
    from PIL import Image
    from sklearn import metrics
    from sklearn.manifold import TSNE

    for x, y in held_out:
        out = {use}
        print(out)
    """
    assert codes(text) == wanted


def test_a_threshold_on_what_is_learnt_is_none() -> None:
    text = """\
    for x, y in loader:
        scores = net(x)
        loss = F.binary_cross_entropy_with_logits(scores, y)
        if loss.item() > 100:
            break
        right = ((scores > 0) == y).sum()
        loss.backward()
        optimizer.step()
    """
    assert codes(text) == []
