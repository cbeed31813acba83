"""Expressions."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as MappingType
from typing import Any, Final

from bnlint.source import ir
from bnlint.source.bindings import global_name
from bnlint.source.evaluate.core import Core, OutOfBudget
from bnlint.source.evaluate.folding import (
    as_text,
    compare,
    fold_binary,
    fold_unary,
    percent,
    soft,
    truth_of,
)
from bnlint.source.evaluate.freezing import any_parameter, listed_parameters
from bnlint.source.evaluate.narrowing import can_narrow, narrow
from bnlint.source.joining import add_entry, bounded, merge_tensors, one_of
from bnlint.source.values import (
    ANYTHING,
    ITEMS,
    NONE,
    OPEN,
    Alternatives,
    Arguments,
    Element,
    External,
    Frame,
    FunctionObject,
    Known,
    Layer,
    Mapping,
    ModeFlag,
    PendingImport,
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

BUILTINS = frozenset(
    (
        "abs all any bool callable classmethod delattr dict dir divmod enumerate eval filter float "
        "frozenset getattr globals hasattr id input int isinstance issubclass iter len list map "
        "max min next object open print property range repr reversed round set setattr slice "
        "sorted staticmethod str sum super tuple type vars zip exit quit Exception ValueError "
        "TypeError NotImplementedError RuntimeError KeyError ImportError AssertionError"
    ).split()
)
_BUILTINS: Final = {name: External(f"builtins.{name}") for name in BUILTINS}
LONGEST_COMPREHENSION = 256
LONGEST_MULTIPLE = 256
ORDERINGS = frozenset("Equal NotEqual LessThan LessThanEqual GreaterThan GreaterThanEqual".split())
OPERATION_NAMES = {
    "Add": "torch.add",
    "Subtract": "torch.sub",
    "Multiply": "torch.mul",
    "Divide": "torch.div",
    "MatrixMultiply": "torch.matmul",
}


class Expressions(Core):
    """Evaluation of expressions, dispatched on their kind."""

    def evaluate(self, expression: ir.Expression, frame: Frame) -> Value:
        """The value of an expression."""
        self.budget -= 1
        if self.budget < 0:
            raise OutOfBudget
        if type(expression) is ir.Name:  # every second one
            return self.load(expression.id, frame)
        return _EVALUATIONS[type(expression)](self, expression, frame)

    def _attribute(self, expression: ir.Attribute, frame: Frame) -> Value:
        return self.attribute(self.evaluate(expression.value, frame), expression.attr, frame)

    def _constant(self, constant: ir.Constant, frame: Frame) -> Value:
        return Known(constant.value)

    def _subscripted(self, expression: ir.Subscript, frame: Frame) -> Value:
        if (name := global_name(expression)) is not None:
            return frame.module.value(name) or ANYTHING
        value = self.evaluate(expression.value, frame)
        return self._subscript(value, self.evaluate(expression.index, frame), frame, expression)

    def _sequence(self, display: ir.Display, frame: Frame) -> Value:
        return Sequence(display.kind, self._display(display.elements, frame))

    def _operation(self, expression: ir.Binary, frame: Frame) -> Value:
        left = self.evaluate(expression.left, frame)
        right = self.evaluate(expression.right, frame)
        return self.binary(expression.operator, left, right, frame, expression.span)

    def _lambda(self, expression: ir.Lambda, frame: Frame) -> Value:
        defaults = tuple(
            None if p.default is None else self.evaluate(p.default, frame)
            for p in expression.parameters
        )
        frame.keep()
        return FunctionObject(expression, frame, defaults)

    def _walrus(self, expression: ir.Walrus, frame: Frame) -> Value:
        result = self.evaluate(expression.value, frame)
        self.assign(expression.target, result, frame)
        return result

    def _bounds(self, expression: ir.Slice, frame: Frame) -> Value:
        parts = (expression.lower, expression.upper, expression.step)
        bounds = tuple(NONE if part is None else self.evaluate(part, frame) for part in parts)
        return Sequence("slice", bounds)

    def _starred(self, expression: ir.Starred, frame: Frame) -> Value:
        return self.evaluate(expression.value, frame)

    def _yield(self, expression: ir.Yield, frame: Frame) -> Value:
        self.yielded(self.evaluate(expression.value, frame), expression.delegates)
        return ANYTHING

    def _opaque(self, expression: ir.Opaque, frame: Frame) -> Value:
        for part in expression.parts:
            self.evaluate(part, frame)
        return ANYTHING

    def yielded(self, value: Value, delegates: bool) -> None:
        """The running generator gives a value, or all elements of one."""
        if not self.invocations:
            return
        invocation = self.invocations[-1]
        if invocation.body is not None:
            invocation.body(value)
            return
        given = invocation.yields = invocation.yields or Sequence("list")
        more: tuple[Element, ...] = (value,)
        if delegates:
            found = self.elements(value)
            more = (Repeat((ANYTHING,)),) if found is None else found
        self.store.write(given, ITEMS, bounded((*items_of(given), *more)))

    def load(self, name: str, frame: Frame) -> Value:
        """The value of a variable: local, enclosing, global, builtin."""
        scope: Frame | None = frame
        if name in frame.globals:
            scope = frame.module
        while scope is not None:
            found = scope.fields.get(name)
            if found is not None:
                if type(found) is PendingImport:
                    found = scope.value(name)
                if self.recall.listening is not None:
                    self.recall.read(found, scope)
                return found  # type: ignore[return-value]  # a variable holds a value
            scope = scope.outer
        found = frame.module.value(name)
        return _BUILTINS.get(name, ANYTHING) if found is None else found

    def truth(self, value: Value) -> bool | None:
        """Whether a value counts as true; None when that is open."""
        return truth_of(value)

    def _call(self, call: ir.Call, frame: Frame) -> Value:
        function = self.evaluate(call.function, frame)
        arguments = self.arguments(call.arguments, frame)
        arguments.place = self.place(frame, call.span)
        arguments.call = call
        if type(call.function) is ir.Attribute and call.function.attr == "add_graph":
            self.program_drawn(arguments)
        return self.call(function, arguments, frame)

    def arguments(self, given: tuple[ir.Argument, ...], frame: Frame) -> Arguments:
        """The evaluated arguments of a call, stars spread out where their content is known."""
        result = Arguments()
        for argument in given:
            value = self.evaluate(argument.value, frame)
            if argument.keyword is not None:
                result.keywords[argument.keyword] = value
            elif not argument.star:
                result.positional.append(value)
            elif argument.star == "*":
                self._spread(value, result)
            else:
                self._spread_keywords(value, result)
        return result

    def _spread(self, value: Value, result: Arguments) -> None:
        elements = self.elements(value)
        if elements is None:
            result.unknown = True
            result.positional.append(value if isinstance(value, Tensor) else ANYTHING)
        else:
            result.positional += elements  # type: ignore[arg-type]  # elements are spread as they are

    def _spread_keywords(self, value: Value, result: Arguments) -> None:
        if isinstance(value, Mapping):
            for key, entry in value.values().items():
                result.keywords.setdefault(key, entry)
            result.unknown |= bool(value.fields.get(OPEN, False))
        else:
            result.unknown = True

    def _display(self, elements: tuple[ir.Expression, ...], frame: Frame) -> tuple[Element, ...]:
        found: list[Element] = []
        for element in elements:
            value = self.evaluate(element, frame)
            if isinstance(element, ir.Starred):
                inner = self.elements(value)
                found += (Repeat((ANYTHING,)),) if inner is None else inner
            else:
                found.append(value)
        return tuple(found)

    def _dict(self, expression: ir.DictDisplay, frame: Frame) -> Value:
        result = Mapping()
        for key, value in expression.items:
            entry = self.evaluate(value, frame)
            name = None if key is None else hard(self.evaluate(key, frame))
            if key is None and isinstance(entry, Mapping):
                result.fields.update(entry.fields)
            elif isinstance(name, Known):
                result.fields[name.value] = entry
            elif key is None:
                result.fields[OPEN] = True
            else:
                add_entry(result, entry)
        return result

    def binary(
        self, operator: str, left: Value, right: Value, frame: Frame, span: ir.Span
    ) -> Value:
        """`left operator right`, for constants, lists and tensors."""
        if _may_be_tensor(left) or _may_be_tensor(right):
            name = OPERATION_NAMES.get(operator, f"operator.{operator.lower()}")
            arguments = Arguments([left, right], place=self.place(frame, span))
            return self.call_external(name, arguments, frame)
        first, second = hard(left), hard(right)
        if isinstance(first, Sequence):
            return self._sequence_binary(operator, first, second)
        if isinstance(second, Sequence) and operator == "Multiply":
            return self._sequence_binary(operator, second, first)
        if isinstance(first, Layer) and ITEMS in first.fields:
            return self._container_binary(operator, first, second)
        if operator == "BitOr" and isinstance(first, Mapping) and isinstance(second, Mapping):
            merged = Mapping()
            merged.fields.update({**first.fields, **second.fields})
            return merged
        if operator == "Modulo" and isinstance(first, Known) and isinstance(first.value, str):
            return self._percent(left, right)
        return fold_binary(operator, left, right)

    def _sequence_binary(self, operator: str, sequence: Sequence, other: Value) -> Value:
        """`list + list` and `list * number`."""
        if operator == "Add" and isinstance(other, Sequence):
            return Sequence(sequence.kind, bounded(items_of(sequence) + items_of(other)))
        count = other.value if isinstance(other, Known) else None
        if operator == "Multiply" and isinstance(count, int) and 0 <= count <= LONGEST_MULTIPLE:
            return Sequence(sequence.kind, items_of(sequence) * count)
        return ANYTHING

    def _container_binary(self, operator: str, container: Layer, other: Value) -> Value:
        """`sequential + sequential`, `module_list + modules`, `sequential * number`."""
        made = Layer(container.name, {}, container.place)
        items = items_of(container)
        count = other.value if isinstance(other, Known) else None
        if operator == "Multiply" and isinstance(count, int) and 0 <= count <= LONGEST_MULTIPLE:
            made.fields[ITEMS] = items * count
            return made
        added = self.elements(other) if operator == "Add" else None
        if added is None:
            return ANYTHING
        made.fields[ITEMS] = bounded(items + added)
        return made

    def _percent(self, left: Value, right: Value) -> Value:
        """Old-style formatting."""
        template, argument = hard(left), hard(right)
        values = self.elements(argument) if isinstance(argument, Sequence) else (argument,)
        known = [v.value for v in values or () if isinstance(v, Known)]
        if not isinstance(template, Known) or values is None or len(known) != len(values):
            return ANYTHING
        return percent(str(template.value), tuple(known))

    def _compare(self, expression: ir.Compare, frame: Frame) -> Value:
        if self.decided and expression in self.decided:
            return Known(self.decided[expression])
        left = self.evaluate(expression.left, frame)
        result: bool | None = True
        for operator, comparator in expression.comparisons:
            right = self.evaluate(comparator, frame)
            if operator in ORDERINGS and (type(left) is Tensor or type(right) is Tensor):
                place = self.place(frame, expression.span)
                return self.compare_data(operator, left, right, place)
            single = compare(operator, left, right)
            if single is False:
                return Known(False)
            if single is None:
                result = None
            left = right
        return ANYTHING if result is None else Known(True)

    def _boolean(self, expression: ir.Boolean, frame: Frame) -> Value:
        left = self.evaluate(expression.left, frame)
        decided = self.truth(left)
        stops_at = expression.operator == "Or"
        if decided is stops_at:
            return left
        right = self.evaluate(expression.right, frame)
        if decided is not None:
            return right
        if self.truth(right) is stops_at and isinstance(right, Known):
            return right if isinstance(right.value, bool) else one_of((left, right))
        return one_of((left, right)) if left is not ANYTHING else ANYTHING

    def _unary(self, expression: ir.Unary, frame: Frame) -> Value:
        operator = expression.operator
        operand = self.evaluate(expression.operand, frame)
        if operator != "Not":
            if _may_be_tensor(operand):
                arguments = Arguments([operand], place=self.place(frame, expression.span))
                return self.call_external(f"operator.{operator.lower()}", arguments, frame)
            return fold_unary(operator, operand)
        if isinstance(operand, ModeFlag) and operand.note is not None:
            return ModeFlag(operand.owner, ~operand.note)
        truth = self.truth(operand)
        return ANYTHING if truth is None else Known(not truth)

    def _conditional(self, expression: ir.Conditional, frame: Frame) -> Value:
        test = self.evaluate(expression.test, frame)
        decided = self.decide(test)
        if decided is not None:
            return self.evaluate(expression.body if decided else expression.orelse, frame)
        values: list[Value] = []
        narrows = can_narrow(expression.test, test)

        def run(branch: ir.Expression, truth: bool) -> bool:
            if narrows:
                narrow(self, expression.test, truth, frame)
            values.append(self.evaluate(branch, frame))
            return True

        self.branch([lambda: run(expression.body, True), lambda: run(expression.orelse, False)])
        return self._usual(test, values)

    def _usual(self, test: Value, values: list[Value]) -> Value:
        """One of the values; decided by an option's default it is the usual one."""
        if isinstance(test, Soft):
            truth = self.truth(test.value)
            if truth is not None and all(isinstance(v, Known | Soft) for v in values):
                return soft(values[0] if truth else values[1])
        return one_of(values)

    def _format(self, expression: ir.FormatString, frame: Frame) -> Value:
        text: Value = Known("")
        for part in [self.evaluate(part, frame) for part in expression.parts]:
            text = fold_binary("Add", text, as_text(part))
        return text

    def _subscript(
        self, value: Value, index: Value, frame: Frame, expression: ir.Subscript
    ) -> Value:
        if isinstance(value, Alternatives):
            return one_of(self._subscript(v, index, frame, expression) for v in value.values)
        if isinstance(value, Tensor):
            arguments = Arguments([value], place=self.place(frame, expression.span))
            match expression:
                case ir.Subscript(ir.Attribute(_, "data"), ir.Constant(0)):
                    self.numbers_read([value], arguments.place)  # before `item()` came
            return self.call_external("operator.getitem", arguments, frame)
        arguments = Arguments([index], place=self.place(frame, expression.span))
        return self.call_method(value, "__getitem__", arguments, frame)

    def _comprehension(self, expression: ir.Comprehension, frame: Frame) -> Value:
        inner = Frame(frame.module, frame, frame.owner, frame.receiver)
        if expression.kind == "dict":
            result = Mapping()
            self._rounds(expression, 0, inner, [], result)
            return result
        found: list[Element] = []
        self._rounds(expression, 0, inner, found, None)
        return Sequence("list" if expression.kind == "generator" else expression.kind, tuple(found))

    def _rounds(
        self,
        expression: ir.Comprehension,
        depth: int,
        frame: Frame,
        found: list[Element],
        mapping: Mapping | None,
    ) -> None:
        """Run the clauses from `depth` on, collecting elements."""
        if depth == len(expression.clauses):
            self._collect(expression, frame, found, mapping)
            return
        clause = expression.clauses[depth]
        iterable = self.evaluate(clause.iterable, frame)
        elements = self.elements(iterable)
        parameters = listed_parameters(iterable)
        if parameters is not None:
            elements = (Repeat((any_parameter(parameters),)),)
        rounds: tuple[Value, ...] = (self.any_element(elements),)
        known = elements is not None and len(elements) <= LONGEST_COMPREHENSION
        if known and elements is not None and is_exact(elements):
            rounds = elements
        else:
            known = False
        for element in rounds:
            self.assign(clause.target, element, frame)
            truths = [self.truth(self.evaluate(test, frame)) for test in clause.conditions]
            if False in truths:
                continue
            run: list[Element] = []
            self._rounds(expression, depth + 1, frame, run, mapping)
            if None in truths or not known:
                found += [Repeat(tuple(run))] if run else []
            else:
                found += run
        if mapping is not None and not known:
            mapping.fields[OPEN] = True

    def _collect(
        self,
        expression: ir.Comprehension,
        frame: Frame,
        found: list[Element],
        mapping: Mapping | None,
    ) -> None:
        value = self.evaluate(expression.element, frame)
        if mapping is None:
            found.append(value)
            return
        key = hard(self.evaluate(expression.key, frame)) if expression.key else ANYTHING
        if isinstance(key, Known):
            mapping.fields[key.value] = value
        else:
            add_entry(mapping, value)

    def any_element(self, elements: tuple[Element, ...] | None) -> Value:
        """A value that stands for each element of an iterable of unknown length."""
        if elements is None:
            return ANYTHING
        values = list(flat(elements))
        if values and all(isinstance(value, Tensor) for value in values):
            return merge_tensors(v for v in values if isinstance(v, Tensor))
        return one_of(values)


def _may_be_tensor(value: Value) -> bool:
    if type(value) is Alternatives:
        return any(type(single) is Tensor for single in value.values)
    return type(value) is Tensor


_EVALUATIONS: Final[
    MappingType[type[ir.Expression], Callable[[Expressions, Any, Frame], Value]]
] = {
    ir.Constant: Expressions._constant,
    ir.Attribute: Expressions._attribute,
    ir.Call: Expressions._call,
    ir.Subscript: Expressions._subscripted,
    ir.Slice: Expressions._bounds,
    ir.Display: Expressions._sequence,
    ir.Starred: Expressions._starred,
    ir.DictDisplay: Expressions._dict,
    ir.Binary: Expressions._operation,
    ir.Compare: Expressions._compare,
    ir.Boolean: Expressions._boolean,
    ir.Unary: Expressions._unary,
    ir.Conditional: Expressions._conditional,
    ir.Lambda: Expressions._lambda,
    ir.Comprehension: Expressions._comprehension,
    ir.FormatString: Expressions._format,
    ir.Walrus: Expressions._walrus,
    ir.Opaque: Expressions._opaque,
    ir.Yield: Expressions._yield,
}
"""How each kind is evaluated: a `match` would try one kind after the other, millions of times."""
