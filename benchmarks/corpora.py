"""What the benchmarks read: wheels of PyPI fetched by version, other linters each in an environment
of its own, and synthetic projects of any size."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

VERSIONS = {
    "segmentation_models_pytorch": "0.6.0",
    "timm": "1.0.31",
    "speechbrain": "1.1.1",
    "transformers": "5.23.0",
}
TOOLS = {"torchfix": "torchfix==0.7.0", "pylint": "pylint==4.1.4", "ruff": "ruff==0.17.6"}
PATTERN = re.compile(rb"[Bb]atch_?[Nn]orm|\.eval\(|no_grad")
"""Files of the fixed list by which the cost of extraction is told: those that match it."""
LISTED = ("segmentation_models_pytorch", "timm", "speechbrain")


def corpus(name: str, folder: Path) -> Path:
    """The files of a wheel, fetched and unpacked where they are not there yet."""
    place = folder / "corpora" / f"{name}-{VERSIONS[name]}"
    if not place.is_dir():
        wheels = folder / "wheels"
        wanted = f"{name}=={VERSIONS[name]}"
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(wheels)]
        subprocess.run([*command, wanted], check=True)
        (wheel,) = wheels.glob(f"{name}-{VERSIONS[name]}-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(place)
    return place


def tool(name: str, folder: Path) -> str:
    """The command of another linter, installed in its own environment where it is not yet."""
    place = folder / "tools" / name
    program = place / "bin" / name
    if not program.exists():
        venv.create(place, with_pip=True)
        command = [str(place / "bin" / "python"), "-m", "pip", "install", "-q", TOOLS[name]]
        subprocess.run(command, check=True)
    if name == "pylint":
        _show_packages(place)
    return str(program)


def _show_packages(place: Path) -> None:
    """Let pylint look into the packages that are installed here (torch), as it does where a
    project is worked on: without them it has little to infer, and needs a quarter of the time."""
    (site,) = place.glob("lib/python*/site-packages")
    (site / "benchmarks.pth").write_text(sysconfig.get_path("purelib") + "\n")


def listed_files(folder: Path) -> list[Path]:
    """The fixed list of files."""
    files = [path for name in LISTED for path in sorted(corpus(name, folder).rglob("*.py"))]
    return [path for path in files if PATTERN.search(path.read_bytes())]


def synthetic(files: int, folder: Path) -> Path:
    """A project of this many files: packages of one network, its parts, its data and its training
    script, as they are in applications."""
    place = folder / "synthetic" / str(files)
    if place.is_dir():
        return place
    for number in range(files):
        package, part = divmod(number, len(_PARTS))
        name, text = list(_PARTS.items())[part]
        file = place / f"experiment_{package}" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("WIDTH", str(16 + package % 64)))
    return place


_PARTS = {
    "blocks.py": '''import torch.nn as nn


class Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, width, stride=1):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.last = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()

    def forward(self, x):
        out = self.relu(self.norm(self.first(x)))
        return self.relu(self.last(self.second(out)) + x)
''',
    "network.py": """import torch.nn as nn
from blocks import Block


class Network(nn.Module):
    def __init__(self, classes=10, depth=4):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, WIDTH, 3), nn.BatchNorm2d(WIDTH), nn.ReLU())
        self.blocks = nn.Sequential(*[Block(WIDTH) for _ in range(depth)])
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))
""",
    "data.py": """import torch
from torch.utils.data import DataLoader, TensorDataset


def loaders(batch=32):
    images, labels = torch.randn(256, 3, 32, 32), torch.randint(10, (256,))
    data = TensorDataset(images, labels)
    return DataLoader(data, batch, shuffle=True, drop_last=True), DataLoader(data, batch)
""",
    "train.py": """import torch
from data import loaders
from network import Network


def evaluate(model, loader):
    model.eval()
    right = 0
    with torch.no_grad():
        for images, labels in loader:
            right += (model(images).argmax(1) == labels).sum().item()
    return right


def main():
    model = Network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    training, validation = loaders()
    for epoch in range(10):
        model.train()
        for images, labels in training:
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(epoch, evaluate(model, validation))


if __name__ == "__main__":
    main()
""",
    "report.py": """import json


def table(results):
    return [{"name": name, "value": round(value, WIDTH)} for name, value in results.items()]


def save(results, path):
    with open(path, "w") as file:
        json.dump(table(results), file)
""",
}
