"""Moments of a BatchNorm's input, by channel, with the sample as the unit of chance."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

CANCELLATION = 1e-4
"""Below this ratio of variance to mean square, E[x^2] - E[x]^2 has lost its digits."""

PROBES = 256
"""Positions of an input that are kept for comparison with another pass, evenly spaced."""

FEWEST_PROBES = 32
"""Positions that are kept of an input with very many channels."""

PROBED_VALUES = 16384
"""Values that are kept of one input, so that all layers together weigh little."""


@dataclass(frozen=True)
class Samples:
    """Mean and biased variance of each sample and channel of an input (N, C, P), each (N, C)."""

    means: Tensor
    variances: Tensor
    positions: int


@dataclass(frozen=True)
class Moments:
    """Statistics of one BatchNorm input (N, C, ...), each a tensor of C values in at least float32.

    mean, variance: over all N*P values (the variance biased, as BatchNorm normalises with it).
    spread: S^2, the unbiased variance of the samples' means; psi: the unbiased variance over
    samples of psi_i = v_i + (m_i - mean)^2. Both are None for one sample.
    samples: N. values: N*P.
    """

    mean: Tensor
    variance: Tensor
    spread: Tensor | None
    psi: Tensor | None
    samples: int
    values: int


def by_position(tensor: Tensor) -> Tensor:
    """The input as (N, C, P) in at least float32."""
    tensor = tensor.detach()
    if tensor.dtype in (torch.float16, torch.bfloat16):
        tensor = tensor.float()
    return tensor.flatten(2) if tensor.dim() > 2 else tensor.unsqueeze(-1)


def moments(tensor: Tensor) -> Moments:
    """The moments of a BatchNorm input (N, C, ...)."""
    return moments_of(by_sample(by_position(tensor)))


def moments_of(data: Samples) -> Moments:
    """The moments of an input of which the samples' own moments are known."""
    samples = len(data.means)
    mean = data.means.mean(0)
    squared = (data.means - mean).square()
    variance = data.variances.mean(0) + squared.mean(0)
    spread = psi = None
    if samples > 1:
        spread = squared.sum(0) / (samples - 1)
        psi = (data.variances + squared).var(0)
    return Moments(mean, variance, spread, psi, samples, samples * data.positions)


def by_sample(data: Tensor) -> Samples:
    """Mean and biased variance of each sample and channel of (N, C, P) data.

    Through the norm, which is many times faster than `var_mean` on a CPU; `var_mean` where the
    difference would cancel.
    """
    positions = data.shape[-1]
    means = data.mean(-1)
    if positions == 1:
        return Samples(means, torch.zeros_like(means), positions)
    squares = torch.linalg.vector_norm(data, dim=-1).square() / positions
    variances = squares - means.square()
    if bool((variances < CANCELLATION * squares).any()):
        variances = data.var(-1, correction=0)
    return Samples(means, variances, positions)


def by_model_sample(rows: Samples, batch: int) -> Samples:
    """Rows put together that belong to one of the model's `batch` samples.

    A layer inside the model may see several rows of one sample (time steps, patches), which are as
    little independent as positions are. Whether rows of a sample are neighbours or lie `batch`
    apart cannot be seen: the order in which the samples differ more is the one that is true.
    """
    count, rest = len(rows.means), len(rows.means) % batch
    if count <= batch or rest:
        return rows
    shape = (batch, count // batch, -1)
    swapped = (count // batch, batch, -1)
    means, variances = rows.means.view(shape), rows.variances.view(shape)
    other_means = rows.means.view(swapped).transpose(0, 1)
    other_variances = rows.variances.view(swapped).transpose(0, 1)
    orders = [_joined(means, variances), _joined(other_means, other_variances)]
    spreads = [float(found[0].var(0).sum()) for found in orders] if batch > 1 else [0.0, 0.0]
    found = orders[0] if spreads[0] >= spreads[1] else orders[1]
    return Samples(*found, rows.positions * (count // batch))


def _joined(means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each sample, of its rows (N, rows, C)."""
    return means.mean(1), variances.mean(1) + means.var(1, correction=0)


def pooled(first: Moments, second: Moments) -> Moments:
    """The moments of two batches taken together.

    Mean, variance and spread are exact (Chan et al. 1979, "Updating formulae and a pairwise
    algorithm for computing sample variances"). psi is a deviation from the common mean, of which
    the difference of the two batches' means is left out: a term of second order.
    """
    samples, values = first.samples + second.samples, first.values + second.values
    share = second.values / values
    step = second.mean - first.mean
    between = step.square() * share * (1 - share)
    variance = first.variance * (1 - share) + second.variance * share + between
    mean = first.mean + step * share
    scatter = step.square() * (first.samples * second.samples / samples)
    spread = (_scatter(first.spread, first) + _scatter(second.spread, second) + scatter) / (
        samples - 1
    )
    width = (second.variance - first.variance).square() * (first.samples * second.samples / samples)
    psi = (_scatter(first.psi, first) + _scatter(second.psi, second) + width) / (samples - 1)
    return replace(
        first, mean=mean, variance=variance, spread=spread, psi=psi, samples=samples, values=values
    )


def _scatter(variance: Tensor | None, of: Moments) -> Tensor:
    """The sum of squared deviations behind an unbiased variance over samples."""
    return torch.zeros_like(of.mean) if variance is None else variance * (of.samples - 1)


def probes(data: Tensor) -> Tensor:
    """Up to PROBES positions of (N, C, P) data, evenly spaced over samples and space: (K, C)."""
    samples, channels, positions = data.shape
    total = samples * positions
    wanted = max(FEWEST_PROBES, min(PROBES, PROBED_VALUES // max(channels, 1)))
    picked = torch.linspace(0, total - 1, min(wanted, total), device=data.device).long()
    return data[picked // positions, :, picked % positions]


def zeros_share(probed: Tensor) -> float:
    """The share of exact zeros among probed values (K, C): what a ReLU leaves behind."""
    return float((probed == 0).float().mean())


def skew(probed: Tensor) -> float:
    """The mean over channels of the skewness of probed values (K, C); 0 for constant channels."""
    deviation = probed - probed.mean(0)
    spread = deviation.square().mean(0).sqrt()
    scaled = deviation / torch.where(spread > 0, spread, torch.ones_like(spread))
    return float(scaled.pow(3).mean())
