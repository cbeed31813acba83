"""From a linked project to pictures: every entry point a trace, every module a layer graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bnlint.graph import LayerGraph
from bnlint.rules.base import Pictures
from bnlint.source.evaluate.interpreter import Interpreter
from bnlint.source.graph_artist import GraphArtist
from bnlint.source.isolation import Isolation, exposed
from bnlint.source.mode_calls import mode_calls
from bnlint.source.mode_methods import mode_methods, proven_modules
from bnlint.source.project import Project
from bnlint.source.scripts import holds_test_networks
from bnlint.source.trace_artist import TraceArtist, place_of
from bnlint.source.units import Ledger, Modes, Stage, Unit, slot_of
from bnlint.source.values import ClassObject, FunctionObject
from bnlint.spelling import did_you_mean


def draw(
    project: Project, isolated: Isolation | None = None, ledger: Ledger | None = None
) -> Pictures:
    """The pictures of a whole project. isolated: what crashes is noted there, and left out.
    ledger: where the units of drawing are noted, and where those lie that were kept."""
    apart = isolated or exposed()
    ledger = ledger or Ledger()
    tracing = TraceArtist(project, apart, ledger)
    tracing.draw_traces()
    graphing = GraphArtist(project, tracing.machine, apart, tracing.fruitless, ledger)
    graphing.draw_graphs()
    machine = tracing.machine
    machine.forget()
    project.noticed.left = min(tracing.allowance, graphing.most - machine.spent)
    ledger.settle(machine)
    ledger.first_number = tracing.domain.next_number
    if ledger.earlier is None:
        ledger.eager = [s.facts.path for s in machine.loads if machine.effects.is_eager(s)]
    ledger.tested |= _tested(project, machine.definitions)
    found = list(_modes(project, machine, ledger, apart))
    return Pictures(
        graphs=tuple(graphing.graphs),
        traces=tuple(tracing.finished_traces(graphing.graphs)),
        mode_methods=tuple(method for modes in found for method in modes.methods),
        mode_calls=tuple(call for modes in found for call in modes.calls),
        tested=ledger.tested,
    )


def _modes(
    project: Project, machine: Interpreter, ledger: Ledger, isolated: Isolation
) -> Iterator[Modes]:
    """What the module classes do to modes."""
    noticed = project.noticed
    slots = ((slot_of(found, project), found) for found in machine.definitions)
    counting = [found for spot, found in slots if not ledger.is_twin(Stage.MODES, spot)]
    classes = ((slot_of(cls, project), cls) for cls in proven_modules(counting))
    for spot, slot in ledger.slots(Stage.MODES, classes):
        if isinstance(slot, Unit):
            if slot.modes is not None:
                yield slot.modes
            continue
        with isolated("looking at methods that set modes", place_of(slot)):
            outer = noticed.listen()
            modes = Modes(tuple(mode_methods(project, slot)), tuple(mode_calls(project, slot)))
            noticed.build(slot)
            unit = Unit(Stage.MODES, spot, noticed.heard(outer), modes=modes)
            bases = (base for base in slot.linearization() if isinstance(base, ClassObject))
            if modes != _NOTHING or any(b.frame.module is not slot.frame.module for b in bases):
                ledger.close(unit)
            yield modes


_NOTHING = Modes((), ())


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
