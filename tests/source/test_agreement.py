"""Both halves draw the same picture: generated modules, read as text and run on a batch."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from drawn import graph_of, net
from modules_at_random import module_file, whole_text
from random_parts import BEFORE
from torch import nn

from bnlint.graph import UNKNOWN, Kind, LayerGraph, Node, same_block
from bnlint.live.inputs import Inputs
from bnlint.live.measure import measure
from bnlint.live.modules import Names
from bnlint.live.passes import Session
from bnlint.live.preserve import Preserve

MODULES = 1000 if os.environ.get("BNLINT_NIGHTLY") == "1" else 60
MOST_UNKNOWN = 0.03


@dataclass
class Tally:
    """What was compared: BatchNorm calls, those of which the text tells too little, and errors."""

    calls: int = 0
    unknown: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run_module(path: Path, name: str) -> LayerGraph:
    """The live layer graph of the class Net in a file."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        net: nn.Module = module.Net()
    finally:
        del sys.modules[name]
    images = torch.randn(4, 4, 8, 8)
    with Preserve(net) as preserve:
        session = Session(net, preserve, Names(net), 0)
        return measure(session, [Inputs((images,))], recalibrate=False).graph


def kinds(nodes: tuple[Node, ...]) -> set[Kind]:
    return {node.kind for node in nodes}


def block(node: Node) -> tuple[str, str] | None:
    """Path and plain class name of a node's block."""
    return None if node.block is None else (node.block.path, node.block.cls.rpartition(".")[2])


def differences(
    seen: LayerGraph, live: Node, read: LayerGraph, node: Node, is_open: bool
) -> list[str]:
    """In what the text's picture of one BatchNorm call contradicts the run's."""
    found = []
    fed, feeds = kinds(seen.producers(live)), kinds(read.producers(node))
    if not fed <= feeds or (not is_open and fed != feeds):
        found.append(f"fed by {sorted(fed)}, read {sorted(feeds)}")
    used, uses = kinds(seen.consumers(live)), kinds(read.consumers(node))
    if not used <= uses or (not is_open and used != uses):
        found.append(f"read by {sorted(used)}, read {sorted(uses)}")
    wrong = {
        key: (value, node.params.get(key))
        for key, value in live.params.items()
        if node.params.get(key, UNKNOWN) not in (value, UNKNOWN)
    }
    if wrong:
        found.append(f"parameters {wrong}")
    if block(live) != block(node):
        found.append(f"block {block(live)}, read {block(node)}")
    together = {same_block(live, p) for p in seen.producers(live)}
    if not is_open and together != {same_block(node, p) for p in read.producers(node)}:
        found.append("the same block as its producer, or not")
    return found


def compare(seen: LayerGraph, read: LayerGraph, is_open: bool, tally: Tally, title: str) -> None:
    by_call: dict[tuple[str, int], list[Node]] = defaultdict(list)
    for node in read.of_kind(Kind.BATCHNORM):
        by_call[node.path, node.call_index].append(node)
    for live in seen.of_kind(Kind.BATCHNORM):
        tally.calls += 1
        where = f"{title}: {live.path}#{live.call_index}"
        nodes = by_call[live.path, live.call_index]
        if not nodes:
            tally.unknown.append(f"{where} is not drawn")
            continue
        around = [*read.producers(nodes[0]), *read.consumers(nodes[0])]
        if UNKNOWN in nodes[0].params.values() or Kind.UNKNOWN in kinds(tuple(around)):
            tally.unknown.append(where)
            continue
        said = [differences(seen, live, read, node, is_open) for node in nodes]
        if all(said):
            tally.wrong.append(f"{where}: {'; '.join(said[0])}")


@pytest.fixture(scope="module")
def tally(tmp_path_factory: pytest.TempPathFactory) -> Tally:
    folder = tmp_path_factory.mktemp("modules")
    tally = Tally()
    for seed in range(MODULES):
        text, is_open = module_file(seed)
        path = folder / f"module{seed}.py"
        path.write_text(whole_text(text))
        compare(run_module(path, f"module{seed}"), graph_of(text), is_open, tally, path.name)
    return tally


def test_the_text_says_nothing_that_the_run_denies(tally: Tally) -> None:
    assert tally.calls > 5 * MODULES
    assert tally.wrong == []


def test_the_comparison_tells_pictures_apart(tmp_path: Path) -> None:
    right = net("self.f = nn.Sequential(nn.Conv2d(4, 4, 1), BN(4), nn.ReLU())", "return self.f(x)")
    path = tmp_path / "right.py"
    path.write_text(whole_text(BEFORE + right))
    seen = run_module(path, "right")
    changes = {
        "fed by": right.replace("nn.Conv2d(4, 4, 1)", "nn.ReLU()"),
        "read by": right.replace("nn.ReLU()", "nn.Dropout()"),
        "parameters": right.replace("BN(4)", "BN(4, eps=1e-2)"),
        "not drawn": right.replace("self.f", "self.g"),
    }
    for change, text in changes.items():
        tally = Tally()
        compare(seen, graph_of(BEFORE + text), False, tally, change)
        assert tally.calls == 1
        assert any(change in said for said in tally.wrong + tally.unknown), change


def test_the_text_says_nearly_all_that_the_run_shows(tally: Tally) -> None:
    assert len(tally.unknown) <= MOST_UNKNOWN * tally.calls, tally.unknown
