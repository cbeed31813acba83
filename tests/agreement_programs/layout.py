"""The files of a generated program: who defines a name, and how another file imports it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from random import Random

REFERENCE = re.compile(r"\$(\w+)")
"""`$name` in a text stands for a definition, wherever it lies."""

STANDARD = """\
import argparse
import contextlib
import copy
import functools
from dataclasses import dataclass
from types import SimpleNamespace
"""
TORCH = (
    "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n",
    "import torch\nimport torch.nn as nn\nfrom torch.nn import functional as F\n",
    "import torch as th\n\ntorch = th\nnn = th.nn\nF = nn.functional\n",
)
DATA = "from torch.utils.data import DataLoader, Dataset, TensorDataset\n"
TOPICS = ("utils", "data", "networks", "engine")
"""What a definition is about, in the order in which files may import each other."""
PACKAGE = "lib"


@dataclass
class File:
    """One file: the imports that were asked for, and the definitions in order."""

    dotted: str
    torch: str
    imports: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def path(self) -> str:
        return f"{self.dotted.replace('.', '/')}.py"

    def text(self) -> str:
        lines = "".join(f"{line}\n" for line in dict.fromkeys(self.imports))
        return "\n\n".join([STANDARD + self.torch + DATA + lines, *self.texts])


class Layout:
    """A script, alone, with files beside it, or with a package."""

    SCRIPT = "run"

    def __init__(self, random: Random, files: int) -> None:
        self.random = random
        torch = random.choice(TORCH)
        self.script = File(self.SCRIPT, torch)
        self.in_package = files > 1 and random.random() < 0.4
        prefix = f"{PACKAGE}." if self.in_package else ""
        topics = random.sample(TOPICS, files - 1)
        self.others = {
            topic: File(prefix + topic, random.choice(TORCH)) for topic in TOPICS if topic in topics
        }
        self.home: dict[str, File] = {}
        self.exported: list[str] = []

    @property
    def order(self) -> list[File]:
        """The files, each after those that it may import."""
        return [*self.others.values(), self.script]

    def define(self, name: str, text: str, topic: str = "") -> str:
        """Add a definition to the file about a topic, or to the next that can see all it needs;
        its name as a reference."""
        if name in self.home:
            return f"${name}"
        needed = [self.order.index(self.home[need]) for need in REFERENCE.findall(text)]
        wanted = self.others.get(topic, self.script)
        index = max([self.order.index(wanted), *needed])
        home = self.order[index]
        home.texts.append(self.spelled(text, home))
        self.home[name] = home
        return f"${name}"

    def spelled(self, text: str, reader: File) -> str:
        """A text with its references as this file spells them."""
        return REFERENCE.sub(lambda match: self._spell(match[1], reader), text)

    def _spell(self, name: str, reader: File) -> str:
        home = self.home[name]
        if home is reader:
            return name
        package, _, module = home.dotted.rpartition(".")
        inside = package and reader is not self.script
        source = f".{module}" if inside else home.dotted
        ways = [
            (f"from {source} import {name}", name),
            (f"from {source} import {name}", name),
            (f"from {source} import {name} as its_{name}", f"its_{name}"),
            (f"from {source} import *", name),
        ]
        if inside:
            ways.append((f"from . import {module}", f"{module}.{name}"))
        else:
            ways.append((f"import {home.dotted} as its_{module}", f"its_{module}.{name}"))
        if package and not inside:
            ways.append((f"from {package} import {module}", f"{module}.{name}"))
            ways.append((f"import {home.dotted}", f"{home.dotted}.{name}"))
            ways.append((f"from {package} import {name}", name))
        line, spelled = self.random.choice(ways)
        if package and line == f"from {package} import {name}":
            self.exported.append(f"from .{module} import {name}")
        reader.imports.append(line)
        return spelled

    def texts(self) -> dict[str, str]:
        """The text of each file by its path below the program's folder."""
        found = {file.path: file.text() for file in self.order}
        if self.in_package:
            lines = "".join(f"{line}\n" for line in dict.fromkeys(self.exported))
            found[f"{PACKAGE}/__init__.py"] = lines
        return found
