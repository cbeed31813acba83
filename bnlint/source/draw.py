"""From a linked project to pictures: every entry point a trace, every module a layer graph."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from bnlint.finding import Place
from bnlint.functional import ModeCall
from bnlint.graph import LayerGraph
from bnlint.rules.base import Pictures
from bnlint.source.graph_artist import GraphArtist
from bnlint.source.isolation import Isolation, exposed
from bnlint.source.mode_calls import mode_calls
from bnlint.source.mode_methods import mode_methods
from bnlint.source.project import Project
from bnlint.source.scripts import holds_test_networks
from bnlint.source.trace_artist import TraceArtist
from bnlint.source.values import ClassObject, FunctionObject
from bnlint.spelling import did_you_mean


def draw(project: Project, isolated: Isolation | None = None) -> Pictures:
    """The pictures of a whole project. isolated: what crashes is noted there, and left out."""
    apart = isolated or exposed()
    tracing = TraceArtist(project, apart)
    tracing.draw_traces()
    graphing = GraphArtist(project, tracing.machine, apart, tracing.fruitless)
    graphing.draw_graphs()
    tracing.machine.forget()
    project.noticed.left = min(tracing.allowance, graphing.most - tracing.machine.spent)
    definitions = tuple(tracing.machine.definitions)
    pictures = Pictures(tuple(graphing.graphs), tuple(tracing.finished_traces(graphing.graphs)))
    nowhere = Place(min(project.given, default=""), 1)
    with apart("looking at methods that set modes", nowhere):
        pictures = replace(pictures, mode_methods=tuple(mode_methods(project, definitions)))
    calls: tuple[ModeCall, ...] = ()
    with apart("looking at calls that set modes", nowhere):
        calls = tuple(mode_calls(project, definitions))
    return replace(pictures, mode_calls=calls, tested=_tested(project, definitions))


def _tested(
    project: Project, definitions: Iterable[FunctionObject | ClassObject]
) -> frozenset[str]:
    """The files whose networks are there to be tested."""
    files = {id(d.frame.module.facts): d.frame.module.facts for d in definitions}
    return frozenset(
        facts.path
        for facts in files.values()
        if holds_test_networks(facts, project.module_name(facts.path))
    )


def draw_definition(project: Project, name: str) -> list[LayerGraph]:
    """The layer graphs of a class, or of what a factory builds, with its defaults.

    Raises LookupError when the project defines no such name.
    """
    tracing = TraceArtist(project)
    tracing.load_all()
    wanted = [d for d in tracing.machine.definitions if d.name == name]
    if not wanted:
        known = (d.name for d in tracing.machine.definitions)
        raise LookupError(f"no class or function named {name}{did_you_mean(name, known)}")
    graphing = GraphArtist(project, tracing.machine)
    for definition in wanted:
        graphing.draw_definition(definition, only_new=False)
    return graphing.graphs


def show_graph(project: Project, name: str) -> str:
    """The layer graph that the analysis sees for a class (or a function that builds a module).

    Raises LookupError when the project defines no such name, or when there is nothing to draw.
    """
    graphs = draw_definition(project, name)
    if not graphs:
        raise LookupError(f"{name} has no forward() that can be followed")
    return "\n\n".join(_listing(graph) for graph in graphs)


def _listing(graph: LayerGraph) -> str:
    lines = [f"{graph.title}{f' ({graph.binding})' if graph.binding else ''}"]
    for node in graph.nodes:
        operands = " | ".join(",".join(f"%{i}" for i in sorted(op)) for op in node.inputs)
        where = f"{node.place.path}:{node.place.line}" if node.place is not None else ""
        block = node.block.path or "." if node.block is not None else ""
        lines.append(
            f"  %{node.id:<4} {node.kind:<11} {node.path or node.short_name:<28}"
            f" <- {operands or '-':<16} in {block:<14} {where}".rstrip()
        )
    return "\n".join(lines)
