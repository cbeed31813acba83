"""What each pass measures while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from bnlint.live import drift
from bnlint.live.curve import measurable, measured_curve
from bnlint.live.intercept import BatchNormCall, DropoutCall
from bnlint.live.moments import (
    Moments,
    by_model_sample,
    by_position,
    by_sample,
    moments,
    moments_of,
    pooled,
    probes,
    skew,
    zeros_share,
)

Numbers = dict[str, float | None]


@dataclass
class Seen:
    """What the passes know of one BatchNorm call, over all batches.

    training: as it was called. running: mean and variance, None where the layer keeps none.
    moments: of its input on the path of batch statistics, dropout off. rows: rows of its input
    (N, C, ...), which may be more than there are samples (time steps, patches). normalised: probes
    of the normalised input (K, C) of the latest batch. cumulative: distance per channel, one for
    each batch.
    sizes, measured: batch sizes that were drawn from the first batch, and d (sizes, C) for them.
    """

    key: str
    node: int | None
    training: bool
    running: tuple[Tensor, Tensor] | None
    eps: float
    moments: Moments
    rows: int
    normalised: Tensor
    sizes: tuple[int, ...]
    measured: Tensor | None
    zeros_share: float
    skew: float
    cumulative: list[Tensor] = field(default_factory=list)
    numbers: Numbers = field(default_factory=dict)

    @property
    def possible(self) -> bool:
        """Whether batch statistics exist at all."""
        return self.moments.values > 1

    @property
    def path(self) -> str:
        """The qualified name of the module."""
        return self.key.rpartition("#")[0]


class Silent:
    """An observer that measures nothing."""

    def batchnorm(self, key: str, node: int | None, call: BatchNormCall) -> None:
        """Nothing to note."""

    def dropout(self, node: int | None, call: DropoutCall | None) -> None:
        """Nothing to note."""


@dataclass
class Drifting(Silent):
    """Measures each BatchNorm call on the path of batch statistics; one object for all batches.

    batch: samples in the model's input, to which batch sizes refer. modes: by node, whether a
    sensitive layer was called in training mode. failed: why a call could not be measured, by key.
    dropouts: the nodes of the dropout calls, in the order of the forward.
    """

    batch: int | None = None
    seen: dict[str, Seen] = field(default_factory=dict)
    modes: dict[int, bool] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    has_dropout: bool = False
    dropouts: list[int | None] = field(default_factory=list)

    def batchnorm(self, key: str, node: int | None, call: BatchNormCall) -> None:
        """Measure one call."""
        if node is not None:
            self.modes[node] = call.training
        try:
            self._measure(key, node, call)
        except RuntimeError as error:
            self.failed[key] = f"its input cannot be measured ({first_line(error)})"

    def dropout(self, node: int | None, call: DropoutCall | None) -> None:
        """Note that dropout is there, and its mode."""
        self.dropouts.append(node)
        self.has_dropout = self.has_dropout or call is None or call.p > 0
        if node is not None and call is not None:
            self.modes[node] = call.training

    def _measure(self, key: str, node: int | None, call: BatchNormCall) -> None:
        data = by_position(call.input)
        rows = by_sample(data)
        samples = rows if not self.batch else by_model_sample(rows, self.batch)
        found = moments_of(samples)
        probed = probes(data)
        normalised = (probed - found.mean) * (found.variance + call.eps).rsqrt()
        known = self.seen.get(key)
        if known is not None:
            known.moments = pooled(known.moments, found)
            known.rows += len(rows.means)
            known.normalised = normalised
            return
        sizes = measurable(found.samples)
        self.seen[key] = Seen(
            key=key,
            node=node,
            training=call.training,
            running=call.running,
            eps=call.eps,
            moments=found,
            rows=len(rows.means),
            normalised=normalised,
            sizes=sizes,
            measured=measured_curve(samples, sizes, call.eps) if sizes else None,
            zeros_share=zeros_share(probed),
            skew=skew(probed),
        )


@dataclass
class Cumulating(Silent):
    """Compares each call's output on running statistics with what the first pass saw.

    wanted: keys of the calls whose input moments are kept (those fed by dropout). upstream: by the
    number of a dropout call, the layer that it feeds and the key of the BatchNorm call behind it.
    added: by that key, the variance that the dropout would add.
    """

    seen: Mapping[str, Seen]
    wanted: frozenset[str] = frozenset()
    upstream: Mapping[int, tuple[str, nn.Module]] = field(default_factory=dict)
    inputs: dict[str, Moments] = field(default_factory=dict)
    added: dict[str, Tensor | None] = field(default_factory=dict)
    dropouts: int = 0

    def dropout(self, node: int | None, call: DropoutCall | None) -> None:
        """Predict what this dropout does behind the layer that reads it."""
        layer = self.upstream.get(self.dropouts)
        self.dropouts += 1
        if layer is None or call is None:
            return
        key, module = layer
        by_element = call.function.__name__ in ("dropout", "dropout_")
        self.added[key] = drift.added_variance(module, call.input, call.p) if by_element else None

    def batchnorm(self, key: str, node: int | None, call: BatchNormCall) -> None:
        """Measure the distance of the two normalised outputs, on the same probes."""
        known = self.seen.get(key)
        if known is None:
            return
        if key in self.wanted:
            self.inputs[key] = moments(call.input)
        if call.running is None or not known.possible:
            return
        mean, variance = call.running
        probed = probes(by_position(call.input))
        normalised = (probed - mean.to(probed)) * (variance.to(probed) + call.eps).rsqrt()
        if normalised.shape == known.normalised.shape:
            known.cumulative.append((normalised - known.normalised).square().mean(0).sqrt())


@dataclass
class Dropping(Silent):
    """Measures the input of the calls that lie behind dropout, with dropout on."""

    wanted: frozenset[str]
    inputs: dict[str, Moments] = field(default_factory=dict)

    def batchnorm(self, key: str, node: int | None, call: BatchNormCall) -> None:
        """Keep the moments of a wanted call."""
        if key in self.wanted:
            self.inputs[key] = moments(call.input)


@dataclass
class Averaging(Silent):
    """Statistics by cumulative averaging, as BatchNorm with `momentum=None` keeps them.

    The mean over batches of the batch mean and of the unbiased batch variance.
    """

    sums: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def batchnorm(self, key: str, node: int | None, call: BatchNormCall) -> None:
        """Add the statistics of one batch."""
        found = moments(call.input)
        if found.values < 2:
            return
        variance = found.variance * (found.values / (found.values - 1))
        mean, total = self.sums.get(key, (0, 0))
        self.sums[key] = (found.mean + mean, variance + total)
        self.counts[key] = self.counts.get(key, 0) + 1

    def statistics(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Mean and variance of each call."""
        return {
            key: (mean / self.counts[key], variance / self.counts[key])
            for key, (mean, variance) in self.sums.items()
        }


def drift_of(found: Moments, running: tuple[Tensor, Tensor], eps: float) -> float | None:
    """d of a layer, the mean over channels; None where it is no finite number."""
    return drift.finite(drift.channel_drift(found.mean, found.variance, *running, eps))


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
