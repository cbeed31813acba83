"""A generated project: three classes of random steps, over one file or a package of several."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import idioms
import parts
from files import Files
from writer import Idiom, Writer

OPEN_SHARE = 0.3
"""Of all projects; the others leave nothing open, and the two pictures must be equal."""
SINGLE_SHARE = 0.5
"""Of all projects: one file."""
PLAIN_USES = ("$conv_bn(4)", "$ConvNorm()")


@dataclass(frozen=True)
class Generated:
    """The texts of a project by path below its root; its network is `Net` of `pkg.net`.

    is_open: whether the text leaves open which way a forward takes.
    """

    name: str
    texts: dict[str, str]
    is_open: bool

    def __str__(self) -> str:
        return "\n".join(f"# --- {path}\n{text}" for path, text in self.texts.items() if text)


def generate(seed: int) -> Generated:
    """The project of a seed, always the same."""
    random = Random(seed)
    is_open = random.random() < OPEN_SHARE
    files = Files(random, parts.ALL, single=random.random() < SINGLE_SHARE)
    steps = (*idioms.CLOSED, *idioms.OPEN * 3) if is_open else idioms.CLOSED
    uses = parts.USES
    for name in ("Inner", "Middle", "Net"):
        writer = Writer(random, steps, uses)
        for _ in range(random.randint(3, 6)):
            writer.step()
        files.define(name, writer.text(name))
        uses = (*uses, *[f"${name}()"] * 6)
    return Generated(f"seed{seed}", files.texts(), is_open)


def alone(seed: int, step: Idiom, *, is_open: bool = False) -> Generated:
    """A project whose network is one step between two BatchNorm layers."""
    random = Random(seed)
    files = Files(random, parts.ALL, single=seed % 2 == 0)
    writer = Writer(random, (_plain,), PLAIN_USES)
    for current in (_norm, step, _norm):
        current(writer)
    files.define("Net", writer.text("Net"))
    return Generated(f"alone{seed}", files.texts(), is_open)


def _norm(writer: Writer) -> None:
    writer.forward(f"x = {writer.attach('nn.BatchNorm2d(4)')}(x)")


def _plain(writer: Writer) -> None:
    writer.forward(f"x = {writer.attach()}(x)")
