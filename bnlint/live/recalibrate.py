"""The proof of cause: statistics re-estimated on some samples, measured on the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from bnlint.finding import Number
from bnlint.live import drift
from bnlint.live.control import FEWEST
from bnlint.live.errors import CheckError
from bnlint.live.inputs import Inputs
from bnlint.live.intercept import Plan, Source, Statistics
from bnlint.live.observe import Averaging, Drifting, Seen, drift_of
from bnlint.live.passes import Session


class Recalibration:
    """Re-estimates the running statistics by cumulative averaging (what `update_bn` does, with
    dropout off), on a copy: the model's own buffers are not touched.

    The first half of the batches calibrates and the second half is measured; of a single batch the
    first half of its samples and the second. So the drift after it is not zero by construction.
    """

    def __init__(self, session: Session, batches: Sequence[Inputs]) -> None:
        self._session = session
        if len(batches) > 1:
            middle = len(batches) // 2
            self._calibrating, self._held_out = list(batches[:middle]), list(batches[middle:])
            return
        halves = batches[0].halves(FEWEST)
        if halves is None:
            raise CheckError(f"recalibrate needs {FEWEST} samples or more")
        self._calibrating, self._held_out = [halves[0]], [halves[1]]

    def run(self, seen: Mapping[str, Seen]) -> dict[str, Number]:
        """The numbers of the output before and after; `d_recalibrated` is noted with each call."""
        given = self._estimate()
        drifting = Drifting()
        statistics: dict[str, Statistics | None] = {"before": None, "recalibrated": given}
        distances = {name: drift.Distance() for name in statistics}
        flips: dict[str, list[Tensor]] = {name: [] for name in statistics}
        for inputs in self._held_out:
            wanted = self._session.run(inputs, Plan(Source.BATCH), drifting).outputs
            for name, of in statistics.items():
                outputs = self._session.run(inputs, Plan(Source.RUNNING, given=of)).outputs
                distances[name].add(wanted, outputs)
                flipped = drift.flips(wanted, outputs, inputs.batch)
                flips[name] += [] if flipped is None else [flipped]
        _note_layers(seen, drifting.seen, given)
        found: dict[str, Number] = {}
        for name in statistics:
            found[f"drift_{name}"] = distances[name].value
            found[f"flip_{name}"] = float(torch.cat(flips[name]).mean()) if flips[name] else None
        return found

    def _estimate(self) -> Statistics:
        averaging = Averaging()
        for inputs in self._calibrating:
            self._session.run(inputs, Plan(Source.BATCH), averaging)
        return averaging.statistics()


def _note_layers(seen: Mapping[str, Seen], held_out: Mapping[str, Seen], given: Statistics) -> None:
    """Each layer's drift on the held-out samples with the new statistics."""
    for key, call in held_out.items():
        if key in seen and key in given and call.possible:
            seen[key].numbers["d_recalibrated"] = drift_of(call.moments, given[key], call.eps)
