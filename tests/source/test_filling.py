"""Calls that only fill weights are not followed; those that do more are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from drawn import codes_of, project_of
from test_units import Drawn, agree, change, drawn, lint, settled, write

from bnlint.source.trace_artist import TraceArtist
from bnlint.trace import Usage, Use

__all__ = ["drawn", "settled"]

VISIT = """\
import math
import torch
from torch import nn


def quiet(module, name=""):
    if isinstance(module, nn.Conv2d):
        fan = module.weight.size(0)
        nn.init.normal_(module.weight, 0, math.sqrt(2.0 / fan))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif hasattr(module, "init_weights"):
        module.init_weights()


def named_apply(fn, module, name=""):
    for child_name, child in module.named_children():
        named_apply(fn, child, ".".join((name, child_name)))
    fn(module, name)
    return module


class Block(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3)
        self.norm = nn.BatchNorm2d(width)

    def init_weights(self):
        nn.init.ones_(self.norm.weight)
        self.conv.bias.data.zero_()

    def forward(self, x):
        return self.norm(self.conv(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(*[Block() for _ in range(12)])
        named_apply(quiet, self)

    def forward(self, x):
        return self.blocks(x)


net = Net()
"""
RUN = """
with torch.no_grad():
    print(net(torch.load("x.pt")).argmax(1))
"""


def traced(text: str) -> TraceArtist:
    tracing = TraceArtist(project_of(a=text))
    tracing.draw_traces()
    return tracing


def steps(text: str) -> int:
    """How many steps the traces of a program take."""
    tracing = traced(text)
    assert tracing.traces, "the script was given up"
    return tracing.machine.spent


def test_a_walk_through_a_model_that_fills_weights_costs_next_to_nothing() -> None:
    walked = steps(VISIT + RUN)
    without = steps(VISIT.replace("        named_apply(quiet, self)\n", "") + RUN)
    assert walked - without < 60


def test_what_it_would_have_called_counts_as_called() -> None:
    names = {
        line.split("(")[0]
        for path, span in traced(VISIT + RUN).machine.called
        for line in [VISIT[span[0] : span[1]]]
    }
    assert {"def quiet", "def named_apply", "def init_weights"} <= names


MORE = {
    "a mode": ("nn.init.zeros_(module.bias)", "module.eval()"),
    "a mode of all": ("    elif", "    else:\n        net.eval()\n    if"),
    "a flag": ("nn.init.zeros_(module.bias)", "module.training = False"),
    "a mode by name": ("nn.init.zeros_(module.bias)", 'getattr(module, "eval")()'),
    "a renamed mode": ("nn.init.zeros_(module.bias)", "change = module.eval\n            change()"),
    "a call of any name": ("nn.init.zeros_(module.bias)", "getattr(module, name)()"),
    "a function inside": (
        "nn.init.zeros_(module.bias)",
        "change = lambda m: m.eval()\n            change(module)",
    ),
    "a method": ("        self.conv.bias.data.zero_()", "        self.eval()"),
    "a method under one of torch's names": (
        "    def init_weights(self):",
        "    def reset_parameters(self):\n        self.eval()\n\n    def init_weights(self):\n"
        "        self.reset_parameters()",
    ),
    "a function beside": (
        "def quiet",
        "def hush(m):\n    m.eval()\n\n\ndef quiet",
        "nn.init.zeros_(module.bias)",
        "hush(module)",
    ),
    "a default": ('module, name=""):\n    if', 'module, name="", fn=nn.Module.eval):\n    if'),
    "a function that is given": (
        "def quiet",
        "def hush(m, name):\n    m.eval()\n\n\ndef quiet",
        "named_apply(quiet, self)",
        "named_apply(hush, self)",
    ),
    "something unknown": ("nn.init.zeros_(module.bias)", "unknown(module)"),
    "statistics": ("nn.init.zeros_(module.bias)", "module.norm.running_mean.zero_()"),
    "an end": ("    if isinstance(module", "    raise ValueError\n    if isinstance(module"),
    "an attribute": ("nn.init.zeros_(module.bias)", "module.extra = None"),
    "an item of somebody's list": ("nn.init.zeros_(module.bias)", "name[0] += 1"),
    "more of somebody's list": ("nn.init.zeros_(module.bias)", "name += [module]"),
    "somebody's list": ("nn.init.zeros_(module.bias)", "module.names.append(name)"),
}


@pytest.mark.parametrize("edits", MORE.values(), ids=MORE)
def test_what_does_more_is_followed(edits: tuple[str, ...]) -> None:
    text = VISIT
    for before, after in zip(edits[::2], edits[1::2]):
        assert before in text
        text = text.replace(before, after)
    walked = steps(text + RUN)
    without = steps(re.sub(r" named_apply\(.*, self\)\n", " pass\n", text) + RUN)
    assert walked - without > 60


HUSH = {
    "itself": "def prepare(m):\n    m.eval()\n",
    "a function that it is given": (
        "def call(fn, m):\n    fn(m)\n\n\ndef hush(m):\n    m.eval()\n\n\n"
        "def prepare(m):\n    call(hush, m)\n"
    ),
    "a default": (
        "def hush(m):\n    m.eval()\n\n\ndef call(m, fn=hush):\n    fn(m)\n\n\n"
        "def prepare(m):\n    call(m)\n"
    ),
    "another name": (
        "def hush(m):\n    m.eval()\n\n\ndef prepare(m, fn=None):\n    fn = fn or hush\n    fn(m)\n"
    ),
    "an object around it": (
        "class Case:\n    def __init__(self, m):\n        self.net = m\n\n"
        "    def reset_parameters(self):\n        self.net.eval()\n\n\n"
        "class Outer:\n    def __init__(self, case):\n        self.case = case\n\n"
        "    def init(self):\n        self.case.reset_parameters()\n\n\n"
        "def prepare(m):\n    Outer(Case(m)).init()\n"
    ),
    "a function in a field": (
        "class Case:\n    def __init__(self, m):\n        self.net = m\n"
        "        self.init_net = lambda: m.eval()\n\n"
        "    def reset(self):\n        if hasattr(self, 'init_net'):\n            self.init_net()\n"
        "\n\ndef prepare(m):\n    Case(m).reset()\n"
    ),
    "an end that never comes": "def prepare(m):\n    raise NotImplementedError\n",
}
LOUD = "def prepare(m):\n    nn.init.zeros_(m[0].weight)\n"
SCRIPT = """\
net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU())
net.load_state_dict(torch.load("a.pt"))
prepare(net)
with torch.no_grad():
    print(net(torch.load("x.pt")).argmax(1))
"""


@pytest.mark.parametrize("before", HUSH.values(), ids=HUSH)
def test_a_mode_that_is_set_on_the_way_is_seen(before: str) -> None:
    assert "BNL101" not in [code for code, _ in codes_of(before + SCRIPT)]
    assert "BNL101" in [code for code, _ in codes_of(LOUD + SCRIPT)]


OUTPUT = """\
import torch
from torch import nn


class Run:
    def __init__(self, net):
        self.out = net(torch.load("x.pt"))

    def report(self):
        print(self.out.item())


Run(nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8))).report()
"""


def test_what_becomes_of_an_output_is_seen() -> None:
    (trace,) = traced(OUTPUT).traces
    assert any(use.usage is Usage.NUMBER for use in trace.of(Use))


def test_what_is_handed_back_is_the_model() -> None:
    text = LOUD + "    return m\n" + SCRIPT.replace("prepare(net)", "net = prepare(net)")
    assert "BNL101" in [code for code, _ in codes_of(text)]
    assert "BNL101" not in [code for code, _ in codes_of(text.replace("return m", "return 1"))]


FILES = {
    "weights.py": (
        "import torch.nn as nn\n\n\ndef fill(m):\n    nn.init.zeros_(m.weight)\n\n\n"
        "def visit(fn, m):\n    for part in m.modules():\n        fn(part)\n"
    ),
    "train.py": (
        "import torch\nfrom torch import nn\nfrom weights import fill, visit\n\n\n"
        "class Net(nn.Sequential):\n    def init_weights(self):\n        visit(fill, self)\n\n\n"
        "net = Net(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8))\n"
        'net.load_state_dict(torch.load("a.pt"))\nnet.init_weights()\n'
        'with torch.no_grad():\n    print(net(torch.load("x.pt")).argmax(1))\n'
    ),
}


@pytest.mark.parametrize(
    "edit",
    [
        ("weights.py", "nn.init.zeros_(m.weight)", "m.eval()"),
        ("weights.py", "        fn(part)", "        fn(part.eval())"),
        ("train.py", "    def init_weights", "    def modules(self):\n        self.eval()\n"
         "        return super().modules()\n\n    def init_weights"),
    ],
)  # fmt: skip
def test_an_edit_by_which_a_function_does_more_is_noticed(
    tmp_path: Path, drawn: Drawn, edit: tuple[str, str, str]
) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    for name, text in FILES.items():
        write(tmp_path / name, text)
    assert [f.code for f in lint(tmp_path, select=("BNL101",)).findings] == ["BNL101"]
    change(tmp_path, edit)
    agree(tmp_path, drawn)
    assert lint(tmp_path, select=("BNL101",)).findings == ()
