"""BatchNorm layers that no forward and no constructor call leads to: they are judged, too."""

from __future__ import annotations

import pytest
from drawn import codes_of, net

WRONG = "nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.BatchNorm2d(8, 0.8))"
RIGHT = "nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())"


def codes(text: str) -> list[str]:
    return [code for code, _ in codes_of(text)]


@pytest.mark.parametrize(
    "text",
    [
        f"class Trainer:\n    def __init__(self):\n        self.net = {WRONG}\n",
        f"class Trainer:\n    def build(self):\n        return [{WRONG}]\n",
        f"def train():\n    net = {WRONG}\n    return len(net)\n",
        f"def build(kind):\n    if kind:\n        return {WRONG}\n    raise ValueError(kind)\n",
        net(
            "self.conv = nn.Conv2d(3, 8, 3)",
            "return self.conv(x)",
        )
        + f"\n    def block(self, width):\n        return {WRONG}\n",
        net(
            f"self.heads = {{'a': {WRONG}}}\nself.conv = nn.Conv2d(3, 8, 3)",
            "return self.conv(x)",
        ),
        net(
            f"self.head = nn.Conv2d(3, 8, 1)\nif WIDE:\n    self.head = {WRONG}",
            "return self.head(x)",
            before="WIDE = False",
        ),
        net(
            f"self.head = {WRONG} if WIDE else nn.Conv2d(3, 8, 1)",
            "return self.head(x)",
            before="WIDE = False",
        ),
        net(
            f"for name in heads:\n    head = nn.Sequential({WRONG}, nn.Conv2d(8, 2, 1))\n"
            "    self.__setattr__(name, head)",
            "return {name: self.__getattr__(name)(x) for name in self.heads}",
            parameters="heads",
        ),
    ],
)
def test_what_nothing_runs_is_judged(text: str) -> None:
    assert codes(text) == ["BNL201", "BNL402"]
    assert not codes(text.replace(WRONG, RIGHT))


def test_parts_of_what_a_script_has_built_already_are_judged() -> None:
    text = net(
        f"self.heads = {{'a': {WRONG}}}\nself.conv = nn.Conv2d(3, 8, 3)",
        "return self.conv(x)",
    )
    assert codes(f"{text}\nprint(Net())\n") == ["BNL201", "BNL402"]


def test_a_dead_branch_does_not_reach_live_ones() -> None:
    build = (
        "layers = [nn.Conv2d(3, 8, 3)]\n"
        "if FIRST:\n    layers.append(nn.ReLU())\n"
        "layers.append(nn.BatchNorm2d(8))\n"
        "if FIRST:\n    layers.append(nn.BatchNorm2d(8))\n"
        "self.net = nn.Sequential(*layers)"
    )
    assert not codes(net(build, "return self.net(x)", before="FIRST = False"))


SUBCLASS = """
class Up(nn.Sequential):
    def __init__(self):
        super().__init__()
        self.add_module("conv", nn.Conv2d(8, 8, 3))

"""


@pytest.mark.parametrize(
    "text",
    [
        "net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), Up(), nn.BatchNorm2d(8))\nprint(net)\n",
        "def train():\n"
        "    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), Up(), nn.BatchNorm2d(8))\n"
        "    net.train()\n    return 1\n",
    ],
)
def test_what_a_script_has_built_keeps_its_parts(text: str) -> None:
    assert not codes(SUBCLASS + text)
    assert codes(SUBCLASS + text.replace("Up()", "nn.Identity()")) == ["BNL201"]
