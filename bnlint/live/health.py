"""Whether running statistics are still finite, asked after every forward that moves them."""

from __future__ import annotations

import torch
from torch import Tensor

from bnlint.live.roster import Roster


class Health:
    """Watches the running statistics of a model's BatchNorm layers.

    On the CPU the answer is there at once. On another device asking would wait for all that is
    queued there, so the answer of one forward is read after the next.
    """

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._pending: list[Tensor] = []

    def is_broken(self) -> bool:
        """Whether some running statistics have turned non-finite."""
        statistics = [t for t in self._roster.statistics() if t.numel()]
        if not statistics:
            return False
        ready, self._pending = self._pending, []
        for sums in _sums(statistics):
            (ready if sums.device.type == "cpu" else self._pending).append(sums)
        return any(not bool(torch.isfinite(sums).all()) for sums in ready)


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
