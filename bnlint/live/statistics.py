"""The state of a layer's running statistics, read off its buffers without any data.

The numbers, by name:

channels                channels of the layer
tracked                 training forwards that the layer has counted; None where it counts none
initial                 every running mean is 0 and every running variance 1: as constructed
warm                    1 - (1 - momentum)^tracked: share of the running statistics that comes from
                        data; None where that cannot be known
nonfinite_channels      channels whose running mean or variance is infinite or not a number
negative_channels       channels with a running variance below zero
replaced                class with a forward of its own that convert_sync_batchnorm replaced
collapsed_channels      channels with a running variance of exactly zero whose input does vary
"""

from __future__ import annotations

from torch import Tensor, nn

from bnlint.live.moments import Moments

Facts = dict[str, float | None]


def facts(mean: Tensor, variance: Tensor, found: Moments, module: nn.Module | None) -> Facts:
    """What can be said of one layer's running mean and variance (C values each).

    found: the moments of the layer's input, which tell a collapsed channel from a dead one.
    module: the owner of the buffers.
    """
    finite = mean.isfinite() & variance.isfinite()
    collapsed = (variance == 0) & (found.variance.to(variance) > 0)
    tracked = _tracked(module)
    return {
        "channels": mean.numel(),
        "tracked": tracked,
        "initial": bool((mean == 0).all() & (variance == 1).all()),
        "warm": _warm(module, tracked),
        "nonfinite_channels": int((~finite).sum()),
        "negative_channels": int((finite & (variance < 0)).sum()),
        "collapsed_channels": int((finite & collapsed).sum()),
    }


def _tracked(module: nn.Module | None) -> int | None:
    counter = getattr(module, "num_batches_tracked", None)
    return int(counter) if isinstance(counter, Tensor) and counter.numel() == 1 else None


def _warm(module: nn.Module | None, tracked: int | None) -> float | None:
    momentum = getattr(module, "momentum", None)
    if not tracked:
        return None  # statistics that were loaded or converted carry no count
    if momentum is None:
        return 1.0
    return 1 - (1 - float(momentum)) ** tracked if isinstance(momentum, int | float) else None
