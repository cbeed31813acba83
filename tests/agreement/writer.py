"""Writes one class of a generated project, step by step; every step maps x to a tensor of the same
shape, (N, 4, 8, 8), so that all steps and blocks fit together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from textwrap import indent
from typing import TypeAlias

ATOMS = (
    "nn.Conv2d(4, 4, 3, 1, 1, bias=False)",
    "nn.Conv2d(4, 4, kernel_size=1)",
    "$conv()",
    "$conv(k=1)",
    "nn.BatchNorm2d(4)",
    "nn.BatchNorm2d(num_features=4, eps=1e-3)",
    "nn.BatchNorm2d(4, 1e-4, 0.2)",
    "nn.BatchNorm2d(2 ** 2, momentum=1 - 0.9)",
    "$BN(4)",
    "$Norm(4)",
    "nn.BatchNorm2d(4, affine=False)",
    "torch.nn.BatchNorm2d($WIDTH)",
    "nn.ReLU()",
    "nn.ReLU(inplace=True)",
    "nn.GELU()",
    "nn.LeakyReLU(0.1)",
    "nn.Sigmoid()",
    "nn.Dropout(0.2)",
    "nn.Dropout2d()",
    "nn.Identity()",
    "nn.AvgPool2d(3, 1, 1)",
    "nn.GroupNorm(2, 4)",
)
DEEPEST = 2

Idiom: TypeAlias = "Callable[[Writer], None]"


@dataclass
class Writer:
    """One class: lines of the constructor, of the forward, and of further methods.

    steps: what a step may be. uses: expressions of layers that parts and earlier classes make.
    """

    random: Random
    steps: Sequence[Idiom]
    uses: tuple[str, ...]
    _build: list[str] = field(default_factory=list)
    _forward: list[str] = field(default_factory=list)
    _members: list[str] = field(default_factory=list)
    _count: int = 0
    _depth: int = 0

    # --- choosing ----------------------------------------------------------------------------

    def name(self) -> str:
        """A fresh name for an attribute or a variable."""
        self._count += 1
        return f"m{self._count}"

    def pick(self, *options: str) -> str:
        """One of several texts."""
        return self.random.choice(options)

    def chance(self, share: float = 0.5) -> bool:
        """True in this share of all cases."""
        return self.random.random() < share

    def layer(self) -> str:
        """The expression of a new layer or block."""
        pick = self.random.random()
        if pick < 0.65:
            return self.random.choice(ATOMS)
        if pick < 0.9:
            return self.random.choice(self.uses)
        return f"nn.Sequential({', '.join(self.layers(3))})"

    def layers(self, most: int = 4) -> list[str]:
        """The expressions of two or more layers, without long blocks."""
        options = (*ATOMS, *ATOMS, *self.uses)
        return [self.random.choice(options) for _ in range(self.random.randint(2, most))]

    # --- writing -----------------------------------------------------------------------------

    def build(self, *lines: str) -> None:
        """Add lines to the constructor."""
        self._build += lines

    def forward(self, *lines: str) -> None:
        """Add lines to the forward."""
        self._forward += lines

    def member(self, text: str) -> None:
        """Add a method or a class attribute."""
        self._members.append(text)

    def attach(self, layer: str = "") -> str:
        """Build a layer as an attribute; its expression in the forward."""
        name = self.name()
        self.build(f"self.{name} = {layer or self.layer()}")
        return f"self.{name}"

    def step(self) -> None:
        """Add one step from tensor to tensor; deep inside others a plain one."""
        if self._depth > DEEPEST:
            self.forward(f"x = {self.attach()}(x)")
        else:
            self.random.choice(self.steps)(self)

    def block(self, most: int = 2) -> list[str]:
        """The forward lines of one or more random steps, to stand inside another statement."""
        outer, self._forward = self._forward, []
        self._depth += 1
        try:
            for _ in range(self.random.randint(1, most)):
                self.step()
            return self._forward
        finally:
            self._forward = outer
            self._depth -= 1

    def text(self, name: str) -> str:
        """The class."""
        members = "".join(
            f"{indent(member.strip(chr(10)), '    ')}\n\n" for member in self._members
        )
        return (
            f"class {name}(nn.Module):\n"
            f"    def __init__(self):\n        super().__init__()\n"
            f"{indented(self._build)}\n{members}"
            f"    def forward(self, x):\n{indented(self._forward)}        return x\n\n"
        )


def indented(lines: Sequence[str], width: int = 8) -> str:
    """The lines, further to the right."""
    return "".join(f"{indent(line, ' ' * width)}\n" for line in lines)


def nested(lines: Sequence[str]) -> str:
    """The lines as the body of a statement."""
    return indented(lines, 4).rstrip("\n")
