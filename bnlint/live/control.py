"""Outputs on batch and on running statistics, and how far chance alone moves them apart."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from bnlint.finding import Number
from bnlint.live import drift
from bnlint.live.inputs import Inputs
from bnlint.live.intercept import Plan, Source
from bnlint.live.passes import Outcome

FEWEST = 4
"""Samples from which on a batch is halved."""


class Attempt(Protocol):
    """A pass that may fail."""

    def __call__(self, what: str, inputs: Inputs, plan: Plan) -> Outcome | None:
        """The outcome, None where the model raised."""


@dataclass
class Control:
    """Collects the outputs of every batch.

    The control puts the same samples into half the batch: the mean over half of n samples differs
    from the mean over all n with variance S^2 / n, just as the mean over n samples differs from
    the population's. So what differs between the two is what chance alone explains.
    """

    attempt: Attempt
    _drift: drift.Distance = field(default_factory=drift.Distance)
    _noise: drift.Distance = field(default_factory=drift.Distance)
    _flips: list[Tensor] = field(default_factory=list)
    _noise_flips: list[Tensor] = field(default_factory=list)
    _random_flips: float | None = None

    def add(
        self, inputs: Inputs, on_batch: Outcome, on_running: Outcome, *, in_halves: bool
    ) -> None:
        """Compare the two outputs of one batch, and run its halves."""
        self._drift.add(on_batch.outputs, on_running.outputs)
        flips = drift.flips(on_batch.outputs, on_running.outputs, inputs.batch)
        if flips is not None:
            self._flips.append(flips)
        if in_halves:
            self._halves(inputs, on_batch)

    def at_random(self, inputs: Inputs, first: Outcome, second: Outcome) -> None:
        """Compare two runs that differ in the random seed only."""
        flips = drift.flips(first.outputs, second.outputs, inputs.batch)
        self._random_flips = None if flips is None else float(flips.mean())

    def _halves(self, inputs: Inputs, whole: Outcome) -> None:
        halves = inputs.halves(FEWEST)
        if halves is None:
            return
        outcomes = []
        for half in halves:
            outcome = self.attempt("flip control", half, Plan(Source.BATCH))
            if outcome is None:
                return
            outcomes.append(outcome)
        joined, compared = _joined(outcomes, whole.outputs)
        self._noise.add(joined, compared)
        flips = drift.flips(joined, compared, inputs.batch)
        if flips is not None:
            self._noise_flips.append(flips)

    def numbers(self, random_share: Number) -> dict[str, Number]:
        """Everything of the output that `bnlint.live.drift` lists, less dropout and randomness."""
        found: dict[str, Number] = {"drift": self._drift.value}
        if self._noise.value is not None:
            found["drift_control"] = self._noise.value
        if self._drift.value is not None:
            share = random_share if isinstance(random_share, float) else 0.0
            found["drift_net"] = math.sqrt(max(self._drift.value**2 - share**2, 0.0))
        found["flip_rate"] = float(torch.cat(self._flips).mean()) if self._flips else None
        if self._random_flips is not None:
            found["flip_random"] = self._random_flips
        if self._noise_flips:
            found |= self._excess()
        return found

    def _excess(self) -> dict[str, Number]:
        """Flips beyond the control, sample by sample."""
        noise = torch.cat(self._noise_flips)
        found: dict[str, Number] = {"flip_control": float(noise.mean())}
        if len(self._flips) == len(self._noise_flips):
            excess = torch.cat(self._flips) - noise
            found["flip_excess"] = float(excess.mean()) - (self._random_flips or 0.0)
            found["flip_excess_error"] = float(excess.std() / math.sqrt(len(excess)))
        return found


def _joined(halves: list[Outcome], whole: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The outputs of two halves put together, and those of the whole batch that they stand for.

    Outputs that do not have one entry for each sample (a loss, a mean) are left out.
    """
    joined: list[Tensor] = []
    compared: list[Tensor] = []
    for first, second, tensor in zip(halves[0].outputs, halves[1].outputs, whole):
        parts = (first, second, tensor)
        if not all(t.dim() for t in parts) or len({t.shape[1:] for t in parts}) > 1:
            continue
        if len(first) + len(second) == len(tensor):
            joined.append(torch.cat((first, second)))
            compared.append(tensor)
    return joined, compared
