"""Which passes a check makes, and the numbers that come out of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bnlint.finding import Number
from bnlint.graph import Kind, LayerGraph, Node
from bnlint.live import drift
from bnlint.live.drawing import Drawing
from bnlint.live.inputs import Inputs
from bnlint.live.intercept import Plan, Source, Statistics
from bnlint.live.modules import qualified
from bnlint.live.observe import Cumulating, Drifting, Dropping, Seen, first_line
from bnlint.live.passes import Outcome, Session
from bnlint.live.unseen import Unseen, unseen

BATCH = Plan(Source.BATCH)
RUNNING = Plan(Source.RUNNING)
DROPPING = Plan(Source.RUNNING, dropout=True)


@dataclass
class Measuring:
    """Everything that the passes found out about one model on one input.

    layers: numbers of each BatchNorm call by node.
    modes: by node, whether a sensitive layer was called in training mode. registered: BatchNorm
    modules in the model.
    """

    inputs: Inputs
    graph: LayerGraph
    layers: dict[int, dict[str, Number]]
    modes: Mapping[int, bool]
    output: dict[str, Number] = field(default_factory=dict)
    uninspected: tuple[Unseen, ...] = ()
    registered: int = 0


def measure(session: Session, inputs: Inputs, *, recalibrate: bool) -> Measuring:
    """Run the passes that this model needs: two at least, three with dropout, and the controls."""
    return _Measurement(session, inputs).run(recalibrate)


class _Measurement:
    def __init__(self, session: Session, inputs: Inputs) -> None:
        self.session = session
        self.inputs = inputs
        self.batch = inputs.batch
        self.first = Drifting(batch=self.batch)
        self.output: dict[str, Number] = {"batch": self.batch}
        self.notes: list[Unseen] = []

    def run(self, recalibrate: bool) -> Measuring:
        drawing = Drawing(self.session.names, _title(self.session.model))
        on_batch = self.session.run(self.inputs, BATCH, self.first, drawing)
        graph = drawing.graph()
        fed = _fed_by_dropout(graph, self.first.seen.values())
        reference = Cumulating(self.first.seen, frozenset(fed))
        on_running = self.session.run(self.inputs, RUNNING, reference)
        self._compare(on_batch, on_running)
        self._dropout(on_running, reference, fed)
        self._randomness(on_running)
        if not self.inputs.synthetic:
            self._control(on_batch, recalibrate)
        notes = unseen(self.session.names, self.first, on_batch)
        return Measuring(
            inputs=self.inputs,
            graph=graph,
            layers=self._layers(),
            modes=self.first.modes,
            output=self.output,
            uninspected=(*notes, *self.notes),
            registered=sum(1 for _ in self.session.names.batchnorms()),
        )

    def _layers(self) -> dict[int, dict[str, Number]]:
        calls = self.first.seen.values()
        return {call.node: {**call.numbers} for call in calls if call.node is not None}

    def _compare(self, on_batch: Outcome, on_running: Outcome) -> None:
        """Batch against running statistics; nothing to compare where no call has both."""
        if not any(seen.has_running for seen in self.first.seen.values()):
            return
        self.output["drift"] = drift.relative_distance(on_batch.outputs, on_running.outputs)
        self.output["flip_rate"] = drift.flip_rate(
            drift.predictions(on_batch.outputs, self.batch),
            drift.predictions(on_running.outputs, self.batch),
        )

    def _dropout(
        self, reference: Outcome, without: Cumulating, fed: Mapping[str, tuple[Node, ...]]
    ) -> None:
        """Dropout's own share: running statistics with dropout on, against off."""
        if not self.first.has_dropout:
            self.output["dropout_share"] = 0.0
            return
        observer = Dropping(frozenset(fed))
        outcome = self._attempt("dropout", self.inputs, DROPPING, observer)
        if outcome is None:
            return
        share = drift.relative_distance(outcome.outputs, reference.outputs)
        self.output["dropout_share"] = share
        for key, producers in fed.items():
            if key in without.inputs and key in observer.inputs:
                numbers = self.first.seen[key].numbers
                numbers.update(_shift(without.inputs[key], observer.inputs[key], producers))

    def _randomness(self, reference: Outcome) -> None:
        """What stays random with dropout off (DropPath, noise): the same pass, another seed."""
        if not reference.random:
            self.output["random_share"] = 0.0
            return
        again = self._attempt("randomness", self.inputs, RUNNING, another_seed=True)
        if again is not None:
            share = drift.relative_distance(again.outputs, reference.outputs)
            self.output["random_share"] = share

    def _control(self, on_batch: Outcome, recalibrate: bool) -> None:
        """Predictions of the same samples inside half the batch.

        The mean over half of n samples differs from the mean over all n with variance S^2 / n,
        just as the mean over n samples differs from the population's: so the flips between the
        two are the flips that chance alone explains.
        """
        halves = self.inputs.halves()
        if halves is None or not self.first.seen:
            return
        observer = Drifting() if recalibrate else None
        outcomes = [
            self._attempt("flip control", half, BATCH, watching)
            for half, watching in zip(halves, (observer, None))
        ]
        whole = drift.predictions(on_batch.outputs, self.batch)
        if outcomes[0] is None or outcomes[1] is None:
            return
        if whole is not None and self.batch is not None:
            self.output["flip_control"] = _flips_in_halves(whole, outcomes, halves)
        if observer is not None:
            self._recalibrate(halves[1], observer, outcomes[1])

    def _recalibrate(self, held_out: Inputs, calibrating: Drifting, on_batch: Outcome) -> None:
        """The proof of cause: statistics of the first half, measured on the second."""
        given: Statistics = {key: seen.statistics for key, seen in calibrating.seen.items()}
        before = self._attempt("recalibration", held_out, RUNNING)
        after = self._attempt("recalibration", held_out, Plan(Source.RUNNING, given=given))
        if before is None or after is None:
            return
        for name, outcome in (("drift_before", before), ("drift_recalibrated", after)):
            distance = drift.relative_distance(on_batch.outputs, outcome.outputs)
            self.output[name] = distance

    def _attempt(
        self,
        what: str,
        inputs: Inputs,
        plan: Plan,
        observer: Drifting | Dropping | None = None,
        *,
        another_seed: bool = False,
    ) -> Outcome | None:
        """A pass that the check can do without; its failure is reported."""
        try:
            return self.session.run(inputs, plan, observer, another_seed=another_seed)
        except Exception as error:  # the model's own code, on an input it may not expect
            reason = f"not measured: {type(error).__name__}: {first_line(error)}"
            self.notes.append(Unseen(what, reason))
            return None


def _title(model: nn.Module) -> str:
    return qualified(type(model)).rpartition(".")[2]


def _fed_by_dropout(graph: LayerGraph, calls: Iterable[Seen]) -> dict[str, tuple[Node, ...]]:
    """The calls whose input is directly the output of dropout, with those dropout nodes."""
    found: dict[str, tuple[Node, ...]] = {}
    for seen in calls:
        if seen.node is None:
            continue
        producers = graph.producers(graph[seen.node])
        if producers and all(node.kind is Kind.DROPOUT for node in producers):
            found[seen.key] = producers
    return found


def _shift(
    without: tuple[Tensor, Tensor], dropping: tuple[Tensor, Tensor], producers: tuple[Node, ...]
) -> dict[str, float | None]:
    """The variance shift of a BatchNorm's input, measured and predicted."""
    mean, variance = without
    total = float(variance.mean())
    measured = float(dropping[1].mean()) / total if total > 0 else None
    rate = producers[0].params.get("p")
    alpha = "lpha" in producers[0].name
    predicted = None
    if isinstance(rate, (int, float)) and not alpha:
        predicted = drift.dropout_variance_ratio(mean, variance, float(rate))
    return {
        "variance_ratio": drift.finite(measured),
        "variance_ratio_predicted": drift.finite(predicted),
    }


def _flips_in_halves(
    whole: Tensor, outcomes: list[Outcome | None], halves: tuple[Inputs, Inputs]
) -> float | None:
    found: list[Tensor] = []
    for outcome, half in zip(outcomes, halves):
        predicted = drift.predictions(outcome.outputs, half.batch) if outcome else None
        if predicted is None:
            return None
        found.append(predicted)
    return drift.flip_rate(whole, torch.cat(found))
