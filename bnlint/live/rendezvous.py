"""A meeting of the processes of a run, at the store by which they found each other.

No collective operation takes place before everybody has come: a process that checks alone would
wait in it for ever. Everybody is told the same verdict, so that either all go on together or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed import distributed_c10d

PREFIX = "bnlint"
_ALL_HERE = "all here"
_ABANDONED = "abandoned"
_ABANDONING = 1 << 20
"""What a process that gives up adds to the counter at which the first one to write decides."""


@dataclass(frozen=True, slots=True)
class Meeting:
    """What every process has brought along, by rank."""

    brought: Sequence[str]


def meet(brought: str, patience: float) -> Meeting | None:
    """Wait until every process has come; None when one does not within `patience` seconds.

    brought: what this process shows to the others.
    """
    store = PrefixStore(PREFIX, distributed_c10d._get_default_store())
    rank, world = dist.get_rank(), dist.get_world_size()
    name = f"round{store.add('rounds', 0)}"
    store.set(f"{name}/{rank}", brought)
    if store.add(f"{name}/here", 1) == world:
        _decide(store, name, 1, _ALL_HERE)
    if not _verdict_within(store, name, patience):
        _decide(store, name, _ABANDONING, _ABANDONED)
    store.wait([f"{name}/verdict"])
    if store.get(f"{name}/verdict").decode() != _ALL_HERE:
        return None
    return Meeting([store.get(f"{name}/{other}").decode() for other in range(world)])


def _decide(store: Store, name: str, vote: int, verdict: str) -> None:
    """Announce a verdict, unless another one was there first; then begin a new round."""
    if store.add(f"{name}/votes", vote) == vote:
        store.set(f"{name}/verdict", verdict)
        store.add("rounds", 1)


def _verdict_within(store: Store, name: str, patience: float) -> bool:
    try:
        store.wait([f"{name}/verdict"], timedelta(seconds=patience))
    except RuntimeError:  # what every store raises when the time is up
        return False
    return True
