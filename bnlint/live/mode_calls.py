"""Calls of mode-sensitive functions in a run: do they follow the mode of the module around them?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn

from bnlint.functional import SIGNATURES, Follows, ModeCall
from bnlint.graph import UNKNOWN, LayerGraph, Node
from bnlint.live.modules import Names, is_sensitive


def mode_calls(graph: LayerGraph, modes: Mapping[int, bool], names: Names) -> Iterator[ModeCall]:
    """The calls by modules in evaluation mode; a module in training mode tells nothing.

    modes: by node, whether a sensitive function was called as in training.
    """
    modules = {names.path(module): module for module in names.root.modules()}
    for node in graph.nodes:
        if node.name in SIGNATURES and node.scope:
            module = modules.get(node.scope[-1].path)
            if module is not None and not module.training and not is_sensitive(module):
                yield _call(node, module, modes.get(node.id))


def _call(node: Node, module: nn.Module, training: bool | None) -> ModeCall:
    signature = SIGNATURES[node.name]
    rate = None
    if signature.rate is not None:
        rate = node.params.get(signature.rate[1], UNKNOWN)
    follows = Follows.UNKNOWN
    if signature.flag is None and rate is not UNKNOWN:
        follows = Follows.ALWAYS
    elif training is not None:
        follows = Follows.ALWAYS if training else Follows.MODE
    statistics = node.params.get("track_running_stats")
    return ModeCall(
        function=node.name,
        cls=type(module).__name__,
        place=node.place,
        follows=follows,
        rate=rate,
        statistics=statistics if isinstance(statistics, bool) else None,
        path=node.scope[-1].path,
    )
