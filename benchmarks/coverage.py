"""What share of a project's BatchNorm layers the source half sees.

    python benchmarks/coverage.py FOLDER ... [--list unreached] [--list before] [--list after]

A constructor call counts when the text alone shows that it builds torch's BatchNorm: its name is
resolved through the imports of its file with the standard library's `ast`, apart from bnlint's own
analysis. It is *reached* when a layer graph holds a BatchNorm that the call has built and that a
forward runs. The layer before (after) a reached call is *known* when every producer (consumer) on
every alternative of every graph is known, *input* when some of them are what the module is given
(*output*: what it returns) and the rest is known, else *unknown*. Shares are of all calls.
"""

from __future__ import annotations

import argparse
import ast
import re
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bnlint.graph import Kind, LayerGraph, Node
from bnlint.settings import Settings
from bnlint.source.draw import draw
from bnlint.source.engine import open_project

BATCHNORM = re.compile(
    r"torch\.nn(\.modules(\.batchnorm)?)?\.((Lazy)?BatchNorm[123]d|SyncBatchNorm)"
)
Position = tuple[str, int, int]
"""Absolute path, line (from 1), column (from 1) of a constructor call."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """The calls of one folder, and what is known of each: "unreached" or its neighbours."""

    folder: Path
    calls: frozenset[Position]
    before: dict[Position, str]
    after: dict[Position, str]
    seconds: float

    @property
    def reached(self) -> frozenset[Position]:
        """The calls that some layer graph holds."""
        return frozenset(self.before)


def measure(folder: Path) -> Coverage:
    """Draw the layer graphs of a folder and look every constructor call up in them."""
    started = time.perf_counter()
    project = open_project([folder], Settings(root=folder, base=folder))
    graphs = draw(project).graphs
    seconds = time.perf_counter() - started
    calls = frozenset(
        (path, line, column)
        for path in project.given
        if path.endswith(".py")
        for line, column in constructor_calls(Path(path))
    )
    befores: dict[Position, set[str]] = defaultdict(set)
    afters: dict[Position, set[str]] = defaultdict(set)
    for graph in graphs:
        for node in graph.of_kind(Kind.BATCHNORM):
            position = _position(node)
            if position not in calls or len(graph.nodes) == 2:
                continue  # a graph of two nodes stands for a call that no forward leads to
            befores[position].add(_before(graph, node))
            afters[position].add(_after(graph, node))
    return Coverage(
        folder,
        calls,
        {place: _worst(answers) for place, answers in befores.items()},
        {place: _worst(answers) for place, answers in afters.items()},
        seconds,
    )


def _position(node: Node) -> Position:
    place = node.place
    return ("", 0, 0) if place is None else (place.path, place.line, place.column)


def _before(graph: LayerGraph, node: Node) -> str:
    return _answer({producer.kind for producer in graph.producers(node)}, Kind.INPUT)


def _after(graph: LayerGraph, node: Node) -> str:
    return _answer({consumer.kind for consumer in graph.consumers(node)}, Kind.OUTPUT)


def _answer(kinds: set[Kind], border: Kind) -> str:
    if not kinds or Kind.UNKNOWN in kinds:
        return "unknown"
    return "border" if border in kinds else "known"


def _worst(answers: set[str]) -> str:
    return next(answer for answer in ("unknown", "border", "known") if answer in answers)


def constructor_calls(path: Path) -> Iterator[tuple[int, int]]:
    """Line and column of every call that builds torch's BatchNorm, by the imports of the file."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if "BatchNorm" not in text:
        return
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(text)
    except SyntaxError:
        return
    names = _imported(tree)
    lines = text.splitlines()
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and BATCHNORM.fullmatch(_resolved(call.func, names)):
            column = len(lines[call.lineno - 1].encode()[: call.col_offset].decode()) + 1
            yield call.lineno, column


def _imported(tree: ast.Module) -> dict[str, str]:
    """Local names of what the file imports from torch, wherever it does."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                names[bound] = alias.name if alias.asname else bound
        elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def _resolved(function: ast.expr, names: dict[str, str]) -> str:
    if isinstance(function, ast.Attribute):
        return f"{_resolved(function.value, names)}.{function.attr}"
    return names.get(function.id, "") if isinstance(function, ast.Name) else ""


def _row(coverage: Coverage) -> str:
    count = len(coverage.calls)
    before, after = Counter(coverage.before.values()), Counter(coverage.after.values())
    shares = (
        len(coverage.reached),
        before["known"] + before["border"],
        before["known"],
        before["border"],
        after["known"] + after["border"],
    )
    shown = "".join(f"{100 * share / count if count else 0:8.1f} %" for share in shares)
    return f"{coverage.folder.name[:34]:<34}{count:6}{shown}{coverage.seconds:9.1f}"


def _listed(coverage: Coverage, wanted: Iterable[str]) -> Iterator[str]:
    unknown = {
        "unreached": coverage.calls - coverage.reached,
        "before": {place for place, answer in coverage.before.items() if answer == "unknown"},
        "after": {place for place, answer in coverage.after.items() if answer == "unknown"},
    }
    for what in wanted:
        for path, line, column in sorted(unknown[what]):
            yield f"{what}: {path}:{line}:{column}"


def main() -> None:
    """Print a line for each folder, and on demand the places that were not seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument(
        "--list", action="append", default=[], choices=("unreached", "before", "after")
    )
    options = parser.parse_args()
    print(
        f"{'folder':<34}{'calls':>6}{'reached':>10}{'before':>10}{'(known)':>10}{'(input)':>10}"
        f"{'after':>10}{'seconds':>9}"
    )
    for folder in options.folders:
        coverage = measure(folder.resolve())
        print(_row(coverage), flush=True)
        for line in _listed(coverage, options.list):
            print(f"  {line}")


if __name__ == "__main__":
    main()
