"""Python's built-in functions, and the few of the standard library that models are built with."""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Mapping as MappingType
from functools import cached_property
from itertools import pairwise, product

from bnlint.source.evaluate.containers import Containers
from bnlint.source.evaluate.core import Core
from bnlint.source.evaluate.folding import fold_binary, soft
from bnlint.source.evaluate.instances import is_instance, is_subclass
from bnlint.source.evaluate.module_classes import torch_layer
from bnlint.source.joining import bounded, one_of
from bnlint.source.values import (
    ANYTHING,
    NONE,
    OPEN,
    Alternatives,
    Arguments,
    Choice,
    ClassObject,
    Element,
    External,
    Frame,
    FunctionObject,
    Group,
    HeapObject,
    Instance,
    Known,
    Layer,
    Mapping,
    Namespace,
    Partial,
    Repeat,
    Sequence,
    Soft,
    Super,
    Tensor,
    Value,
    flat,
    hard,
    is_exact,
    items_of,
    maybe_absent,
)

LONGEST_RANGE = 1024
LONGEST_REDUCTION = 64


class Builtins(Containers, Core):
    """Built-in functions; `None` from a handler means: not answered here."""

    def call_builtin(self, name: str, arguments: Arguments, frame: Frame) -> Value | None:
        """Call a built-in or standard-library function; None when it is not one of them."""
        if name in NUMBERS:
            return self._number(name, arguments)
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
        }

    def _first(self, arguments: Arguments) -> Value:
        return arguments.positional[0] if arguments.positional else ANYTHING

    def _range(self, arguments: Arguments, frame: Frame) -> Value:
        numbers = [hard(value) for value in arguments.positional]
        plain = [n.value for n in numbers if isinstance(n, Known) and isinstance(n.value, int)]
        if any(isinstance(value, Soft) for value in arguments.positional):
            return Sequence("list", (Repeat((soft(Known(0)),)),))
        if len(plain) == len(numbers) and 1 <= len(plain) <= 3 and plain[2:] != [0]:
            span = range(*plain)
            if len(span) <= LONGEST_RANGE:
                return Sequence("list", tuple(Known(number) for number in span))
        return Sequence("list", (Repeat((ANYTHING,)),))

    def _to_sequence(self, arguments: Arguments, frame: Frame) -> Value:
        if not arguments.positional:
            return Sequence("list")
        value = arguments.positional[0]
        if isinstance(value, Tensor):
            return value
        elements = self.elements(value)
        if elements is None and isinstance(value, Group):
            return Sequence("list", (Repeat((value,)),))
        return Sequence("list", (Repeat((ANYTHING,)),) if elements is None else elements)

    def _loose(self, value: Value | None) -> Value:
        elements = self.elements(value) if value is not None else None
        return ANYTHING if elements is None else Sequence("list", (Repeat(elements),))

    def _loose_element(self, value: Value) -> Value:
        elements = self.elements(value)
        return ANYTHING if elements is None else one_of(flat(elements))

    def _reversed(self, arguments: Arguments, frame: Frame) -> Value:
        elements = self.elements(self._first(arguments))
        if elements is None:
            return ANYTHING
        return Sequence("list", elements[::-1])

    def _zip(self, arguments: Arguments, frame: Frame) -> Value:
        columns = [self.elements(value) for value in arguments.positional]
        exact = [c for c in columns if c is not None and is_exact(c)]
        if len(exact) == len(columns) and exact:
            rows = zip(*exact)
            return Sequence("list", tuple(Sequence("tuple", tuple(row)) for row in rows))
        if exact and len(exact) < len(columns):
            length = min(len(c) for c in exact)
            if all(c is None or not is_exact(c) for c in columns if c not in exact):
                return self._rows(columns, length)
        row = tuple(ANYTHING if c is None else one_of(flat(c)) for c in columns)
        return Sequence("list", (Repeat((Sequence("tuple", row),)),))

    def _rows(self, columns: list[tuple[Element, ...] | None], length: int) -> Value:
        """Rows of a zip in which some columns are known by position."""
        rows = []
        for index in range(length):
            row = tuple(
                column[index] if column is not None and is_exact(column)
                else ANYTHING if column is None
                else one_of(flat(column))
                for column in columns
            )  # fmt: skip
            rows.append(Sequence("tuple", row))
        return Sequence("list", tuple(rows))

    def _enumerate(self, arguments: Arguments, frame: Frame) -> Value:
        elements = self.elements(self._first(arguments))
        if elements is None:
            return Sequence("list", (Repeat((Sequence("tuple", (ANYTHING, ANYTHING)),)),))
        start = hard(arguments.get(1, "start") or Known(0))
        if is_exact(elements) and isinstance(start, Known) and isinstance(start.value, int):
            pairs = [
                Sequence("tuple", (Known(start.value + index), element))
                for index, element in enumerate(elements)
            ]
            return Sequence("list", tuple(pairs))
        return Sequence("list", _numbered(elements))

    def _map(self, arguments: Arguments, frame: Frame) -> Value:
        function = self._first(arguments)
        elements = (
            self.elements(arguments.positional[1]) if len(arguments.positional) == 2 else None
        )
        if elements is None or not is_exact(elements) or len(elements) > 64:
            return ANYTHING
        results = [
            self.call(function, Arguments([e], place=arguments.place), frame) for e in elements
        ]
        return Sequence("list", tuple(results))

    def _namespace(self, arguments: Arguments, frame: Frame) -> Value:
        """An object with the attributes given: `SimpleNamespace(width=4)`."""
        made = Namespace("namespace")
        made.fields.update(arguments.keywords)
        return made

    def _filter(self, arguments: Arguments, frame: Frame) -> Value:
        """`filter(function, iterable)`; for None the elements that count as true."""
        function, iterable = self._first(arguments), arguments.get(1, "iterable")
        elements = self.elements(iterable) if iterable is not None else None
        if elements is None or not is_exact(elements):
            return self._loose(iterable)
        kept: list[Element] = []
        for element in elements:
            given = Arguments([element], place=arguments.place)
            test = element if function == NONE else self.call(function, given, frame)
            truth = self.truth(test)
            if truth is None:
                return self._loose(iterable)
            kept += [element] if truth else []
        return Sequence("list", tuple(kept))

    def _any(self, arguments: Arguments, wanted: bool) -> Value:
        """`any(...)` (wanted: True) and `all(...)` (wanted: False)."""
        elements = self.elements(self._first(arguments))
        if elements is None:
            return ANYTHING
        truths = {self.truth(element) for element in flat(elements)}
        if wanted in truths and is_exact(elements):
            return Known(wanted)
        return ANYTHING if wanted in truths or None in truths else Known(not wanted)

    def _pairwise(self, arguments: Arguments, frame: Frame) -> Value:
        elements = self.elements(self._first(arguments))
        if elements is None or not is_exact(elements):
            return ANYTHING
        pairs = (Sequence("tuple", pair) for pair in pairwise(elements))
        return Sequence("list", tuple(pairs))

    def _issubclass(self, arguments: Arguments, frame: Frame) -> Value:
        if len(arguments.positional) != 2:
            return ANYTHING
        result = is_subclass(*arguments.positional)
        return ANYTHING if result is None else Known(result)

    def _callable(self, value: Value) -> Value:
        if isinstance(value, FunctionObject | ClassObject | External | Partial | Layer):
            return Known(True)
        return Known(False) if isinstance(value, Known | Sequence | Mapping) else ANYTHING

    def _reduce(self, arguments: Arguments, frame: Frame) -> Value:
        """`functools.reduce(function, iterable[, initial])`."""
        elements = self.elements(arguments.positional[1]) if len(arguments.positional) > 1 else None
        if elements is None or not is_exact(elements) or len(elements) > LONGEST_REDUCTION:
            return self.call_unknown(ANYTHING, arguments, frame)
        given = [*arguments.positional[2:], *elements]
        if not given:
            return ANYTHING
        total = given[0]
        for element in given[1:]:
            pair = Arguments([total, element], place=arguments.place)
            total = self.call(arguments.positional[0], pair, frame)
        return total

    def _sum(self, arguments: Arguments, frame: Frame) -> Value:
        elements = self.elements(self._first(arguments))
        if elements is None or not is_exact(elements):
            tensors = [e for e in flat(elements or ()) if isinstance(e, Tensor)]
            return one_of(tensors) if tensors else ANYTHING
        total: Value = arguments.get(1, "start") or Known(0)
        for element in elements:
            total = self._plus(total, element, arguments, frame)
        return total

    def _prod(self, arguments: Arguments, frame: Frame) -> Value:
        """The product of a list of numbers; with an axis or a start it is not followed."""
        elements = self.elements(self._first(arguments))
        if elements is None or not is_exact(elements) or len(arguments.all()) > 1:
            return ANYTHING
        total: Value = Known(1)
        for element in elements:
            total = fold_binary("Multiply", total, element)
        return total

    def _plus(self, total: Value, element: Value, arguments: Arguments, frame: Frame) -> Value:
        if isinstance(element, Tensor):
            if not isinstance(total, Tensor):
                return element
            pair = Arguments([total, element], place=arguments.place)
            return self.call_external("torch.add", pair, frame)
        if isinstance(total, Sequence) and isinstance(element, Sequence):
            return Sequence(total.kind, bounded(items_of(total) + items_of(element)))
        return fold_binary("Add", total, element)

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
        name = hard(arguments.get(1, "name") or ANYTHING)
        owner = self._first(arguments)
        if isinstance(name, Known) and isinstance(name.value, str):
            found = self.attribute(owner, name.value, frame)
            absent = isinstance(owner, Instance) and name.value in maybe_absent(owner)
            if (found is ANYTHING or absent) and len(arguments.positional) > 2:
                return one_of((found, arguments.positional[2]))
            return found
        if isinstance(owner, External):
            return External(f"{owner.name}.?")
        return ANYTHING

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
        value = self._first(arguments)
        if isinstance(value, Instance):
            return value.cls
        layer = torch_layer(value)
        return External(layer.name) if layer is not None else ANYTHING

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
        mapping = Mapping()
        mapping.fields.update(frame.module.fields)
        return mapping

    def _partial(self, arguments: Arguments, frame: Frame) -> Value:
        if not arguments.positional:
            return ANYTHING
        function, *rest = arguments.positional
        return Partial(function, tuple(rest), tuple(arguments.keywords.items()))

    def _product(self, arguments: Arguments, frame: Frame) -> Value:
        columns = [self.elements(value) for value in arguments.positional]
        if any(c is None or not is_exact(c) or len(c) > 8 for c in columns) or len(columns) > 3:
            return ANYTHING
        rows = product(*(c for c in columns if c is not None))
        return Sequence("list", tuple(Sequence("tuple", tuple(row)) for row in rows))

    def _chain(self, arguments: Arguments, frame: Frame) -> Value:
        found: list[Element] = []
        for value in arguments.positional:
            elements = self.elements(value)
            found += (Repeat((value,)),) if elements is None else elements
        return Sequence("list", tuple(found))

    def _number(self, name: str, arguments: Arguments) -> Value:
        values = [*arguments.positional]
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


def _numbered(elements: tuple[Element, ...]) -> tuple[Element, ...]:
    """Pairs of an unknown number and each element, with the same repetitions and choices."""
    found: list[Element] = []
    for element in elements:
        if isinstance(element, Repeat):
            found.append(Repeat(_numbered(element.run)))
        elif isinstance(element, Choice):
            found.append(Choice(tuple(_numbered(run) for run in element.runs)))
        else:
            found.append(Sequence("tuple", (ANYTHING, element)))
    return tuple(found)


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
