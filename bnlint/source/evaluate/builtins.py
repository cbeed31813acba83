"""Python's built-in functions, and the few of the standard library that models are built with."""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Mapping as MappingType
from functools import cached_property

from bnlint.source import ir
from bnlint.source.evaluate.configurations import CLASSES as CONFIGURATIONS
from bnlint.source.evaluate.configurations import configuration
from bnlint.source.evaluate.core import Core
from bnlint.source.evaluate.domain import tensors_in
from bnlint.source.evaluate.dynamic_imports import import_by_name
from bnlint.source.evaluate.folding import fold_binary, soft
from bnlint.source.evaluate.instances import is_instance, is_subclass
from bnlint.source.evaluate.iteration import Iteration
from bnlint.source.evaluate.module_classes import torch_layer
from bnlint.source.joining import merge_tensors, one_of
from bnlint.source.noticed import ALL_NAMES
from bnlint.source.values import (
    ANYTHING,
    NONE,
    OPEN,
    Alternatives,
    Arguments,
    ClassObject,
    External,
    Frame,
    FunctionObject,
    HeapObject,
    Instance,
    Known,
    Layer,
    Mapping,
    ModuleReference,
    Namespace,
    Partial,
    Sequence,
    Soft,
    Super,
    Value,
    alternatives,
    flat,
    hard,
    is_exact,
    items_of,
    maybe_absent,
)


class Builtins(Iteration, Core):
    """Built-in functions; `None` from a handler means: not answered here."""

    def call_builtin(self, name: str, arguments: Arguments, frame: Frame) -> Value | None:
        """Call a built-in or standard-library function; None when it is not one of them."""
        if name in NUMBERS:
            return self._number(name, arguments)
        if name in ("torch.linspace", "numpy.linspace"):
            return self._spaced(arguments)
        handler = self._builtin_table.get(name)
        return handler(arguments, frame) if handler is not None else None

    @cached_property
    def _builtin_table(self) -> MappingType[str, Callable[[Arguments, Frame], Value]]:
        return {
            "builtins.range": self._range,
            "builtins.len": lambda a, f: self.length(self._first(a)),
            "builtins.list": self._to_sequence,
            "builtins.tuple": self._to_sequence,
            "builtins.set": self._to_sequence,
            "builtins.sorted": self._to_sequence,
            "builtins.iter": self._to_sequence,
            "builtins.reversed": self._reversed,
            "builtins.zip": self._zip,
            "builtins.enumerate": self._enumerate,
            "builtins.map": self._map,
            "builtins.filter": self._filter,
            "builtins.any": lambda a, f: self._any(a, True),
            "builtins.all": lambda a, f: self._any(a, False),
            "itertools.pairwise": self._pairwise,
            "builtins.isinstance": self._isinstance,
            "builtins.issubclass": self._issubclass,
            "builtins.eval": self._eval,
            "builtins.getattr": self._getattr,
            "builtins.hasattr": self._hasattr,
            "builtins.setattr": self._setattr,
            "builtins.super": self._super,
            "builtins.type": self._type,
            "builtins.dict": self._to_mapping,
            "builtins.callable": lambda a, f: self._callable(self._first(a)),
            "builtins.vars": lambda a, f: self.attribute(self._first(a), "__dict__", f),
            "builtins.globals": lambda a, f: self._globals(f),
            "builtins.next": lambda a, f: self._loose_element(self._first(a)),
            "builtins.print": lambda a, f: NONE,
            "builtins.sum": self._sum,
            "math.prod": self._prod,
            "numpy.prod": self._prod,
            "builtins.exit": lambda a, f: External("never returns"),
            "builtins.quit": lambda a, f: External("never returns"),
            "sys.exit": lambda a, f: External("never returns"),
            "os._exit": lambda a, f: External("never returns"),
            "functools.partial": self._partial,
            "collections.OrderedDict": self._to_mapping,
            "itertools.product": self._product,
            "itertools.chain": self._chain,
            "tqdm.tqdm": lambda a, f: self._first(a),
            "tqdm.auto.tqdm": lambda a, f: self._first(a),
            "tqdm.notebook.tqdm": lambda a, f: self._first(a),
            "tqdm.trange": self._range,
            "copy.copy": lambda a, f: self._first(a),
            "typing.cast": lambda a, f: a.get(1, "val") or ANYTHING,
            "types.SimpleNamespace": self._namespace,
            "argparse.Namespace": self._namespace,
            "functools.reduce": self._reduce,
            "argparse.ArgumentParser": lambda a, f: Namespace("parser"),
            "importlib.import_module": lambda a, f: import_by_name(self, a, f),
            **dict.fromkeys(CONFIGURATIONS, lambda a, f: configuration(self._first(a))),
        }

    def _namespace(self, arguments: Arguments, frame: Frame) -> Value:
        """An object with the attributes given: `SimpleNamespace(width=4)`."""
        made = Namespace("namespace")
        made.fields.update(arguments.keywords)
        return made

    def _issubclass(self, arguments: Arguments, frame: Frame) -> Value:
        if len(arguments.positional) != 2:
            return ANYTHING
        result = is_subclass(*arguments.positional)
        return ANYTHING if result is None else Known(result)

    def _callable(self, value: Value) -> Value:
        if isinstance(value, FunctionObject | ClassObject | External | Partial | Layer):
            return Known(True)
        return Known(False) if isinstance(value, Known | Sequence | Mapping) else ANYTHING

    def _prod(self, arguments: Arguments, frame: Frame) -> Value:
        """The product of a list of numbers; with an axis or a start it is not followed."""
        elements = self.elements(self._first(arguments))
        if elements is None or not is_exact(elements) or len(arguments.all()) > 1:
            return ANYTHING
        total: Value = Known(1)
        for element in elements:
            total = fold_binary("Multiply", total, element)
        return total

    def _isinstance(self, arguments: Arguments, frame: Frame) -> Value:
        if len(arguments.positional) != 2:
            return ANYTHING
        value, classes = arguments.positional
        wanted = self.elements(classes) if isinstance(classes, Sequence) else (classes,)
        if wanted is None:
            return ANYTHING
        per_value = [
            {is_instance(single, cls) for cls in flat(wanted)}
            for single in self.group_members(value)
        ]
        results = {
            True if True in found else None if None in found else False for found in per_value
        }
        if len(results) == 1:
            result = results.pop()
            return ANYTHING if result is None else Known(result)
        return ANYTHING

    def _getattr(self, arguments: Arguments, frame: Frame) -> Value:
        given = arguments.get(1, "name") or ANYTHING
        name = hard(given)
        owner = self._first(arguments)
        if isinstance(name, Known) and isinstance(name.value, str):
            found = self.attribute(owner, name.value, frame)
            if found is ANYTHING and isinstance(given, Soft) and isinstance(owner, ModuleReference):
                self.noticed.asked(owner.scope, (ALL_NAMES,))
                return self.any_builder(owner.scope.values().values())
            absent = isinstance(owner, Instance) and name.value in maybe_absent(owner)
            if (found is ANYTHING or absent) and len(arguments.positional) > 2:
                return one_of((found, arguments.positional[2]))
            return found
        if isinstance(owner, External):
            return External(f"{owner.name}.?")
        if isinstance(owner, ModuleReference):
            self.import_module(owner.scope)
            self.noticed.asked(owner.scope, (ALL_NAMES,))
            return self.any_builder(owner.scope.values().values())
        return ANYTHING

    def _eval(self, arguments: Arguments, frame: Frame) -> Value:
        """`eval("models.resnet.build")`: what a dotted name means; nothing else is followed."""
        return one_of(
            self._named_by(hard(text), frame) for text in alternatives(self._first(arguments))
        )

    def _named_by(self, text: Value, frame: Frame) -> Value:
        if not isinstance(text, Known) or not isinstance(text.value, str):
            return ANYTHING
        first, *rest = text.value.strip().split(".")
        if not all(part.isidentifier() for part in (first, *rest)):
            return ANYTHING
        nowhere = (0, 0)
        name: ir.Expression = ir.Name(first, nowhere)
        for part in rest:
            name = ir.Attribute(name, part, nowhere)
        return self.evaluate(name, frame)

    def _hasattr(self, arguments: Arguments, frame: Frame) -> Value:
        name = hard(arguments.get(1, "name") or ANYTHING)
        owner = self._first(arguments)
        if (
            isinstance(owner, Instance | Layer)
            and isinstance(name, Known)
            and name.value in owner.fields
            and name.value not in maybe_absent(owner)
        ):
            return Known(True)
        if (
            isinstance(owner, Instance)
            and isinstance(name, Known)
            and name.value not in owner.fields
        ):
            return self._has_by_class(owner, str(name.value))
        return ANYTHING

    def _has_by_class(self, owner: Instance, name: str) -> Value:
        """Whether an object has an attribute that its constructor has not set."""
        bases = list(owner.cls.linearization())
        if any(isinstance(base, ClassObject) and name in base.fields for base in bases):
            return Known(True)
        outside = [base for base in bases if not isinstance(base, ClassObject)]
        plain = all(isinstance(b, External) and b.name in PLAIN_BASES for b in outside)
        return (
            Known(False)
            if plain and name not in MODULE_ATTRIBUTES and name[:1] != "_"
            else ANYTHING
        )

    def _setattr(self, arguments: Arguments, frame: Frame) -> Value:
        name = hard(arguments.get(1, "name") or ANYTHING)
        owner = self._first(arguments)
        if (
            isinstance(owner, HeapObject)
            and isinstance(name, Known)
            and isinstance(name.value, str)
            and len(arguments.positional) > 2
        ):
            self.join_container(owner, name.value, arguments.positional[2])
            self.store.write(owner, name.value, arguments.positional[2])
        return NONE

    def _super(self, arguments: Arguments, frame: Frame) -> Value:
        scope: Frame | None = frame
        while scope is not None and (scope.owner is None or scope.receiver is None):
            scope = scope.outer
        if len(arguments.positional) == 2 and isinstance(arguments.positional[0], ClassObject):
            return Super(arguments.positional[1], arguments.positional[0])
        if scope is None or scope.owner is None or scope.receiver is None:
            return ANYTHING
        return Super(scope.receiver, scope.owner)

    def _type(self, arguments: Arguments, frame: Frame) -> Value:
        return one_of(class_of(single) for single in alternatives(self._first(arguments)))

    def _to_mapping(self, arguments: Arguments, frame: Frame) -> Value:
        mapping = Mapping()
        source = arguments.positional[0] if arguments.positional else None
        if isinstance(source, Alternatives):
            each = (Arguments([single], arguments.keywords) for single in source.values)
            return one_of(self._to_mapping(given, frame) for given in each)
        if isinstance(source, Mapping):
            mapping.fields.update(source.fields)
        elif source is not None:
            pairs = self.elements(source)
            mapping.fields[OPEN] = pairs is None or not is_exact(pairs)
            for pair in flat(pairs or ()):
                parts = items_of(pair) if isinstance(pair, Sequence) else ()
                if len(parts) == 2 and isinstance(key := hard(parts[0]), Known):  # type: ignore[arg-type]
                    mapping.fields[key.value] = parts[1]
                else:
                    mapping.fields[OPEN] = True
        mapping.fields.update(arguments.keywords)
        if not mapping.fields.get(OPEN):
            mapping.fields.pop(OPEN, None)
        return mapping

    def _globals(self, frame: Frame) -> Value:
        self.noticed.asked(frame.module, (ALL_NAMES,))
        mapping = Mapping()
        mapping.fields.update(frame.module.values())
        return mapping

    def _partial(self, arguments: Arguments, frame: Frame) -> Value:
        if not arguments.positional:
            return ANYTHING
        function, *rest = arguments.positional
        return Partial(function, tuple(rest), tuple(arguments.keywords.items()))

    def _number(self, name: str, arguments: Arguments) -> Value:
        values = [*arguments.positional]
        tensors = [] if self.draws_layers else list(tensors_in(values))
        if name in ("builtins.float", "builtins.int"):
            self.numbers_read(tensors, arguments.place)
        elif tensors and name in ("builtins.min", "builtins.max", "builtins.abs"):
            return merge_tensors(tensors)
        if len(values) == 1 and name in ("builtins.min", "builtins.max"):
            elements = self.elements(values[0])
            values = list(flat(elements)) if elements is not None and is_exact(elements) else values
        if any(isinstance(value, Alternatives) for value in values):
            return ANYTHING
        plain = [v.value for v in map(hard, values) if isinstance(v, Known)]
        if len(plain) != len(values) or arguments.keywords:
            return ANYTHING
        try:
            result = Known(NUMBERS[name](*plain))
        except (TypeError, ValueError, ArithmeticError):
            return ANYTHING
        origin = next((v for v in values if isinstance(v, Soft)), None)
        return result if origin is None else soft(result, origin.place)


PLAIN_BASES = frozenset({"torch.nn.Module", "torch.nn.modules.Module", "builtins.object"})
MODULE_ATTRIBUTES = frozenset(
    (
        "training apply bfloat16 buffers call_super_init children compile cpu cuda double "
        "dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter "
        "get_submodule half ipu load_state_dict modules mtia named_buffers named_children "
        "named_modules named_parameters parameters register_buffer register_forward_hook "
        "register_module register_parameter requires_grad_ set_extra_state set_submodule "
        "share_memory state_dict to to_empty train type xpu zero_grad add_module"
    ).split()
)
"""What every nn.Module has, besides names that begin with an underscore."""


def class_of(value: Value) -> Value:
    """The class of an object, as `type()` gives it."""
    if isinstance(value, Instance):
        return value.cls
    layer = torch_layer(value)
    return External(layer.name) if layer is not None else ANYTHING


NUMBERS: MappingType[str, Callable[..., object]] = {
    "builtins.int": int,
    "builtins.float": float,
    "builtins.str": str,
    "builtins.bool": bool,
    "builtins.min": min,
    "builtins.max": max,
    "builtins.round": round,
    "builtins.abs": abs,
    "math.ceil": math.ceil,
    "math.floor": math.floor,
    "math.sqrt": math.sqrt,
    "math.log2": math.log2,
}
