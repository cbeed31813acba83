"""How far a BatchNorm layer drifts between batch statistics and running statistics.

The numbers that rules and reports read, by name. Drifts are in standard deviations of the layer's
normalised output (dimensionless); "relative" is a relative L2 distance; a share lies in 0 ... 1.
mu, v, s = sqrt(v + eps) are the moments of a channel, b of the batch, r running.

Of each layer (one number: the mean over its C channels):

d                       drift on the path where every BatchNorm uses batch statistics, dropout off:
                        sqrt((mu_b - mu_r)^2 / s_r^2 + v_b (1/s_b - 1/s_r)^2); `channel_drift`
floor                   d that chance alone gives at this batch size; `curve.predicted_drift`
d_dropout               d of the same layer with dropout on (layers behind a dropout only), on the
                        path of running statistics: small where dropout explains d (Li et al. 2019)
d_recalibrated          d on held-out samples against statistics re-estimated on the others
cumulative              rms distance of the two normalised outputs, at up to 256 positions:
                        d and all that the BatchNorm layers before it add
batch                   rows in the layer's input (N, C, ...), of all batches together
samples                 samples of the model that the statistics were measured on
values_per_channel      values that one channel's statistics are computed from, of all batches
batch_mean_shift        |mu_b - mu_r| / s_r
zeros_share, skew       of the layer's input: share of exact zeros, skewness E[(x - mu)^3] / v^1.5
variance_ratio          variance of the input with dropout on over dropout off, where dropout feeds
                        the layer directly or through one Conv or Linear
variance_ratio_predicted  the same in closed form; `dropout_variance_ratio`
drift_at_1 ... drift_at_256  rms of d of batches of that many samples; `curve.predicted_drift`
measured_at_2 ...       the same, measured on random parts of the batch; `curve.measured_curve`
training                whether the layer was called in training mode
calls, apart, apart_floor  of a layer that is called several times; `bnlint.live.sharing`
initial, tracked, ...   the state of the running statistics; `bnlint.live.statistics`

Of the output:

drift                   relative distance of the outputs, batch against running statistics
drift_control           the same between the whole batch and its two halves: noise of the batch
drift_net               drift less random_share, sqrt(drift^2 - random_share^2), 0 at least
flip_rate               share of predictions (arg max over classes) that differ between the two
flip_control            share that differs between the whole batch and its halves
flip_excess             flip_rate - flip_control - flip_random
flip_excess_error       its standard error, the sample as the unit
flip_random             share that differs between two runs that differ in the random seed
dropout_share           relative distance that dropout makes by itself, on running statistics
random_share            relative distance between two runs that differ in the random seed (DropPath)
batch, batches          samples in one batch; batches that were measured
drift_before, drift_recalibrated  drift on held-out samples, before and after re-estimating the
                        running statistics on the others by cumulative averaging
flip_before, flip_recalibrated  flip_rate on the same samples, before and after
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


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


def added_variance(layer: nn.Module, dropped: Tensor, rate: float) -> Tensor | None:
    """The variance that dropout on a layer's input adds to its output, for each output channel.

    With keep probability p and weights w it is (1/p - 1) sum w^2 E[x^2], as dropout draws every
    element by itself (Li et al. 2019, arXiv 1801.05134, section 3): the layer itself, run on the
    squares of its input and weights. dropped: the dropout's input. None for a layer or an input
    that is not of that form.
    """
    keep = 1 - rate
    weight = getattr(layer, "weight", None)
    if keep <= 0 or not isinstance(weight, Tensor):
        return None
    squares, weights = dropped.detach().square(), weight.detach().square()
    try:
        if isinstance(layer, nn.Linear):
            spread = nn.functional.linear(squares, weights).flatten(0, -2)
        elif isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            spread = layer._conv_forward(squares, weights, None).flatten(2).transpose(1, 2)
            spread = spread.flatten(0, 1)
        else:
            return None
    except RuntimeError:  # the input was given another shape on its way to the layer
        return None
    return (1 / keep - 1) * spread.mean(0)


def finite(value: float | Tensor | None) -> float | None:
    """A plain finite number, None for everything else; of a tensor the mean of its values."""
    if isinstance(value, Tensor):
        value = float(value.mean())
    return value if value is not None and math.isfinite(value) else None


@dataclass
class Distance:
    """A relative L2 distance of outputs, |first - second| / |second|, over any number of batches.

    Only floating tensors of equal shape count.
    """

    _squared: float = 0.0
    _norm: float = 0.0
    _compared: bool = False

    def add(self, first: list[Tensor], second: list[Tensor]) -> None:
        """Two outputs of one batch, each a list of tensors."""
        for left, right in zip(first, second):
            if left.shape == right.shape and right.is_floating_point():
                self._squared += float((left.double() - right.double()).square().sum())
                self._norm += float(right.double().square().sum())
                self._compared = True

    @property
    def value(self) -> float | None:
        """The distance; None where there was nothing to compare or it is not finite."""
        if self._norm == 0.0:
            return 0.0 if self._compared and self._squared == 0.0 else None
        share = self._squared / self._norm
        return math.sqrt(share) if math.isfinite(share) else None


def relative_distance(first: list[Tensor], second: list[Tensor]) -> float | None:
    """The relative L2 distance of two outputs (lists of tensors); see `Distance`."""
    distance = Distance()
    distance.add(first, second)
    return distance.value


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


def flips(first: list[Tensor], second: list[Tensor], batch: int | None) -> Tensor | None:
    """The share of each sample's predictions that differ between two outputs, (N,).

    None where the output is no classifier's (`predictions`), or where it has changed its shape.
    """
    left, right = predictions(first, batch), predictions(second, batch)
    if left is None or right is None or left.shape != right.shape or not left.numel():
        return None
    return (
        (left != right).double().flatten(1).mean(1) if left.dim() > 1 else (left != right).double()
    )


def on_cpu(tensor: Tensor) -> Tensor:
    """A detached copy on the CPU."""
    return torch.clone(tensor.detach()).cpu()
