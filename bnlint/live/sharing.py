"""BatchNorm modules that are called more than once in a forward: how far their calls lie apart.

The numbers, by name:

calls                   calls of the module in one forward
apart                   d between a call's own statistics and those that the calls leave together
                        in the running buffers, of the call that is farthest from them
apart_floor             the largest d that chance alone would give one of the calls
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from bnlint.live import drift
from bnlint.live.curve import predicted_drift
from bnlint.live.observe import Numbers, Seen


def sharing(calls: Iterable[Seen]) -> dict[str, Numbers]:
    """The numbers of every call of a module that has several, by the key of the call."""
    by_module: dict[str, list[Seen]] = {}
    for seen in calls:
        by_module.setdefault(seen.path, []).append(seen)
    shared = (group for group in by_module.values() if len(group) > 1)
    return {seen.key: _apart(group) for group in shared for seen in group}


def _apart(group: list[Seen]) -> Numbers:
    """How far calls of one module lie apart.

    Every call moves the running statistics by the same weight towards its own, so that they tend
    to the mean of the calls' means and the mean of the calls' variances.
    """
    mean = torch.stack([seen.moments.mean for seen in group]).mean(0)
    variance = torch.stack([seen.moments.variance for seen in group]).mean(0)
    distances, floors = [], []
    for seen in group:
        found = seen.moments
        d = drift.channel_drift(found.mean, found.variance, mean, variance, seen.eps)
        distances.append(drift.finite(d))
        floors.append(drift.finite(predicted_drift(found, found.samples, seen.eps)))
    return {
        "calls": len(group),
        "apart": max((d for d in distances if d is not None), default=None),
        "apart_floor": max((d for d in floors if d is not None), default=None),
    }
