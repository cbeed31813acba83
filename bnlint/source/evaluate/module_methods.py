"""The methods that every nn.Module has."""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.finding import Place
from bnlint.graph import Kind
from bnlint.records import replace
from bnlint.source.evaluate.containers import Containers
from bnlint.source.evaluate.core import Core
from bnlint.source.evaluate.functions import Functions
from bnlint.source.evaluate.known_models import is_known_model
from bnlint.source.evaluate.module_classes import (
    TorchLayer,
    children,
    descendants,
    entries_of,
    external_base,
    is_container,
    is_module,
    is_module_class,
    is_module_dict,
    kind_of,
)
from bnlint.source.functional_dropout import is_optional_rate
from bnlint.source.joining import one_of
from bnlint.source.toggling import takes_mode
from bnlint.source.values import (
    ANYTHING,
    ITEMS,
    LAYER,
    NONE,
    OPTIONAL,
    Alternatives,
    Arguments,
    Choice,
    Element,
    Frame,
    FunctionObject,
    Group,
    HeapObject,
    Instance,
    Known,
    Layer,
    Mapping,
    ModeFlag,
    Parameters,
    Repeat,
    Sequence,
    Super,
    Value,
    alternatives,
    flat,
    hard,
    items_of,
)
from bnlint.torchnames import CONTAINERS, lookup
from bnlint.trace import Mode

SAME_OBJECT = frozenset(
    (
        "to cuda cpu half float double bfloat16 type share_memory xpu ipu npu compile to_empty fuse"
    ).split()
)
"""Methods that return the module itself and leave its mode alone."""


def _flag_of(value: Value, modules: tuple[Value, ...]) -> ModeFlag | None:
    """The flag that a value is: where one of several models is meant, that of the model itself."""
    flags = [single for single in alternatives(value) if isinstance(single, ModeFlag)]
    own = [flag for flag in flags if len(modules) == 1 and flag.owner is modules[0]]
    if len(own) == 1:
        return own[0]
    return value if isinstance(value, ModeFlag) else None


def _takes_mode(method: FunctionObject) -> bool:
    """Whether a `train` switches modes, and is not a training loop of that name."""
    return takes_mode(method.definition.parameters[1:])


class ModuleMethods(Functions, Containers, Core):
    """Methods of modules, looked up on torch's own classes."""

    def module_method(
        self, module: Layer | Instance, name: str, arguments: Arguments, frame: Frame
    ) -> Value:
        """`module.name(arguments)` where no project class defines the method."""
        first = arguments.positional[0] if arguments.positional else None
        match name:
            case "eval":
                self._evaluate((module,), arguments.place, frame)
                return module
            case "train":
                self._train((module,), arguments, frame)
                return module
            case "forward" | "__call__":
                return self.call_torch_forward(module, arguments, frame)
            case "parameters":
                return Parameters((module,), listing="plain")
            case "named_parameters":
                return Parameters((module,), listing="named")
            case "buffers" | "state_dict":
                return Parameters((module,))
            case "requires_grad_":
                self.freeze(Parameters((module,)), arguments)
                return module
            case "modules":
                return self._groups(module, named=False)
            case "named_modules":
                return self._groups(module, named=True)
            case "children" | "named_children":
                return self._children(module, named=name == "named_children")
            case "add_module" | "register_module":
                self._add_module(module, arguments)
                return NONE
            case "apply":
                return self._apply(module, first, frame)
            case "load_state_dict":
                self.domain_load_state(module, arguments.place)
                return ANYTHING
            case "get_submodule":
                return self._submodule(module, first)
            case "items" | "values" | "keys":
                return self._entries_of(module, name)
            case "__setattr__":
                given = Arguments([module, *arguments.positional], place=arguments.place)
                return self.call_external("builtins.setattr", given, frame)
            case "_conv_forward":
                return self.call_torch_forward(module, arguments, frame)
            case _ if name in SAME_OBJECT:
                return module
            case _ if is_container(module):
                return self.sequence_method(module, name, arguments)
            case "__getitem__":
                return ANYTHING
        return self.unknown_module_method(module, name, arguments, frame)

    def freeze(self, parameters: Parameters, arguments: Arguments) -> None:
        """`requires_grad_(flag)`, by default True."""
        learns = self.truth(arguments.get(0, "requires_grad") or Known(True))
        self.set_learning(parameters, learns, arguments.place)

    def mode_argument(self, value: Value | None) -> tuple[Mode, str]:
        """The mode that `train(value)` sets."""
        if value is None:
            return Mode.TRAIN, "train()"
        truth = self.truth(value)
        if truth is None:
            return Mode.UNKNOWN, "train(...)"
        return (Mode.TRAIN, "train(True)") if truth else (Mode.EVAL, "train(False)")

    def _train(self, modules: tuple[Value, ...], arguments: Arguments, frame: Frame) -> None:
        value = arguments.get(0, "mode")
        mode, how = self.mode_argument(value)
        flag = _flag_of(value, modules) if value is not None else None
        place = arguments.place
        if mode is Mode.EVAL and self.evaluated is not None and modules == self.evaluated[:1]:
            how, place = "eval()", self.evaluated[1]
        self.set_mode_of(modules, mode, place, how, frame, flag)

    def _evaluate(self, modules: tuple[Value, ...], place: Place | None, frame: Frame) -> None:
        """`eval()` of torch, which calls `train(False)`: the one that the class has."""
        told, outer = Arguments([Known(False)], place=place), self.evaluated
        rest: list[Value] = []
        for module in modules:
            self.evaluated = (module, place)
            try:
                rest += self._left_to_torch((module,), told)
            finally:
                self.evaluated = outer
        self.set_mode_of(tuple(rest), Mode.EVAL, place, "eval()", frame)

    def _left_to_torch(self, modules: tuple[Value, ...], arguments: Arguments) -> tuple[Value, ...]:
        """Call the `train` of the modules whose class has one that takes a mode; the others."""
        rest: list[Value] = []
        for module in modules:
            override = self._train_of(module)
            if override is not None and _takes_mode(override):
                self.call_function(override, arguments)
            else:
                rest.append(module)
        return tuple(rest)

    def set_mode_of(
        self,
        modules: tuple[Value, ...],
        mode: Mode,
        place: Place | None,
        how: str,
        frame: Frame,
        flag: ModeFlag | None = None,
    ) -> None:
        """Set the mode of modules as nn.Module.train does: overrides of children are honoured.

        flag: the mode that was read before and is restored.
        """
        if not modules:
            return
        note = flag.note if flag is not None else None
        overrides = [found for module in modules for found in self._overriding(module)]
        apart = tuple(override.receiver for override in overrides if override.receiver)
        self.emit_mode(modules, mode, place, how, note, apart)
        known = Known({Mode.TRAIN: True, Mode.EVAL: False}.get(mode))
        given: Value = (flag or ANYTHING) if mode is Mode.UNKNOWN else known
        for override in overrides:
            self.call_function(override, Arguments([given], place=place))

    def _overriding(self, module: Value) -> Iterator[FunctionObject]:
        """The `train` methods of modules below that have one of their own, the uppermost of each
        branch: what becomes of the modules below these is their affair."""
        seen = {id(module)}
        pending = [child for _, child in reversed(children(module))]
        while pending:
            child = pending.pop()
            if id(child) in seen:
                continue
            seen.add(id(child))
            override = self._train_of(child)
            if override is not None:
                yield override
            else:
                pending += [below for _, below in reversed(children(child))]

    def _train_of(self, module: Value) -> FunctionObject | None:
        """The `train` that a project class defines for a module, bound to it."""
        if not isinstance(module, Instance) or not is_module_class(module.cls):
            return None
        override = self.find(module.cls, "train")
        return replace(override, receiver=module) if isinstance(override, FunctionObject) else None

    def _groups(self, module: Value, *, named: bool) -> Value:
        """All modules, grouped by class: what a loop over them does depends on the class only."""
        return self._grouped([current for _, current in descendants(module)], named=named)

    def _grouped(self, modules: list[Value], *, named: bool = False) -> Value:
        groups: dict[object, list[Value]] = {}
        for current in modules:
            key: object = current.cls if isinstance(current, Instance) else ""
            if isinstance(current, Layer):
                key = current.name
            groups.setdefault(key, []).append(current)
        elements: list[Element] = []
        for members in groups.values():
            group = Group(tuple(members)) if len(members) > 1 else members[0]
            elements.append(Sequence("tuple", (ANYTHING, group)) if named else group)
        return Sequence("list", tuple(elements))

    def _children(self, module: Layer | Instance, *, named: bool) -> Value:
        is_open = isinstance(module, Layer) and not is_container(module) and not lookup(module.name)
        if is_open and not is_known_model(module):
            return Sequence("list", (Repeat((module,)),))  # stands for its unseen children
        found: list[Element] = []
        if is_container(module) and not named:
            return Sequence("list", items_of(module))
        for name, child in entries_of(module).values().items():
            found.append(Sequence("tuple", (Known(name), child)) if named else child)
        return Sequence("list", tuple(found))

    def _add_module(self, module: Layer | Instance, arguments: Arguments) -> None:
        name = hard(arguments.get(0, "name") or ANYTHING)
        child = arguments.get(1, "module") or ANYTHING
        if is_container(module) and not is_module_dict(module):
            self.store.write(module, ITEMS, (*items_of(module), child))
        if isinstance(name, Known) and isinstance(name.value, str):
            self.store.write(module, name.value, child)

    def join_container(self, obj: HeapObject, name: str, child: Value) -> None:
        """An attribute of a Sequential that is a module runs with its elements."""
        if not isinstance(obj, Layer | Instance) or ITEMS not in obj.fields or is_module_dict(obj):
            return
        if not all(is_module(single) for single in alternatives(child)):
            return
        items = items_of(obj)
        before = obj.fields.get(name)
        if before is not None and any(element is before for element in items):
            replaced = tuple(child if element is before else element for element in items)
            self.store.write(obj, ITEMS, replaced)
        else:
            self.store.write(obj, ITEMS, (*items, child))

    def _apply(self, module: Value, function: Value | None, frame: Frame) -> Value:
        if function is not None:
            # the children come first, as in nn.Module.apply
            parts = [current for _, current in descendants(module)]
            groups = self._grouped(parts[::-1])
            for group in flat(self.elements(groups) or ()):
                self.call(function, Arguments([group]), frame)
        return module

    def _submodule(self, module: Layer | Instance, path: Value | None) -> Value:
        if not (isinstance(path, Known) and isinstance(path.value, str)):
            return ANYTHING
        return next((m for name, m in descendants(module) if name == path.value), ANYTHING)

    def _entries_of(self, module: Layer | Instance, name: str) -> Value:
        return self.mapping_method(entries_of(module), name, Arguments())

    def group_method(self, group: Group, name: str, arguments: Arguments, frame: Frame) -> Value:
        """A method called on each module of a loop over `model.modules()`."""
        match name:
            case "eval":
                self._evaluate(group.members, arguments.place, frame)
            case "train":
                rest = self._left_to_torch(group.members, arguments)
                self._train(rest, arguments, frame)
            case "parameters":
                return Parameters(group.members, listing="plain")
            case "requires_grad_":
                self.freeze(Parameters(group.members), arguments)
        return ANYTHING

    # --- construction ------------------------------------------------------------------------

    def initialize_external(self, instance: Instance, arguments: Arguments) -> None:
        """`super().__init__(...)` that reaches torch: what the instance then is."""
        base = external_base(instance.cls)
        if base is None:
            return
        if base in CONTAINERS:
            self._fill_container(instance, base, arguments)
        elif lookup(base) is not None:
            instance.fields[LAYER] = TorchLayer(base, self.layer_parameters(base, arguments))
            self.layer_created(instance)
        else:
            self.layer_created(instance)

    def build_layer(self, name: str, arguments: Arguments) -> Layer:
        """Build a torch layer or container."""
        if name in CONTAINERS:
            container = Layer(name, {}, arguments.place)
            self._fill_container(container, name, arguments)
            return container
        layer = Layer(name, self.layer_parameters(name, arguments), arguments.place)
        if kind_of(layer) is Kind.DROPOUT and is_optional_rate(arguments.get(0, "p") or NONE):
            layer.fields[OPTIONAL] = True
        self.layer_created(layer)
        return layer

    def _fill_container(self, container: Layer | Instance, name: str, arguments: Arguments) -> None:
        items: tuple[Element, ...] = tuple(arguments.positional)
        single = arguments.positional[0] if len(arguments.positional) == 1 else None
        if name == "torch.nn.ModuleDict":
            container.fields[ITEMS] = ()
            if isinstance(single, Mapping):
                container.fields.update(single.fields)
            return
        if name == "torch.nn.ModuleList" and single is not None:
            found = self.elements(single)
            items = (Repeat((ANYTHING,)),) if found is None else found
        elif isinstance(single, Mapping):
            items = self._named_items(container, single)
        elif isinstance(single, Alternatives) and {type(v) for v in single.values} == {Mapping}:
            mappings = [value for value in single.values if isinstance(value, Mapping)]
            items = (Choice(tuple(self._named_items(container, each) for each in mappings)),)
        if arguments.unknown and single is not None and single is ANYTHING:
            items = (Repeat((ANYTHING,)),)
        container.fields[ITEMS] = items

    def _named_items(self, container: Layer | Instance, named: Mapping) -> tuple[Element, ...]:
        """The modules of a dictionary, which become attributes of the container, too."""
        items: list[Element] = []
        for name, module in named.fields.items():
            if isinstance(module, bool):
                continue  # the OPEN flag
            known = container.fields.get(name)
            both = module if known is None else one_of((known, module))  # type: ignore[arg-type]
            container.fields[name] = both
            items.append(module)  # type: ignore[arg-type]  # fields hold values
        return tuple(items)

    def super_method(self, value: Super, name: str, arguments: Arguments, frame: Frame) -> Value:
        """`super().name(...)` that no project class answers: torch's own method."""
        receiver = value.receiver
        if not isinstance(receiver, Instance):
            return ANYTHING
        if name == "__init__":
            self.initialize_external(receiver, arguments)
            return NONE
        if name in ("__setattr__", "__setitem__") and len(arguments.positional) == 2:
            key = hard(arguments.positional[0])
            if isinstance(key, Known):
                self.store.write(receiver, key.value, arguments.positional[1])
            return NONE
        if is_module(receiver) or name in ("train", "eval"):
            return self.module_method(receiver, name, arguments, frame)
        return ANYTHING
