"""How far a BatchNorm layer drifts between batch statistics and running statistics.

The numbers that rules and reports read, by name. Of each layer:

d                       drift: rms distance of the two normalised outputs, mean over channels
floor                   d that chance alone would give at this batch size
cumulative              the same distance when all BatchNorm before it drifts too
batch                   samples in the layer's input
values_per_channel      values that one channel's statistics are computed from
batch_mean_shift        |batch mean - running mean| in running standard deviations
zeros_share, skew       of the layer's input: share of exact zeros, skewness
variance_ratio          variance of the input with dropout on over dropout off (fed by dropout)
variance_ratio_predicted  the same in closed form
drift_at_1 ... drift_at_32  predicted d from batches of that many samples

Of the output:

drift                   relative L2 distance of the outputs, batch against running statistics
flip_rate               share of predictions that differ between the two
flip_control            share that differs by the noise of the batch alone
dropout_share           relative L2 distance that dropout makes by itself
random_share            relative L2 distance between two runs that differ in the random seed
batch                   samples in the input
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bnlint.live.moments import Moments

BATCH_SIZES = (1, 2, 4, 8, 16, 32)
"""The batch sizes at which a layer's drift is predicted."""


def channel_drift(
    mean: Tensor, variance: Tensor, running_mean: Tensor, running_var: Tensor, eps: float
) -> Tensor:
    """d of each channel, exactly: for one input x, with s = sqrt(v + eps),

        mean((y_train - y_eval)^2) / gamma^2
            = (mu_b - mu_r)^2 / s_r^2 + v_b (1/s_b - 1/s_r)^2 = d^2

    The two outputs differ by an affine function of x, whose mean square over the batch is the
    square of its mean plus its variance; neither gamma, beta nor a second pass is needed.
    """
    inverse_batch = (variance + eps).rsqrt()
    inverse_running = (running_var.to(variance) + eps).rsqrt()
    shift = (mean - running_mean.to(mean)) * inverse_running
    scale = variance * (inverse_batch - inverse_running).square()
    return (shift.square() + scale).sqrt()


def mean_shift(mean: Tensor, running_mean: Tensor, running_var: Tensor, eps: float) -> Tensor:
    """|mu_b - mu_r| / s_r of each channel."""
    scale = (running_var.to(mean) + eps).rsqrt()
    return ((mean - running_mean.to(mean)) * scale).abs()


def predicted_drift(moments: Moments, samples: float, eps: float) -> Tensor | None:
    """The rms of d of each channel for batches of `samples` samples, by the cluster formula

        E[d^2](n) = S^2 / (n v) + Var(psi) / (4 n v^2) + (S^2 / (2 n v))^2

    with v + eps in place of v where BatchNorm divides by it. A sample's positions are not
    independent, so the sample is the unit: S^2 is the variance of the samples' means, psi_i the
    second moment of sample i about the common mean. First-order delta method; the error of the rms
    was at most 9 % for n = 2 to 32. None for a single sample, which shows no spread.
    """
    if moments.spread is None or moments.psi is None:
        return None
    variance = moments.variance
    scale = variance + eps
    shift = moments.spread / (samples * scale)
    width = variance * moments.psi / (4 * samples * scale.pow(3))
    bias = variance / scale * (moments.spread / (2 * samples * scale)).square()
    return (shift + width + bias).sqrt()


def dropout_variance_ratio(mean: Tensor, variance: Tensor, rate: float) -> float | None:
    """Variance of a dropped-out input over its variance without dropout, mean over channels.

    With keep probability p and input mean c and variance v per channel it is
    ((c^2 + v)/p - c^2) / v (Li et al. 2019, "Understanding the Disharmony between Dropout and
    Batch Normalization by Variance Shift", arXiv 1801.05134). None where nothing varies or
    nothing is kept.
    """
    keep = 1 - rate
    total = float(variance.mean())
    if keep <= 0 or total <= 0:
        return None
    dropped = (mean.square() + variance) / keep - mean.square()
    return float(dropped.mean()) / total


def finite(value: float | Tensor | None) -> float | None:
    """A plain finite number, None for everything else; of a tensor the mean of its values."""
    if isinstance(value, Tensor):
        value = float(value.mean())
    return value if value is not None and math.isfinite(value) else None


def relative_distance(first: list[Tensor], second: list[Tensor]) -> float | None:
    """Relative L2 distance of two outputs (lists of tensors), |first - second| / |second|.

    Only floating tensors of equal shape count; None when there are none or nothing is finite.
    """
    pairs = [
        (left.double(), right.double())
        for left, right in zip(first, second)
        if left.shape == right.shape and right.is_floating_point()
    ]
    distance = sum(float((left - right).square().sum()) for left, right in pairs)
    norm = sum(float(right.square().sum()) for _, right in pairs)
    if norm == 0.0:
        return 0.0 if pairs and distance == 0.0 else None
    return finite(math.sqrt(distance / norm))


def predictions(outputs: list[Tensor], batch: int | None) -> Tensor | None:
    """The class that each sample (or position) is given, None when the output is no classifier's.

    The first floating output (N, C, ...) with N the batch and C > 1 is read as scores of classes
    along C; of (N, T, C) along the last dimension.
    """
    for tensor in outputs:
        if not tensor.is_floating_point() or tensor.dim() < 2 or len(tensor) != batch:
            continue
        axis = -1 if tensor.dim() == 3 else 1
        if tensor.shape[axis] > 1:
            return tensor.argmax(axis)
    return None


def flip_rate(first: Tensor | None, second: Tensor | None) -> float | None:
    """The share of predictions that differ."""
    if first is None or second is None or first.shape != second.shape or not first.numel():
        return None
    return float((first != second).float().mean())


def on_cpu(tensor: Tensor) -> Tensor:
    """A detached copy on the CPU."""
    return torch.clone(tensor.detach()).cpu()
