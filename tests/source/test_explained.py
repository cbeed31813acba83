"""What the settings say about rules and names, and what the analysis makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

import bnlint
from bnlint.settings import Settings

STACK = """\
from torch import nn
from fast_layers import FastNorm, swish
from mine import OwnNorm


class Block(nn.Module):
    def __init__(self, norm=FastNorm):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.drop = nn.Dropout(0.5)
        self.norm = norm(8)

    def forward(self, x):
        return self.norm(self.drop(self.conv(x)))
"""
ACTIVATION = """\
from torch import nn
import fast_layers as fast


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x):
        return self.norm(fast.{name}(self.conv(x)))
"""
MODE = """\
import torch
from torch import nn
from tools import {function}


def load_model():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    return model


model = load_model()
{call}
with torch.no_grad():
    print(model(torch.load("x.pt")).argmax())
"""


def codes(text: str, **settings: object) -> list[str]:
    found = bnlint.lint_source(text, "x.py", settings=Settings(**settings))  # type: ignore[arg-type]
    return [finding.code for finding in found.findings]


@pytest.mark.parametrize("name", ["fast_layers.FastNorm", "FastNorm"])
def test_a_class_from_elsewhere_that_stands_for_a_batchnorm(name: str) -> None:
    assert codes(STACK) == []
    assert codes(STACK, extra_batchnorm=(name,)) == ["BNL202"]
    assert codes(STACK, extra_batchnorm=("other.FastNorm",)) == []
    (finding,) = bnlint.lint_source(STACK, settings=Settings(extra_batchnorm=(name,))).findings
    assert "FastNorm 'norm'" in finding.message


def test_a_class_of_the_project_that_stands_for_a_batchnorm(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n\n\nclass OwnNorm(nn.Module):\n    def __init__(self, width):\n"
        "        super().__init__()\n        self.width = width\n\n    def forward(self, x):\n"
        "        return x - x.mean((0, 2, 3), keepdim=True)\n"
    )
    (tmp_path / "net.py").write_text(STACK.replace("norm=FastNorm", "norm=OwnNorm"))
    settings = Settings(extra_batchnorm=("mine.OwnNorm",))
    assert not bnlint.lint_paths(tmp_path, settings=Settings()).findings
    found = bnlint.lint_paths(tmp_path, settings=settings).findings
    assert [finding.code for finding in found] == ["BNL202"]


@pytest.mark.parametrize("name", ["swish", "Swish()"])
def test_functions_and_classes_that_stand_for_an_activation(name: str) -> None:
    text = ACTIVATION.replace("{name}", name)
    assert codes(text) == []
    explained = f"fast_layers.{name.removesuffix('()')}"
    assert codes(text, extra_activations=(explained,)) == ["BNL201"]


def test_a_factory_that_returns_an_evaluated_model() -> None:
    text = MODE.format(function="show", call="")
    assert codes(text) == ["BNL101"]
    assert codes(text, evaluating_factories=("load_model",)) == []


def test_a_function_that_leaves_a_model_in_training_mode() -> None:
    text = MODE.format(function="fit", call="fit(model)")
    assert codes(text) == []
    assert codes(text, training_functions=("tools.fit",)) == ["BNL101"]
    (finding,) = bnlint.lint_source(text, settings=Settings(training_functions=("fit",))).findings
    steps = {(step.place.line, step.message) for step in finding.evidence}
    assert (12, "this sets training mode") in steps


LOADER = """\
from torch import nn, optim
from torch.utils.data import DataLoader

network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
optimizer = optim.SGD(network.parameters(), 0.1)
for images, targets in DataLoader(open_dataset(), batch_size=4):
    loss = (network(images) - targets).mean()
    loss.backward()
    optimizer.step()
"""


def test_an_option_of_a_rule() -> None:
    assert codes(LOADER) == ["BNL301"]
    assert codes(LOADER, rules={"BNL301": {"small-batch": 4}}) == []
    assert codes(LOADER.replace("4)", "8)")) == []
    assert codes(LOADER.replace("4)", "8)"), rules={"BNL301": {"small-batch": 9}}) == ["BNL301"]


def test_rules_that_are_ignored_in_some_files(tmp_path: Path) -> None:
    wrong = "import torch.nn as nn\nbn = nn.BatchNorm2d(8, 0.8, 0.99)\n"
    for name in ("a.py", "legacy/b.py", "legacy/deep/c.py", "tests/test_d.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(wrong)
    settings = Settings(
        base=tmp_path, per_file_ignores=(("legacy/", ("BNL401",)), ("test_*.py", ("ALL",)))
    )
    found = bnlint.lint_paths(tmp_path, settings=settings).findings
    assert {
        (Path(f.place.path).name, f.code) for f in found if f.place is not None
    } == {
        ("a.py", "BNL401"), ("a.py", "BNL402"), ("b.py", "BNL402"), ("c.py", "BNL402")
    }  # fmt: skip
