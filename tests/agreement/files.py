"""The files of a generated project: who defines a name, and how another file spells it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

REFERENCE = re.compile(r"\$(\w+)")
"""`$name` in a text stands for a definition, wherever it lies."""

STANDARD = """\
import argparse
import copy
import enum
import functools
import itertools
import math
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import NamedTuple
"""
TORCH = (
    "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n",
    "import torch\nimport torch.nn as nn\nfrom torch.nn import functional as F\n",
    "import torch as th\n\ntorch = th\nnn = th.nn\nF = nn.functional\n",
    "import torch\nfrom torch import nn as nn\n\nF = torch.nn.functional\n",
)
"""Ways to import torch under the names that all texts use."""


@dataclass(frozen=True)
class Part:
    """A definition that generated classes use: a block, a factory, a constant.

    text: its definition; uses: expressions that make a layer of it, (N, 4, 8, 8) to the same.
    """

    name: str
    text: str
    uses: tuple[str, ...] = ()


@dataclass
class File:
    """One file: the imports that were asked for, and the definitions in order.

    dotted: its name below the package, such as `layers.norms`.
    """

    dotted: str
    random: Random
    torch: str
    imports: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def text(self) -> str:
        lines = "".join(f"{line}\n" for line in dict.fromkeys(self.imports))
        return "\n".join([STANDARD, self.torch, lines, "", *self.texts])


class Files:
    """A package of one or several files; `net` is the last, and uses all others."""

    PACKAGE = "pkg"

    def __init__(self, random: Random, parts: tuple[Part, ...], *, single: bool) -> None:
        self.random = random
        self.parts = {part.name: part for part in parts}
        names = ("net",) if single else ("layers.norms", "layers.blocks", "models.units", "net")
        self.order = [File(name, random, random.choice(TORCH)) for name in names]
        self.home: dict[str, File] = {}
        self.exported: dict[str, list[str]] = {}
        """Lines of each package's `__init__`."""

    @property
    def net(self) -> File:
        """The file that defines the network."""
        return self.order[-1]

    def define(self, name: str, text: str) -> None:
        """Add a definition to a file that can see everything that it refers to."""
        needed = [self.order.index(self.place(need)) for need in REFERENCE.findall(text)]
        at_least = max(needed, default=0)
        index = (
            len(self.order) - 1
            if name == "Net"
            else self.random.randint(at_least, len(self.order) - 1)
        )
        home = self.order[index]
        home.texts.append(REFERENCE.sub(lambda m: self.spell(m[1], home), text))
        self.home[name] = home

    def place(self, name: str) -> File:
        """The file that defines a name; a part is defined when it is first asked for."""
        if name not in self.home:
            self.define(name, self.parts[name].text)
        return self.home[name]

    def spell(self, name: str, reader: File) -> str:
        """How `reader` spells a name, importing it when it lies elsewhere."""
        home = self.place(name)
        if home is reader:
            return name
        package, _, module = home.dotted.rpartition(".")
        relative = self._relative(home, reader)
        absolute = f"{self.PACKAGE}.{home.dotted}"
        ways = [
            (f"from {absolute} import {name}", name),
            (f"from {relative} import {name}", name),
            (f"from {absolute} import {name} as Its{name}", f"Its{name}"),
            (f"import {absolute} as its_{module}", f"its_{module}.{name}"),
            (f"from {self.PACKAGE}.{package} import {module}", f"{module}.{name}"),
            (f"from {relative} import *", name),
            (
                f"try:\n    from {relative} import {name}\nexcept ImportError:\n    {name} = None",
                name,
            ),
        ]
        if package != reader.dotted.rpartition(".")[0]:  # whose own package is still being imported
            ways.append((f"import {absolute}", f"{absolute}.{name}"))
            ways.append((self._re_exported(package, module, name), name))
        line, spelled = self.random.choice(ways)
        reader.imports.append(line)
        return spelled

    def _relative(self, home: File, reader: File) -> str:
        package, _, module = home.dotted.rpartition(".")
        mine, _, _ = reader.dotted.rpartition(".")
        if package == mine:
            return f".{module}"
        return f"..{home.dotted}" if mine else f".{home.dotted}"

    def _re_exported(self, package: str, module: str, name: str) -> str:
        """Import a name from the package whose `__init__` hands it on."""
        self.exported.setdefault(package, []).append(f"from .{module} import {name} as Re{name}")
        return f"from {self.PACKAGE}.{package} import Re{name} as {name}"

    def texts(self) -> dict[str, str]:
        """The text of each file by its path below the root."""
        found = {}
        for file in self.order:
            folder = file.dotted.rpartition(".")[0].replace(".", "/")
            for package in (self.PACKAGE, f"{self.PACKAGE}/{folder}" if folder else self.PACKAGE):
                found[f"{package}/__init__.py"] = ""
        for package, lines in self.exported.items():
            folder = package.replace(".", "/")
            found[f"{self.PACKAGE}/{folder}/__init__.py"] = "\n".join([*dict.fromkeys(lines), ""])
        for file in self.order:
            found[f"{self.PACKAGE}/{file.dotted.replace('.', '/')}.py"] = file.text()
        return found


def write(texts: dict[str, str], root: Path) -> None:
    """Write a project's files below a folder."""
    for path, text in texts.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
