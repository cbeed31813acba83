"""What several processes that train one model know of each other: batches and running statistics.

One comparison of names by hash and one gathering of packed statistics, before anything runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from bnlint.finding import Number
from bnlint.live.drift import channel_drift, finite
from bnlint.live.errors import CheckError
from bnlint.live.modules import Names
from bnlint.live.rendezvous import meet
from bnlint.live.unseen import Unseen

PATIENCE = 30.0
"""Seconds that a check waits for the other processes."""

ABOUT_PROCESSES = frozenset(
    {"processes", "batch_global", "rank_divergence", "rank_divergence_layer"}
)
"""Numbers of the output that made-up input does not touch."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """The processes that check a model together.

    rank: of this process. batches: samples in each process's batch, None where unknown.
    divergence: by layer, the largest d between the running statistics of two processes, one taken
    as the batch's against the other (`bnlint.live.drift.channel_drift`), mean over channels; 0.002
    with broadcast buffers, 0.30 was measured without them on skewed data.
    """

    rank: int
    batches: tuple[int | None, ...]
    divergence: Mapping[str, float | None]

    @property
    def world(self) -> int:
        """The number of processes."""
        return len(self.batches)

    @property
    def global_batch(self) -> int | None:
        """Samples in the batches of all processes together; None when one is unknown."""
        known = [batch for batch in self.batches if batch is not None]
        return sum(known) if len(known) == self.world else None

    @property
    def worst(self) -> tuple[str, float] | None:
        """The layer that diverges most, and by how much."""
        known = [(name, d) for name, d in self.divergence.items() if d is not None]
        return max(known, key=lambda layer: layer[1], default=None)

    def numbers(self) -> dict[str, Number]:
        """The numbers that a rule may read of the output (`ABOUT_PROCESSES`)."""
        layer, divergence = self.worst or (None, None)
        return {
            "processes": self.world,
            "batch_global": self.global_batch,
            "rank_divergence": divergence,
            "rank_divergence_layer": layer,
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "rank": self.rank,
            "world": self.world,
            "batches": list(self.batches),
            "global_batch": self.global_batch,
            "divergence": dict(self.divergence),
        }


def several_processes() -> bool:
    """Whether this process is one of several that run together."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def compare(names: Names, batch: int | None) -> Ranks | Unseen:
    """Meet the other processes and compare; Unseen when they do not come.

    Raises CheckError, in every process, when the processes hold different BatchNorm layers.
    """
    norms = dict(names.batchnorms())
    layers = [[path, _features(norm), _tracks(norm)] for path, norm in norms.items()]
    listed = json.dumps(layers)
    digest = hashlib.sha256(listed.encode()).hexdigest()
    meeting = meet(json.dumps([digest, batch, layers]), PATIENCE)
    if meeting is None:
        return Unseen(
            "other processes",
            f"not every process checked within {PATIENCE:g} s, so nothing is compared between "
            "them; pass distributed=False where only one of them checks",
        )
    brought = [json.loads(found) for found in meeting.brought]
    if any(theirs[0] != digest for theirs in brought):
        raise CheckError(_difference([theirs[2] for theirs in brought]))
    tracking = {path: norm for path, norm in norms.items() if _tracks(norm)}
    gathered = _gather(_packed(list(tracking.values())))
    return Ranks(dist.get_rank(), tuple(b[1] for b in brought), _divergence(tracking, gathered))


def _features(norm: nn.Module) -> int:
    features = norm.num_features
    return features if isinstance(features, int) else -1


def _tracks(norm: nn.Module) -> bool:
    return isinstance(norm.running_mean, Tensor) and isinstance(norm.running_var, Tensor)


def _difference(layers: list[list[list[Any]]]) -> str:
    """What an error says of processes with different layers: the first one that differs."""
    counts = ", ".join(f"{len(held)} in process {rank}" for rank, held in enumerate(layers))
    for row in zip_longest(*layers):
        if any(layer != row[0] for layer in row):
            where = "; ".join(
                f"process {rank} has {_shown(layer)}" for rank, layer in enumerate(row)
            )
            return f"the processes hold different BatchNorm layers ({counts}): {where}"
    return f"the processes hold different BatchNorm layers ({counts})"


def _shown(layer: list[Any] | None) -> str:
    return "none" if layer is None else f"'{layer[0]}' with {layer[1]} channels"


@torch.no_grad()
def _packed(norms: list[nn.Module]) -> Tensor:
    """Means and variances of all layers, one after the other."""
    parts = [getattr(norm, name) for norm in norms for name in ("running_mean", "running_var")]
    return torch.cat([part.detach().float().cpu() for part in parts] or [torch.zeros(0)])


def _gather(packed: Tensor) -> Tensor:
    """The packed statistics of every process, (processes, values)."""
    device = torch.device("cpu" if _speaks_cpu() else torch.cuda.current_device())
    mine = packed.to(device)
    all_of_them = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    if mine.numel():
        dist.all_gather(all_of_them, mine)
    return torch.stack(all_of_them).cpu()


def _speaks_cpu() -> bool:
    """Whether the processes can exchange tensors of the CPU."""
    return any(name in str(dist.get_backend()) for name in ("gloo", "mpi", "cpu"))


def _divergence(norms: Mapping[str, nn.Module], gathered: Tensor) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    begin = 0
    for path, norm in norms.items():
        width = len(norm.running_mean)  # type: ignore[arg-type]
        means = gathered[:, begin : begin + width]
        variances = gathered[:, begin + width : begin + 2 * width]
        begin += 2 * width
        found[path] = _largest(means, variances, float(norm.eps))  # type: ignore[arg-type]
    return found


def _largest(means: Tensor, variances: Tensor, eps: float) -> float | None:
    """The largest d between two processes, each pair in both directions."""
    pairs = [
        finite(channel_drift(mean, variance, means[other], variances[other], eps))
        for mean, variance in zip(means, variances)
        for other in range(len(means))
    ]
    return max((d for d in pairs if d is not None), default=None)
