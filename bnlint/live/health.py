"""Whether running statistics are still finite, asked after every forward that moves them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bnlint.finding import Measurement
from bnlint.graph import LayerGraph, Node
from bnlint.live.roster import Roster


class Health:
    """Watches the running statistics of a model's BatchNorm layers.

    On the CPU the answer is there at once. On another device asking would wait for all that is
    queued there, so the answer of one forward is read after the next.
    """

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._pending: list[Tensor] = []

    def has_broken(self) -> bool:
        """Whether some running statistics have turned non-finite."""
        statistics = [t for t in self._roster.statistics() if t.numel()]
        if not statistics:
            return False
        ready, self._pending = self._pending, []
        for sums in _sums(statistics):
            (ready if sums.device.type == "cpu" else self._pending).append(sums)
        return any(not bool(torch.isfinite(sums).all()) for sums in ready)

    def picture(self) -> tuple[LayerGraph, dict[int, Measurement]]:
        """The layers that are broken now, as a graph without edges, and their numbers."""
        nodes: list[Node] = []
        numbers: dict[int, Measurement] = {}
        for entry in self._roster.norms:
            measured = _numbers(entry.module)
            if measured is not None:
                layer = self._roster.layer(entry.index, None)
                numbers[len(nodes)] = measured
                nodes.append(
                    Node(len(nodes), entry.kind, entry.name, place=layer.place, path=entry.path)
                )
        return LayerGraph(type(self._roster.root).__name__, tuple(nodes)), numbers


def _numbers(module: nn.Module) -> Measurement | None:
    """What `bnlint.live.statistics` says of broken statistics; None where all are finite."""
    mean, variance = module.running_mean, module.running_var
    if not isinstance(mean, Tensor) or not isinstance(variance, Tensor):
        return None
    finite = mean.isfinite() & variance.isfinite()
    if bool(finite.all()):
        return None
    counter = module.num_batches_tracked
    return {
        "channels": mean.numel(),
        "tracked": int(counter) if isinstance(counter, Tensor) else None,
        "nonfinite_channels": int((~finite).sum()),
        "negative_channels": int((finite & (variance < 0)).sum()),
        "collapsed_channels": 0,
    }


@torch.no_grad()
def _sums(statistics: list[Tensor]) -> list[Tensor]:
    """For each device a vector that is finite exactly if every value there is.

    x - x is 0, but nan for nan and for infinities.
    """
    groups: dict[torch.device, list[Tensor]] = {}
    for tensor in statistics:
        groups.setdefault(tensor.device, []).append(tensor)
    return [
        torch.stack([norm.float() for norm in torch._foreach_norm(torch._foreach_sub(same, same))])
        for same in groups.values()
    ]
