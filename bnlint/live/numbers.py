"""The numbers of one BatchNorm call, from what the passes saw of it (`bnlint.live.drift`)."""

from __future__ import annotations

import torch
from torch import nn

from bnlint.live import drift
from bnlint.live.curve import BATCH_SIZES, predicted_curve
from bnlint.live.observe import Numbers, Seen, drift_of
from bnlint.live.statistics import facts


def layer_numbers(seen: Seen, module: nn.Module | None) -> Numbers:
    """All numbers of one call. module: the owner of its running statistics, if there is one."""
    found = seen.moments
    numbers: Numbers = {
        "batch": seen.rows,
        "values_per_channel": found.values,
        "samples": found.samples,
        "training": seen.training,
        "zeros_share": drift.finite(seen.zeros_share),
        "skew": drift.finite(seen.skew),
        **_curve(seen),
    }
    if seen.running is not None:
        numbers |= facts(*seen.running, found, module)
    if seen.running is not None and seen.possible:
        mean, variance = seen.running
        numbers["d"] = drift_of(found, seen.running, seen.eps)
        floor = predicted_curve(found, (found.samples,), seen.eps)
        numbers["floor"] = drift.finite(floor)
        shift = drift.mean_shift(found.mean, mean, variance, seen.eps)
        numbers["batch_mean_shift"] = drift.finite(shift)
    if seen.cumulative:
        numbers["cumulative"] = drift.finite(torch.stack(seen.cumulative).mean(0))
    return {**numbers, **seen.numbers}


def _curve(seen: Seen) -> Numbers:
    """Expected d by batch size, predicted and measured; None for sizes without statistics."""
    found = seen.moments
    curve = predicted_curve(found, BATCH_SIZES, seen.eps)
    numbers: Numbers = dict.fromkeys(f"drift_at_{size}" for size in BATCH_SIZES)
    if curve is not None:
        positions = found.values // found.samples
        for size, value in zip(BATCH_SIZES, curve.mean(1).tolist()):
            if size * positions > 1:
                numbers[f"drift_at_{size}"] = drift.finite(value)
    if seen.measured is not None:
        for size, value in zip(seen.sizes, seen.measured.mean(1).tolist()):
            numbers[f"measured_at_{size}"] = drift.finite(value)
    return numbers
