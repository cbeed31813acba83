"""Which passes a check makes, and the numbers that come out of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bnlint.finding import Number
from bnlint.graph import LayerGraph
from bnlint.live import drift
from bnlint.live.control import Control
from bnlint.live.conversions import replaced_classes
from bnlint.live.drawing import Drawing
from bnlint.live.dropouts import (
    Fed,
    behind_dropout,
    fed_by_dropout,
    shift_through_weights,
    upstream_dropouts,
    variance_shift,
)
from bnlint.live.inputs import Inputs
from bnlint.live.intercept import Plan, Source
from bnlint.live.modules import qualified
from bnlint.live.numbers import layer_numbers
from bnlint.live.observe import Averaging, Cumulating, Drifting, Dropping, drift_of, first_line
from bnlint.live.passes import Outcome, Session
from bnlint.live.places import Places
from bnlint.live.recalibrate import Recalibration
from bnlint.live.sharing import sharing
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


def measure(
    session: Session,
    batches: Sequence[Inputs],
    *,
    recalibrate: bool,
    places: Places,
    tell: Callable[[int, int], None] | None = None,
) -> Measuring:
    """Run the passes that this model needs on every batch.

    With batch statistics, with running statistics, and in two halves (the control); on the first
    batch once more with dropout on, and with another seed, where there is dropout or randomness.
    places: looks up the sources of the classes. tell: called with the batches that are done and
    that there are.
    """
    return _Measurement(session, batches, places).run(recalibrate, tell)


class _Measurement:
    def __init__(self, session: Session, batches: Sequence[Inputs], places: Places) -> None:
        self.session = session
        self.places = places
        self.batches = batches
        self.inputs = batches[0]
        self.drifting = Drifting(batch=self.inputs.batch)
        self.control = Control(self.attempt)
        self.output: dict[str, Number] = {"batch": self.inputs.batch, "batches": len(batches)}
        self.notes: list[Unseen] = []

    def run(self, recalibrate: bool, tell: Callable[[int, int], None] | None) -> Measuring:
        title = qualified(type(self.session.model)).rpartition(".")[2]
        drawing = Drawing(self.session.names, title, self.places)
        on_batch = self.session.run(self.inputs, BATCH, self.drifting, drawing)
        graph = drawing.graph()
        self._first(on_batch, graph)
        for done, inputs in enumerate(self.batches[1:], 1):
            if tell is not None:
                tell(done, len(self.batches))
            self._further(inputs)
        self._outputs()
        if recalibrate:
            self._recalibrate()
        notes = unseen(self.session.names, self.drifting, on_batch)
        return Measuring(
            inputs=self.inputs,
            graph=graph,
            layers=self._layers(),
            modes=self.drifting.modes,
            output=self.output,
            uninspected=(*notes, *self.notes),
            registered=sum(1 for _ in self.session.names.batchnorms()),
        )

    def _first(self, on_batch: Outcome, graph: LayerGraph) -> None:
        """The first batch, on which also the shares of dropout and of chance are measured."""
        calls = self.drifting.seen.values()
        fed = fed_by_dropout(graph, calls)
        upstream = upstream_dropouts(graph, calls, self.drifting.dropouts, self.session.names)
        wanted = frozenset(fed) | {key for key, _ in upstream.values()}
        reference = Cumulating(self.drifting.seen, wanted, upstream)
        on_running = self.session.run(self.inputs, RUNNING, reference)
        self._dropout(on_running, graph, reference, fed)
        self._randomness(on_running)
        self._add(self.inputs, on_batch, on_running)

    def _further(self, inputs: Inputs) -> None:
        """One more batch; a loader may hold one that the model does not take."""
        on_batch = self.attempt("a further batch", inputs, BATCH, self.drifting)
        if on_batch is None:
            return
        on_running = self.attempt(
            "a further batch", inputs, RUNNING, Cumulating(self.drifting.seen)
        )
        if on_running is not None:
            self._add(inputs, on_batch, on_running)

    def _add(self, inputs: Inputs, on_batch: Outcome, on_running: Outcome) -> None:
        controlled = not inputs.synthetic and bool(self.drifting.seen)
        self.control.add(inputs, on_batch, on_running, in_halves=controlled)

    def _layers(self) -> dict[int, dict[str, Number]]:
        names = self.session.names
        replaced = replaced_classes(names.root, self.places)
        shared = sharing(self.drifting.seen.values())
        found: dict[int, dict[str, Number]] = {}
        for seen in self.drifting.seen.values():
            if seen.node is None:
                continue
            owner = names.owner(seen.running[0]) if seen.running is not None else None
            found[seen.node] = {**layer_numbers(seen, owner), **shared.get(seen.key, {})}
            if id(owner) in replaced:
                found[seen.node]["replaced"] = replaced[id(owner)]
        return found

    def _outputs(self) -> None:
        """Batch against running statistics; nothing to compare where no call has both."""
        if any(seen.running is not None for seen in self.drifting.seen.values()):
            self.output |= self.control.numbers(self.output.get("random_share"))

    def _dropout(
        self, reference: Outcome, graph: LayerGraph, without: Cumulating, fed: Fed
    ) -> None:
        """Dropout's own share: running statistics with dropout on, against off."""
        if not self.drifting.has_dropout:
            self.output["dropout_share"] = 0.0
            return
        behind = behind_dropout(graph, self.drifting.seen.values())
        observer = Dropping(behind | frozenset(fed))
        outcome = self.attempt("dropout", self.inputs, DROPPING, observer)
        if outcome is None:
            return
        share = drift.relative_distance(outcome.outputs, reference.outputs)
        self.output["dropout_share"] = share
        for key, found in observer.inputs.items():
            seen = self.drifting.seen[key]
            if seen.running is not None and seen.possible:
                seen.numbers["d_dropout"] = drift_of(found, seen.running, seen.eps)
            if key in fed and key in without.inputs:
                seen.numbers.update(variance_shift(without.inputs[key], found, fed[key]))
            elif key in without.added and key in without.inputs:
                before, added = without.inputs[key], without.added[key]
                seen.numbers.update(shift_through_weights(before, found, added))

    def _randomness(self, reference: Outcome) -> None:
        """What stays random with dropout off (DropPath, noise): the same pass, another seed."""
        if not reference.random:
            self.output["random_share"] = 0.0
            return
        again = self.attempt("randomness", self.inputs, RUNNING, another_seed=True)
        if again is not None:
            share = drift.relative_distance(again.outputs, reference.outputs)
            self.output["random_share"] = share
            self.control.at_random(self.inputs, reference, again)

    def _recalibrate(self) -> None:
        try:
            recalibration = Recalibration(self.session, self.batches)
            self.output |= recalibration.run(self.drifting.seen)
        except Exception as error:  # the model's own code, on half a batch
            self._note("recalibration", error)

    def attempt(
        self,
        what: str,
        inputs: Inputs,
        plan: Plan,
        observer: Drifting | Dropping | Cumulating | Averaging | None = None,
        *,
        another_seed: bool = False,
    ) -> Outcome | None:
        """A pass that the check can do without; its failure is reported."""
        try:
            return self.session.run(inputs, plan, observer, another_seed=another_seed)
        except Exception as error:  # the model's own code, on an input it may not expect
            self._note(what, error)
            return None

    def _note(self, what: str, error: Exception) -> None:
        reason = f"not measured: {type(error).__name__}: {first_line(error)}"
        self.notes.append(Unseen(what, reason))
