"""Moments of a BatchNorm's input, by channel, with the sample as the unit of chance."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CANCELLATION = 1e-4
"""Below this ratio of variance to mean square, E[x^2] - E[x]^2 has lost its digits."""

PROBES = 256
"""Positions of an input that are kept for comparison with another pass, evenly spaced."""


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
    data = by_position(tensor)
    samples, _, positions = data.shape
    means, variances = _sample_moments(data)
    mean = means.mean(0)
    deviation = means - mean
    variance = variances.mean(0) + deviation.square().mean(0)
    spread = psi = None
    if samples > 1:
        spread = means.var(0)
        psi = (variances + deviation.square()).var(0)
    return Moments(mean, variance, spread, psi, samples, samples * positions)


def _sample_moments(data: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each sample and channel, each (N, C).

    Through the norm, which is many times faster than `var_mean` on a CPU; `var_mean` where the
    difference would cancel.
    """
    means = data.mean(-1)
    if data.shape[-1] == 1:
        return means, torch.zeros_like(means)
    squares = torch.linalg.vector_norm(data, dim=-1).square() / data.shape[-1]
    variances = squares - means.square()
    if bool((variances < CANCELLATION * squares).any()):
        return means, data.var(-1, correction=0)
    return means, variances


def probes(data: Tensor) -> Tensor:
    """Up to PROBES positions of (N, C, P) data, evenly spaced over samples and space: (K, C)."""
    samples, _, positions = data.shape
    total = samples * positions
    picked = torch.linspace(0, total - 1, min(PROBES, total), device=data.device).long()
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
