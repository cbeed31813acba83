"""Drawing mode traces: a program is run on abstract values, and what it does to modes is noted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from bnlint.finding import Place
from bnlint.graph import Kind
from bnlint.records import field, replace
from bnlint.source import ir
from bnlint.source.evaluate.domain import PREDICTIONS, tensors_in
from bnlint.source.evaluate.freezing import frozen_norms, frozen_parts, targets
from bnlint.source.evaluate.functions import ir_name
from bnlint.source.evaluate.interpreter import Interpreter
from bnlint.source.evaluate.module_classes import (
    DISTRIBUTED,
    descendants,
    is_module,
    is_module_class,
    kind_of,
)
from bnlint.source.evaluate.torch_calls import VARIABLES
from bnlint.source.joining import merge_tensors
from bnlint.source.members import SENSITIVE, Held, Members, has_flag, sensitive_kind
from bnlint.source.values import (
    ANYTHING,
    FROZEN,
    LEARNS,
    Arguments,
    ClassObject,
    Frame,
    Instance,
    Known,
    Layer,
    Namespace,
    Parameters,
    Tensor,
    Value,
    alternatives,
    hard,
)
from bnlint.torchnames import lookup
from bnlint.trace import (
    Averaged,
    Backward,
    Built,
    Clock,
    CopyMode,
    Distribute,
    Export,
    Forward,
    Freeze,
    LoadState,
    Mode,
    ModeNotCalled,
    Note,
    PrepareTraining,
    Pretrained,
    ReadMode,
    Recalibrated,
    SetMode,
    Step,
    SyncNorms,
    Usage,
    Use,
)


class _New(NamedTuple):
    """What a constructor has built so far: layers, and other modules."""

    layers: list[int]
    flags: list[int]


class TraceDomain(Members):
    """Notes events; a forward is one event and is not followed inside.

    The sources of a tensor are the forward outputs that it depends on.
    """

    judged: dict[Place, None] = field(default_factory=dict)
    _new: list[_New] = field(default_factory=list)
    _outputs: dict[object, int] = field(default_factory=dict)
    _freezes: bool = False
    _still: dict[int, tuple[int, frozenset[int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.is_trace = True

    # --- building ----------------------------------------------------------------------------

    def created(self, machine: Interpreter, module: Layer | Instance) -> None:
        """A layer has been built: in training mode, with the module that holds it."""
        kind = sensitive_kind(module)
        if kind is not None:
            number = self._note_layer(module, "", kind)
        elif (
            isinstance(module, Instance)
            and kind_of(module) is None
            and self._drops(module) is not None
        ):
            number = self._note_functional(module, "")
        elif has_flag(module):
            self.contains(machine, module)
            return
        else:
            return
        if self._new:
            self._new[-1].layers.append(number)
        else:
            machine.events.append(Built(number, frozenset({number}), Mode.TRAIN, module.place))

    def contains(self, machine: Interpreter, container: Layer | Instance) -> None:
        """A module that is no layer has been built; it is in training mode, too."""
        number = self._id(container)
        if self._new:
            self._new[-1].flags.append(number)
        elif any(kind_of(part) in SENSITIVE for _, part in descendants(container)):
            machine.events.append(Built(number, frozenset({number}), Mode.TRAIN, container.place))

    @contextmanager
    def constructing(
        self, machine: Interpreter, cls: ClassObject, arguments: Arguments
    ) -> Iterator[None]:
        """New layers are in training mode before the constructor goes on to change that."""
        if not is_module_class(cls):
            yield
            return
        self._new.append(_New([], []))
        try:
            with machine.recording() as events:
                yield
        finally:
            new = self._new.pop()
            if self._new:
                self._new[-1].layers.extend(new.layers)
                self._new[-1].flags.extend(new.flags)
            elif new.layers or any(map(self._drops_by_now, new.flags)):
                layers = frozenset(new.layers + new.flags)
                number = min(layers)
                machine.events.append(Built(number, layers, Mode.TRAIN, arguments.place))
        machine.events += events

    def _drops_by_now(self, number: int) -> bool:
        """Whether a module, now that its constructor has run, drops values in its own methods."""
        module = self._alive[number - self.first_number]
        return isinstance(module, Instance) and self._drops(module) is not None

    # --- modes -------------------------------------------------------------------------------

    def set_mode(
        self,
        machine: Interpreter,
        modules: Sequence[Value],
        mode: Mode,
        place: Place | None,
        how: str,
        note: Note | None = None,
        apart: tuple[Value, ...] = (),
    ) -> None:
        """These modules, and all below them but what stands apart, are set to a mode, or to one
        that was noted."""
        layers, flags = self._held_by(machine, modules)
        if apart:
            others = self._held_by(machine, apart)
            layers, flags = layers - others.layers, flags - others.flags
        direct = all(kind_of(module) in SENSITIVE for module in modules)
        if layers or flags:
            size = self._size(machine, modules)
            event = SetMode(layers, mode, place, how, False, direct, size, note, flags)
            machine.events.append(event)

    def _held_by(self, machine: Interpreter, modules: Sequence[Value]) -> Held:
        held = [self._hold(machine, module) for module in modules]
        return Held(
            frozenset[int]().union(*(each.layers for each in held)),
            frozenset[int]().union(*(each.flags for each in held)),
        )

    def read_mode(self, machine: Interpreter, module: Value) -> Note | None:
        """A module's training flag is read; the slot in which the trace keeps it."""
        number = self._id(module)
        held = self._hold(machine, module)
        if number not in held.flags | held.layers:
            return None
        slot = self._id(object())
        machine.events.append(ReadMode(slot, number))
        return Note(slot)

    def copied(
        self, machine: Interpreter, original: Value, copy: Value, place: Place | None
    ) -> None:
        """A module has been copied; the copy has the mode of the original."""
        held = self._hold(machine, original)
        self._hold(machine, copy)
        pairs = tuple(
            (self._id(old), self._id(new))
            for (_, old), (_, new) in zip(descendants(original), descendants(copy))
            if self._ids.get(id(old)) in held.layers | held.flags
        )
        if pairs:
            machine.events.append(CopyMode(pairs, place))

    def set_training_flag(
        self,
        machine: Interpreter,
        module: Value,
        mode: Mode,
        place: Place,
        note: Note | None = None,
    ) -> None:
        """`module.training = flag`: the one module only."""
        kind = kind_of(module)
        if kind is Kind.BATCHNORM or kind is Kind.DROPOUT:
            layer = self._note_layer(module, "", kind)
        elif isinstance(module, Instance) and self._drops(module) is not None:
            layer = self._note_functional(module, "")
        elif (flag := self._id(module)) in self._hold(machine, module).flags:
            how, flags = "training = ...", frozenset({flag})
            event = SetMode(frozenset(), mode, place, how, note=note, flags=flags)
            machine.events.append(event)
            return
        else:
            return
        how = "training = ..."
        event = SetMode(frozenset({layer}), mode, place, how, direct=True, note=note)
        machine.events.append(event)

    # --- learning ----------------------------------------------------------------------------

    def freeze(
        self, machine: Interpreter, parameters: Parameters, frozen: bool | None, place: Place | None
    ) -> None:
        """`parameter.requires_grad = not frozen`; with a flag that nobody knows, nothing is
        claimed."""
        norms = set()
        for layer, part in targets(parameters):
            parts = frozen_parts(layer)
            parts = parts | {part} if frozen else parts - {part}
            parts = parts | {LEARNS} if parameters.is_loose else parts - {LEARNS}
            if parts != frozen_parts(layer):
                machine.store.write(layer, FROZEN, parts)
            if kind_of(layer) is Kind.BATCHNORM:
                norms.add(self._note_layer(layer, "", Kind.BATCHNORM))
        self._freezes |= frozen is True
        if norms:
            machine.events.append(Freeze(frozenset(norms), frozen is True, place))

    def _frozen(
        self, machine: Interpreter, module: Value, layers: frozenset[int]
    ) -> frozenset[int]:
        """Those of a forward's layers that do not learn."""
        if not self._freezes:
            return frozenset()
        version = machine.store.version
        known = self._still.get(id(module))
        if known is None or known[0] != version:
            still = frozenset(self._ids.get(id(norm), -1) for norm in frozen_norms(module))
            known = self._still[id(module)] = (version, still)
        return layers & known[1]

    # --- data --------------------------------------------------------------------------------

    def call_module(
        self, machine: Interpreter, module: Value, arguments: Arguments, frame: Frame
    ) -> Value:
        """A forward: noted when the module holds anything that depends on the mode."""
        given = arguments.all()
        inputs = list(tensors_in(given))
        made = merge_tensors(inputs)
        assert isinstance(module, Layer | Instance)
        layers = self.reached(machine, module)
        if not layers:
            return replace(made, synthetic=False, dimensions=None)
        known = [v for v in given if list(tensors_in([v])) or isinstance(v, Known)]
        # A module that runs its own parts while it is built asks for a size.
        synthetic = bool(self._new) or (made.synthetic and len(known) == len(given))
        gradient = machine.gradients[-1]
        enabled = False if made.volatile else gradient.enabled
        output = self._output(machine, arguments.place, enabled)
        machine.events.append(
            Forward(
                model=self.model(machine, module),
                layers=layers,
                place=arguments.place,
                grad=enabled,
                output=output,
                batch=made.batch,
                loader=made.loader.place if made.loader is not None else None,
                batch_place=made.loader.decided if made.loader is not None else None,
                keeps_rest=made.loader.keeps_rest if made.loader is not None else None,
                frozen=self._frozen(machine, module, layers),
                synthetic=synthetic,
                dimensions=made.dimensions,
                context_place=gradient.place,
                checkpoint=machine.checkpoint,
                receiver=_receiver(arguments.callee, frame),
                flag=self._id(module) if has_flag(module) else None,
            )
        )
        sources = made.sources | {output}
        made = replace(made, synthetic=False, dimensions=None)
        return replace(made, sources=sources, detached=made.detached - {output})

    def call_torch(
        self, machine: Interpreter, module: Value, arguments: Arguments, frame: Frame
    ) -> Value:
        """`module.forward(x)` of a torch layer."""
        return self.call_module(machine, module, arguments, frame)

    def _output(self, machine: Interpreter, place: Place | None, grad: bool | None) -> int:
        """One number for each call of each chain, the same in every round of a loop; but rounds
        that record gradients are apart from those that do not."""
        chain = tuple(id(run.definition) for run in machine.invocations)
        return self._outputs.setdefault((chain, place, grad), len(self._outputs))

    def operation(
        self, machine: Interpreter, name: str, arguments: Arguments, frame: Frame
    ) -> Value:
        """An operation: its result depends on all that goes in."""
        return self._follow(machine, name, arguments)

    def comparison(
        self, machine: Interpreter, operator: str, left: Value, right: Value, place: Place
    ) -> Value:
        """An output that is held against a number becomes a prediction: `sigmoid(x) > 0.5`."""
        merged = merge_tensors(tensors_in([left, right]))
        if not merged.sources:
            return ANYTHING
        if operator in _THRESHOLDS and any(isinstance(hard(v), Known) for v in (left, right)):
            machine.events.append(Use(merged.sources, Usage.PREDICTION, place))
        return replace(merged, detached=merged.sources)

    def unknown_call(
        self, machine: Interpreter, name: str, arguments: Arguments, frame: Frame
    ) -> Value:
        """A call that cannot be seen."""
        if name in CLOCKS:
            machine.events.append(Clock(arguments.place))
        return self._follow(machine, name, arguments)

    def _follow(self, machine: Interpreter, name: str, arguments: Arguments) -> Value:
        tensors = list(tensors_in(arguments.all()))
        if not tensors:
            return ANYTHING
        merged = merge_tensors(tensors)
        last = name.rpartition(".")[2]
        usage = USAGES.get(last)
        if merged.sources and usage is not None:
            machine.events.append(Use(merged.sources, usage, arguments.place))
        if merged.dimensions is not None and not _keeps_size(name):
            merged = replace(merged, dimensions=None)
        return replace(merged, detached=merged.sources) if last in DETACH else merged

    def numbers_read(
        self, machine: Interpreter, tensors: Iterable[Tensor], place: Place | None
    ) -> None:
        """Plain numbers are made of tensors."""
        merged = merge_tensors(tensors)
        if merged.sources:
            machine.events.append(Use(merged.sources, Usage.NUMBER, place))

    def backward(
        self, machine: Interpreter, tensors: Iterable[Tensor], place: Place | None
    ) -> None:
        """Gradients flow back from these tensors."""
        every = machine.period.every if machine.period is not None else 1
        loss = merge_tensors(tensors)
        machine.events.append(Backward(loss.sources, place, every, loss.detached))

    def step(self, machine: Interpreter, optimizer: Parameters | None, place: Place | None) -> None:
        """An optimizer step. Where it is given single layers' weights, no model is named: nobody
        knows of a Conv2d which models it is a part of."""
        owners = optimizer.owners if optimizer is not None else ()
        stepped = [single for owner in owners for single in alternatives(owner)]
        modules = [m for m in stepped if isinstance(m, Layer | Instance) and is_module(m)]
        layers = {id(m) for m in modules if isinstance(m, Layer) and lookup(m.name)}
        by_layer = len(layers) > 1
        models = frozenset(() if by_layer else (self.model(machine, m) for m in modules))
        period = machine.period
        if period is None:
            machine.events.append(Step(models, place))
        else:
            machine.events.append(Step(models, place, period.every, period.place))

    def load_state(self, machine: Interpreter, module: Value, place: Place | None) -> None:
        """Weights are loaded into a module."""
        if isinstance(module, Layer | Instance):
            machine.events.append(LoadState(self.model(machine, module), place))

    def pretrained(self, machine: Interpreter, module: Value, place: Place | None) -> None:
        """A module was built with trained weights."""
        kinds = ((part, sensitive_kind(part)) for _, part in descendants(module))
        layers = [self._note_layer(part, "", kind) for part, kind in kinds if kind is not None]
        if layers:
            machine.events.append(Pretrained(frozenset(layers), place))

    def export(
        self, machine: Interpreter, module: Value, how: str, program: Value, arguments: Arguments
    ) -> None:
        """A module is exported by a call with these arguments; `program` is what comes out."""
        self._id(program)
        output = self._outputs.setdefault(("program", id(program)), len(self._outputs))
        for single in alternatives(module):
            if isinstance(single, Layer | Instance) and is_module(single):
                layers, model = self.reached(machine, single), self.model(machine, single)
                machine.events.append(
                    Export(model, layers, how, arguments.place, output, arguments.first)
                )

    def program_saved(self, machine: Interpreter, program: Value, place: Place | None) -> None:
        """An exported program is written away."""
        output = self._program(program)
        if output is not None:
            machine.events.append(Use(frozenset({output}), Usage.SAVED, place))

    def program_dropped(self, machine: Interpreter, program: Value) -> None:
        """Nobody uses an exported program."""
        output = self._program(program)
        for index, event in enumerate(machine.events if output is not None else ()):
            if isinstance(event, Export) and event.output == output:
                machine.events[index] = replace(event, discarded=True)

    def _program(self, program: Value) -> int | None:
        return self._outputs.get(("program", id(program)))

    def averaged(self, machine: Interpreter, module: Value, place: Place | None) -> None:
        """A module takes the average of the weights of another, but not of its statistics."""
        layers = self.sensitive(machine, module)
        machine.events.append(
            Averaged(layers, module.place if isinstance(module, Layer) else None, place)
        )

    def recalibrated(self, machine: Interpreter, module: Value, place: Place | None) -> None:
        """The running statistics of a module are estimated anew."""
        for single in alternatives(module):
            machine.events.append(Recalibrated(self.sensitive(machine, single), place))

    def prepare_training(self, machine: Interpreter, place: Place | None) -> None:
        """What was exported or fused is prepared to be trained further."""
        machine.events.append(PrepareTraining(place))

    def fitted(self, machine: Interpreter, module: Value, place: Place | None) -> None:
        """A framework trains a module; its mode is unknown then, since versions differ in what they
        set, but that of layers that are frozen and in training mode: no version changes these."""
        held = self._hold(machine, module)
        frozen = self._frozen_in(module) & held.layers
        others, how = held.layers - frozen, "fit(), which cannot be seen"
        if frozen and isinstance(module, Layer | Instance):
            model, output = self.model(machine, module), self._output(machine, place, True)
            machine.events += [
                Forward(model, frozen, place, True, output, frozen=frozen),
                Backward(frozenset({output}), place),
                Step(frozenset({model}), place),
            ]
        if others or held.flags:
            machine.events.append(SetMode(others, Mode.UNKNOWN, place, how, flags=held.flags))

    def _frozen_in(self, module: Value) -> frozenset[int]:
        """The BatchNorm layers of a module that do not learn while it is trained."""
        still = frozen_norms(module, is_trained=True) if self._freezes else []
        return frozenset(self._ids.get(id(norm), -1) for norm in still)

    def distribute(self, machine: Interpreter, module: Value, place: Place | None) -> None:
        """A module is wrapped to be trained by several processes."""
        for single in alternatives(module):
            if isinstance(single, Layer | Instance) and is_module(single):
                layers = self.sensitive(machine, single)
                machine.events.append(Distribute(self.model(machine, single), layers, place))

    def sync_norms(self, machine: Interpreter, module: Value, place: Place | None) -> None:
        """The BatchNorm layers of a module are converted to synchronised ones."""
        found = [m for m in alternatives(module) if isinstance(m, Layer | Instance)]
        for single in found:
            distributed = isinstance(single, Layer) and single.name in DISTRIBUTED
            machine.events.append(
                SyncNorms(
                    self.model(machine, single),
                    self.sensitive(machine, single),
                    place,
                    single.place if distributed and len(found) == 1 else None,
                    is_layer=kind_of(single) is Kind.BATCHNORM and len(found) == 1,
                )
            )

    def statement(self, machine: Interpreter, value: Value, place: Place) -> None:
        """The value of an expression statement is dropped: so is the output of a forward, or a
        layer that was converted."""
        if not machine.events:
            return
        match value, machine.events[-1]:
            case Tensor(), Forward() as last if last.place == place:
                machine.events[-1] = replace(last, discarded=True)
            case Layer() | Instance(), SyncNorms(model=model) as last if self._is(value, model):
                machine.events[-1] = replace(last, discarded=True)
            case Namespace(), Export() as last if last.place == place:
                machine.events[-1] = replace(last, discarded=True)

    def mode_not_called(
        self, machine: Interpreter, receiver: Value, expression: ir.Attribute, place: Place
    ) -> None:
        """`model.eval` as a statement, on anything that may be a module."""
        self.judged[place] = None
        if isinstance(receiver, Namespace | Known):
            return
        if isinstance(receiver, Instance) and not is_module_class(receiver.cls):
            return
        name = ir_name(expression.value)
        machine.events.append(ModeNotCalled(expression.attr, name, place))


DETACH = frozenset({"detach", "detach_"})
SAVERS = frozenset(
    "imwrite save_image imsave to_csv savez writer save savetxt dump create_dataset".split()
)
USAGES = {
    **dict.fromkeys(PREDICTIONS, Usage.PREDICTION),
    **dict.fromkeys(SAVERS, Usage.SAVED),
    "numpy": Usage.NUMBER,
}
"""What becomes of the outputs that are given to a function, by its last name."""
_THRESHOLDS = frozenset({"LessThan", "LessThanEqual", "GreaterThan", "GreaterThanEqual"})


_KEEPS_SIZE = frozenset({Kind.IDENTITY, Kind.ACTIVATION, Kind.GATE})
CLOCKS = frozenset({"time.time", "time.perf_counter", "time.monotonic", "timeit.default_timer"})


def _keeps_size(name: str) -> bool:
    """Whether a function hands out a tensor of the size that it was given."""
    known = lookup(name)
    return name in VARIABLES or (known is not None and known.kind in _KEEPS_SIZE)


def _receiver(callee: str, frame: Frame) -> str:
    """What the program calls the model that it calls; "" for a part of a model in one of its own
    methods, whose mode is set with that of the whole."""
    receiver = callee.removesuffix(".forward")
    owner, _, part = receiver.partition(".")
    return (
        "" if part and owner == "self" and is_module(frame.value("self") or ANYTHING) else receiver
    )
