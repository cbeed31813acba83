"""Both pictures of one project: read as text by the source half, run by the live half."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from bnlint.graph import LayerGraph
from bnlint.live.drawing import Drawing
from bnlint.live.inputs import Inputs
from bnlint.live.intercept import Plan, Source
from bnlint.live.modules import Names
from bnlint.live.passes import Session
from bnlint.live.places import Places
from bnlint.live.preserve import Preserve
from bnlint.source.draw import draw_definition
from bnlint.source.extract import extract
from bnlint.source.project import Project


def read(root: Path, texts: dict[str, str]) -> LayerGraph | None:
    """The source half's layer graph of `Net`; None when it cannot draw one."""
    facts = {str(root / path): extract(str(root / path), text) for path, text in texts.items()}
    graphs = [g for g in draw_definition(Project(root, facts), "Net") if g.title == "Net"]
    return graphs[0] if len(graphs) == 1 else None


def run(root: Path) -> LayerGraph:
    """The live half's layer graph of `pkg.net:Net` below a folder."""
    with importable(root) as module:
        torch.manual_seed(0)
        return watch(module.Net())


def watch(net: nn.Module) -> LayerGraph:
    """The live half's layer graph of a module that takes (N, 4, 8, 8)."""
    with Preserve(net) as preserve:
        session = Session(net, preserve, Names(net), 0)
        drawing = Drawing(session.names, "Net", Places())
        images = torch.randn(4, 4, 8, 8)
        session.run(Inputs((images,)), Plan(Source.BATCH), drawing=drawing)
        return drawing.graph()


@contextmanager
def importable(root: Path) -> Iterator[ModuleType]:
    """The module `pkg.net` below a folder; it is forgotten afterwards."""
    sys.path.insert(0, str(root))
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    importlib.invalidate_caches()
    try:
        yield importlib.import_module("pkg.net")
    finally:
        sys.dont_write_bytecode = writes
        sys.path.remove(str(root))
        for name in [name for name in sys.modules if name.partition(".")[0] == "pkg"]:
            del sys.modules[name]
