"""Python's functions over iterables: `range`, `zip`, `map`, `sum`, and the like."""

from __future__ import annotations

from itertools import pairwise, product

from bnlint.source.evaluate.containers import Containers
from bnlint.source.evaluate.core import Core
from bnlint.source.evaluate.folding import fold_binary, soft, softened
from bnlint.source.joining import bounded, one_of
from bnlint.source.values import (
    ANYTHING,
    NONE,
    Arguments,
    Choice,
    Element,
    Frame,
    Group,
    Known,
    Repeat,
    Sequence,
    Soft,
    Tensor,
    Value,
    flat,
    hard,
    is_exact,
    items_of,
)

LONGEST_RANGE = 1024
LONGEST_REDUCTION = 64


class Iteration(Containers, Core):
    """Functions that take or give iterables."""

    def _first(self, arguments: Arguments) -> Value:
        return arguments.positional[0] if arguments.positional else ANYTHING

    def _range(self, arguments: Arguments, frame: Frame) -> Value:
        numbers = [hard(value) for value in arguments.positional]
        plain = [n.value for n in numbers if isinstance(n, Known) and isinstance(n.value, int)]
        if any(isinstance(value, Soft) for value in arguments.positional):
            return Sequence("list", (Repeat((soft(Known(0)),)),))
        if len(plain) == len(numbers) and 1 <= len(plain) <= 3 and plain[2:] != [0]:
            span = range(*plain)
            if abs(span.stop - span.start) <= LONGEST_RANGE * abs(span.step):  # len() may overflow
                return Sequence("list", tuple(Known(number) for number in span))
        return Sequence("list", (Repeat((ANYTHING,)),))

    def _spaced(self, arguments: Arguments) -> Value | None:
        """`torch.linspace(start, end, steps)` in a constructor: the rates of its blocks. None where
        a number is unknown, and outside, where it is data."""
        ends = (arguments.get(0, "start"), arguments.get(1, "end") or arguments.get(1, "stop"))
        given = (*ends, arguments.get(2, "steps") or arguments.get(2, "num"))
        known = [hard(value or ANYTHING) for value in given]
        start, end, steps = (v.value if isinstance(v, Known) else None for v in known)
        is_spaced = isinstance(start, int | float) and isinstance(end, int | float)
        if not (self.constructing and is_spaced and type(steps) is int and steps <= LONGEST_RANGE):
            return None
        assert isinstance(start, int | float) and isinstance(end, int | float)
        width = (end - start) / max(1, steps - 1)
        numbers = Sequence("list", tuple(Known(start + width * i) for i in range(steps)))
        origin = next((v for v in given if isinstance(v, Soft)), None)
        return numbers if origin is None else softened(numbers, origin.place)

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

    def _plus(self, total: Value, element: Value, arguments: Arguments, frame: Frame) -> Value:
        if isinstance(element, Tensor):
            if not isinstance(total, Tensor):
                return element
            pair = Arguments([total, element], place=arguments.place)
            return self.call_external("torch.add", pair, frame)
        if isinstance(total, Sequence) and isinstance(element, Sequence):
            return Sequence(total.kind, bounded(items_of(total) + items_of(element)))
        return fold_binary("Add", total, element)

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
