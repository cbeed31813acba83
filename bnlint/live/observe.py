"""What each pass measures while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from bnlint.live import drift
from bnlint.live.intercept import BatchNormCall, DropoutCall
from bnlint.live.moments import by_position, moments, probes, skew, zeros_share

Numbers = dict[str, float | None]


@dataclass
class Seen:
    """What the first pass knows of one BatchNorm call.

    normalised: probes of the normalised input (K, C). statistics: the batch's mean and variance.
    training: as it was called. possible: whether batch statistics exist at all.
    """

    key: str
    node: int | None
    training: bool
    has_running: bool
    possible: bool
    numbers: Numbers
    normalised: Tensor
    statistics: tuple[Tensor, Tensor]
    eps: float


class Silent:
    """An observer that measures nothing."""

    def batchnorm(self, key: str, node: int | None, call: BatchNormCall) -> None:
        """Nothing to note."""

    def dropout(self, node: int | None, call: DropoutCall | None) -> None:
        """Nothing to note."""


@dataclass
class Drifting(Silent):
    """Measures the drift of each BatchNorm call on the path of batch statistics.

    batch: samples in the model's input, to which the predicted batch sizes refer.
    """

    batch: int | None = None
    seen: dict[str, Seen] = field(default_factory=dict)
    modes: dict[int, bool] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    has_dropout: bool = False

    def batchnorm(self, key: str, node: int | None, call: BatchNormCall) -> None:
        """Measure one call."""
        if node is not None:
            self.modes[node] = call.training
        try:
            self.seen[key] = self._measure(key, node, call)
        except RuntimeError as error:
            self.failed[key] = f"its input cannot be measured ({first_line(error)})"

    def dropout(self, node: int | None, call: DropoutCall | None) -> None:
        """Note that dropout is there, and its mode."""
        self.has_dropout = self.has_dropout or call is None or call.p > 0
        if node is not None and call is not None:
            self.modes[node] = call.training

    def _measure(self, key: str, node: int | None, call: BatchNormCall) -> Seen:
        data = by_position(call.input)
        found = moments(call.input)
        probed = probes(data)
        numbers: Numbers = {
            "batch": found.samples,
            "values_per_channel": found.values,
            "zeros_share": drift.finite(zeros_share(probed)),
            "skew": drift.finite(skew(probed)),
        }
        rows = _rows_per_sample(found.samples, self.batch)
        for size in drift.BATCH_SIZES:
            alone = size * rows * found.values // found.samples <= 1
            predicted = None if alone else drift.predicted_drift(found, size * rows, call.eps)
            numbers[f"drift_at_{size}"] = drift.finite(predicted)
        possible = found.values > 1
        mean, variance = call.running_mean, call.running_var
        if possible and mean is not None and variance is not None:
            d = drift.channel_drift(found.mean, found.variance, mean, variance, call.eps)
            numbers["d"] = drift.finite(d)
            numbers["floor"] = drift.finite(drift.predicted_drift(found, found.samples, call.eps))
            shift = drift.mean_shift(found.mean, mean, variance, call.eps)
            numbers["batch_mean_shift"] = drift.finite(shift)
        scale = (found.variance + call.eps).rsqrt()
        return Seen(
            key=key,
            node=node,
            training=call.training,
            has_running=call.has_running,
            possible=possible,
            numbers=numbers,
            normalised=drift.on_cpu((probed - found.mean) * scale),
            statistics=(found.mean, found.variance),
            eps=call.eps,
        )


@dataclass
class Cumulating(Silent):
    """Compares each call's output on running statistics with what the first pass saw.

    wanted: keys of the calls whose input moments are kept (those fed by dropout).
    """

    seen: Mapping[str, Seen]
    wanted: frozenset[str] = frozenset()
    inputs: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def batchnorm(self, key: str, node: int | None, call: BatchNormCall) -> None:
        """Measure the distance of the two normalised outputs, on the same probes."""
        known = self.seen.get(key)
        if known is None:
            return
        if key in self.wanted:
            self.inputs[key] = input_moments(call)
        mean, variance = call.running_mean, call.running_var
        if mean is None or variance is None or not known.possible:
            return
        probed = probes(by_position(call.input))
        scale = (variance.to(probed) + call.eps).rsqrt()
        normalised = drift.on_cpu((probed - mean.to(probed)) * scale)
        if normalised.shape == known.normalised.shape:
            distance = (normalised - known.normalised).square().mean(0).sqrt()
            known.numbers["cumulative"] = drift.finite(distance)


@dataclass
class Dropping(Silent):
    """Measures the input of the calls that dropout feeds, with dropout on."""

    wanted: frozenset[str]
    inputs: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def batchnorm(self, key: str, node: int | None, call: BatchNormCall) -> None:
        """Keep the moments of a wanted call."""
        if key in self.wanted:
            self.inputs[key] = input_moments(call)


def input_moments(call: BatchNormCall) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel of the input."""
    found = moments(call.input)
    return found.mean, found.variance


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _rows_per_sample(rows: int, batch: int | None) -> int:
    """Rows of a layer's input that belong to one sample of the model (time steps, patches)."""
    if not batch or rows % batch:
        return 1
    return max(rows // batch, 1)
