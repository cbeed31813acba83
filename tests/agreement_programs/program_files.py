"""Puts a program and the data that it reads into a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

ROWS = {"train.pt": 20, "valid.pt": 12}


def write_program(texts: Mapping[str, str], folder: Path) -> None:
    """Write the files below a folder, and rows of 4 numbers with one of 2 classes."""
    for path, text in texts.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    generator = torch.Generator().manual_seed(0)
    for name, rows in ROWS.items():
        x = torch.randn(rows, 4, generator=generator)
        y = torch.randint(0, 2, (rows,), generator=generator)
        torch.save({"x": x, "y": y}, folder / name)
