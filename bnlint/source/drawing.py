"""The layer graph of one module: its forward is run on one abstract tensor for each parameter."""

from __future__ import annotations

from bnlint.graph import Kind, LayerGraph, Node
from bnlint.records import replace
from bnlint.source.evaluate.domain import tensors_in
from bnlint.source.evaluate.interpreter import Interpreter
from bnlint.source.evaluate.module_classes import is_container, kind_of
from bnlint.source.facts import FileFacts
from bnlint.source.graphs import GraphDomain
from bnlint.source.joining import one_of
from bnlint.source.positions import with_positions
from bnlint.source.values import (
    ANYTHING,
    NONE,
    Arguments,
    Frame,
    FunctionObject,
    Instance,
    Known,
    ModuleScope,
    Value,
    alternatives,
)


def draw_graph(
    machine: Interpreter, module: Value, title: str, budget: int, method: str = "forward"
) -> LayerGraph | None:
    """The layer graph of one module object; None when it has no forward that can be run.

    method: what is called in place of forward. Raises OutOfBudget when the module is too large to
    follow.
    """
    nodes = _drawn(machine, module, budget, method, usual=False)
    if nodes is None:
        return None
    if any(node.checkpoint is not None for node in nodes):
        usual = _drawn(machine, module, budget, method, usual=True) or []
        nodes = [_with_checkpoint(node, usual) for node in nodes]
    return LayerGraph(title, tuple(with_positions(nodes)))


def _drawn(
    machine: Interpreter, module: Value, budget: int, method: str, *, usual: bool
) -> list[Node] | None:
    nowhere = Frame(ModuleScope("", FileFacts("", (), (0,))))
    forward_arguments: Arguments | None = None
    domain = GraphDomain(module, machine.store, machine.passages, usual=usual)
    with machine.drawing(domain, budget):
        if isinstance(module, Instance):
            forward = machine.find(module.cls, method)
            forward_arguments = (
                _inputs(domain, forward) if isinstance(forward, FunctionObject) else None
            )
        if forward_arguments is None and not _runs(module):
            return None
        given = forward_arguments or Arguments([domain.add(Kind.INPUT, "input")])
        result = domain.call_module(machine, module, given, nowhere, method)
        domain.add(Kind.OUTPUT, "output", _outputs(result))
    return domain.nodes


def _outputs(result: Value) -> list[frozenset[int]]:
    """One operand for each tensor of the output; of alternative outputs one for all together."""
    outputs = [tensor.sources for tensor in tensors_in([result]) if tensor.sources]
    if len(list(alternatives(result))) > 1 and outputs:
        return [frozenset().union(*outputs)]
    return outputs


def _with_checkpoint(node: Node, usual: list[Node]) -> Node:
    """A node that is checkpointed only if in usual training all calls of its layer are."""
    calls = [n for n in usual if n.place == node.place and n.path == node.path]
    always = bool(calls) and all(call.checkpoint is not None for call in calls)
    return node if always or node.checkpoint is None else replace(node, checkpoint=None)


def _runs(module: Value) -> bool:
    """Whether a module without a forward of its own can be followed."""
    return is_container(module) or kind_of(module) is Kind.BATCHNORM


def _inputs(domain: GraphDomain, forward: FunctionObject) -> Arguments:
    """An INPUT node for each parameter of forward; optional ones keep their default."""
    arguments = Arguments()
    for parameter, default in list(zip(forward.definition.parameters, forward.defaults))[1:]:
        if parameter.star:
            continue
        if default is None:
            arguments.keywords[parameter.name] = domain.add(Kind.INPUT, parameter.name)
        elif isinstance(default, Known) and default != NONE:
            arguments.keywords[parameter.name] = ANYTHING
        else:
            optional = domain.add(Kind.INPUT, parameter.name)
            arguments.keywords[parameter.name] = one_of((NONE, optional))
    return arguments
