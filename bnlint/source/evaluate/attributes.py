"""Attribute access, imports and the dispatch of calls."""

from __future__ import annotations

from bnlint.source.evaluate.core import Core
from bnlint.source.evaluate.dynamic_imports import has_name
from bnlint.source.evaluate.freezing import own_parameter
from bnlint.source.evaluate.functions import Functions
from bnlint.source.evaluate.module_classes import (
    entries_of,
    external_base,
    is_module,
    is_module_class,
)
from bnlint.source.joining import ABSENT, one_of
from bnlint.source.noticed import ALL_NAMES
from bnlint.source.values import (
    ANYTHING,
    ITEMS,
    NONE,
    Alternatives,
    Arguments,
    ClassObject,
    External,
    Frame,
    FunctionObject,
    Group,
    HeapObject,
    Instance,
    Known,
    Layer,
    Mapping,
    Method,
    ModeFlag,
    ModuleReference,
    ModuleScope,
    Namespace,
    Parameters,
    Partial,
    Sequence,
    Soft,
    Super,
    Tensor,
    Value,
)


class Attributes(Functions, Core):
    """`value.name`, `import`, and which kind of thing is being called."""

    def attribute(self, value: Value, name: str, frame: Frame) -> Value:
        """`value.name`."""
        if value is ANYTHING or type(value) is Known:  # most often; the kinds below take long
            return Method(value, name)
        if type(value) is Instance:
            return self._instance_attribute(value, name)
        if type(value) is External:
            return External(f"{value.name}.{name}")
        match value:
            case Alternatives(values):
                feasible = [single for single in values if single != NONE]
                named = [single for single in feasible if has_name(self, single, name)]
                return one_of(self.attribute(single, name, frame) for single in named or feasible)
            case ModuleReference(scope):
                return self._module_attribute(scope, name)
            case ClassObject():
                self.noticed.build(value)
                if name in ("__name__", "__qualname__"):
                    return Known(value.name)
                found = self.find(value, name)
                if found is not None:
                    return self.bind_method(found, value)
                base = external_base(value)
                return External(f"{base}.{name}") if base else ANYTHING
            case Super(receiver, owner):
                return self._super_attribute(receiver, owner, name)
            case Namespace():
                return self._namespace_attribute(value, name)
            case Soft(Known()):
                return Method(value, name)
            case Soft(inner):
                return self.attribute(inner, name, frame)
            case FunctionObject() if name in ("__name__", "__qualname__"):
                return Known(value.name)
            case Tensor() | Method(Tensor(), _):
                tensor = value.receiver if isinstance(value, Method) else value
                assert isinstance(tensor, Tensor)
                if name in ("T", "mT"):
                    return self.operate("torch.Tensor.t", Arguments([tensor]), frame)
                return self.tensor_attribute(tensor, name)
            case Layer():
                found = value.value(name)
                if found is not None:
                    return found
                if ITEMS in value.fields and name.isdigit():
                    return self.call_method(
                        value, "__getitem__", Arguments([Known(int(name))]), frame
                    )
                return self.layer_attribute(value, name)
            case Parameters() if name == "requires_grad":
                return ANYTHING
            case Group(members) if name in ("weight", "bias") and not self.draws_layers:
                return own_parameter(members, name)
            case Sequence() | Mapping() | Group() | Parameters():
                return Method(value, name)
        return ANYTHING

    def tensor_attribute(self, value: Tensor, name: str) -> Value:
        """An attribute of data: `x.shape`, or a method."""
        match name:
            case "shape" | "ndim" | "device" | "dtype" | "is_cuda":
                return ANYTHING
            case "requires_grad":
                return self.is_training()
            case "data" | "real" | "grad":
                return value
        return Method(value, name)

    def layer_attribute(self, value: Layer, name: str) -> Value:
        """An attribute of a torch layer: a parameter of its constructor, or a method."""
        parameter = value.parameters.get(name, ABSENT)
        if isinstance(parameter, int | float | str | bool) or parameter is None:
            return Known(parameter)
        if name == "training":
            return self._mode_flag(value)
        if name in ("weight", "bias") and not self.draws_layers:
            return own_parameter((value,), name)
        if name in ("weight", "bias", "running_mean", "running_var"):
            return ANYTHING
        if name == "_modules":
            return entries_of(value)
        if name == "module" and is_module(value):
            return value
        return Method(value, name)

    def _module_attribute(self, scope: ModuleScope, name: str) -> Value:
        self.import_module(scope)
        self.noticed.asked(scope, (name,))
        found = scope.value(name)
        if found is not None:
            if self.recall.listening is not None:
                self.recall.read(found, scope)
            return found
        submodule = self.project.submodule(scope, name)
        if submodule is not None:
            self.import_module(submodule)
            return ModuleReference(submodule)
        if (known := self.starred(scope, name)) is not None:
            return known
        if name == "__dict__":
            self.noticed.asked(scope, (ALL_NAMES,))
            return self._as_mapping(scope)
        if name == "__getattribute__":
            return Partial(External("builtins.getattr"), (ModuleReference(scope),), ())
        return ANYTHING

    def _as_mapping(self, obj: HeapObject) -> Mapping:
        mapping = Mapping()
        mapping.fields.update(obj.values() if isinstance(obj, ModuleScope) else obj.fields)
        return mapping

    def _instance_attribute(self, instance: Instance, name: str) -> Value:
        own = instance.value(name)
        if own is not None:
            return own
        found = self.find(instance.cls, name)
        if found is not None:
            return self.bind_method(found, instance)
        if name == "__class__":
            return instance.cls
        if name == "__dict__":
            return self._as_mapping(instance)
        if name.isdigit() and ITEMS in instance.fields:
            arguments = Arguments([Known(int(name))])
            return self.call_method(instance, "__getitem__", arguments, instance.cls.frame)
        return self.missing_attribute(instance, name)

    def _mode_flag(self, module: Instance | Layer) -> Value:
        known = self.is_training()
        return ModeFlag(module, self.read_mode(module)) if known is ANYTHING else known

    def missing_attribute(self, instance: Instance, name: str) -> Value:
        """An attribute that the text never sets: inherited from outside, or unknown."""
        if name == "training":
            return self._mode_flag(instance)
        if name == "_modules":
            return entries_of(instance)
        if name == "module" and is_module_class(instance.cls):
            return instance  # read where it is wrapped, which the text has shown in part only
        return Method(instance, name)

    def _super_attribute(self, receiver: Value, owner: ClassObject, name: str) -> Value:
        cls = receiver.cls if isinstance(receiver, Instance) else receiver
        if isinstance(cls, ClassObject):
            found = self.find(cls, name, after=owner)
            if found is not None:
                return self.bind_method(found, receiver)
        return Method(Super(receiver, owner), name)

    def _namespace_attribute(self, value: Namespace, name: str) -> Value:
        found = value.value(name)
        if found is not None:
            return found
        return Method(value, name)

    # --- calls -------------------------------------------------------------------------------

    def call(self, function: Value, arguments: Arguments, frame: Frame) -> Value:
        """Call a value."""
        if type(function) is Method:  # most often; the kinds below take long
            return self.call_method(function.receiver, function.name, arguments, frame)
        if type(function) is External:
            return self.call_external(function.name, arguments, frame)
        match function:
            case FunctionObject():
                return self.call_function(function, arguments)
            case ClassObject():
                return self.construct(function, arguments)
            case Alternatives(values):
                return self._call_one_of(values, arguments, frame)
            case Partial():
                return self._call_partial(function, arguments, frame)
            case Instance() | Layer() | Group():
                return self.call_object(function, arguments, frame)
            case Soft(value):
                return self.call(value, arguments, frame)
        return self.call_unknown(function, arguments, frame)

    def _call_one_of(
        self, functions: tuple[Value, ...], arguments: Arguments, frame: Frame
    ) -> Value:
        feasible = [function for function in functions if function != NONE]
        if len(feasible) == 1:
            return self.call(feasible[0], arguments, frame)
        if all(isinstance(function, Method) for function in feasible):
            # one variable: what is done to each alternative is done to the real one
            return one_of(self.call(function, arguments, frame) for function in feasible)
        values: list[Value] = []

        def run(function: Value) -> bool:
            values.append(self.call(function, arguments, frame))
            return True

        self.branch([lambda f=function: run(f) for function in feasible])  # type: ignore[misc]
        return one_of(values)

    def _call_partial(self, partial: Partial, arguments: Arguments, frame: Frame) -> Value:
        merged = Arguments(
            [*partial.arguments, *arguments.positional],
            {**dict(partial.keywords), **arguments.keywords},
            arguments.unknown,
            arguments.place,
        )
        return self.call(partial.function, merged, frame)
