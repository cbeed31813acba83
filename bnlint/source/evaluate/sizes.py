"""The sizes that calls of torch write out."""

from __future__ import annotations

from bnlint.graph import UNKNOWN, Parameter
from bnlint.source.evaluate.module_classes import parameter_of
from bnlint.source.values import (
    Arguments,
    Element,
    Known,
    Sequence,
    Soft,
    hard,
    is_exact,
    items_of,
)

_SIZED = frozenset("randn rand zeros ones empty full FloatTensor Tensor".split())
"""Functions whose first arguments are sizes, one by one or in one sequence."""


def shape_of(arguments: Arguments) -> Parameter:
    """The new shape that `x.view(...)` or `reshape` names; UNKNOWN where its length is."""
    given = arguments.positional[1:]
    if len(given) == 1:
        single = hard(given[0])
        if isinstance(single, Sequence) and is_exact(items_of(single)):
            return parameter_of(single)
        return UNKNOWN
    if arguments.unknown or arguments.keywords:
        return UNKNOWN
    return tuple(parameter_of(value) for value in given)


def made_up_size(name: str, arguments: Arguments) -> tuple[int | None, int | None]:
    """The number of samples, and that of dimensions, of noise or zeros; the latter only where the
    former is written out and not an option."""
    given = _sizes(name.rpartition(".")[2], arguments)
    first = given[0] if given else None
    number = first.value if isinstance(first, Soft) else first
    if not isinstance(number, Known) or type(number.value) is not int:
        return None, None
    is_sure = is_exact(given) and not arguments.unknown and not isinstance(first, Soft)
    return number.value, len(given) if is_sure else None


def _sizes(function: str, arguments: Arguments) -> tuple[Element, ...]:
    if "size" in arguments.keywords:
        given: list[Element] = [arguments.keywords["size"]]
    elif function == "randint":  # (low, high, size) or (high, size)
        given = [value for value in arguments.positional if isinstance(value, Sequence)]
    else:
        given = [*arguments.positional] if function in _SIZED else []
    if given and isinstance(single := given[0], Sequence | Soft):
        inner = hard(single)
        return items_of(inner) if isinstance(inner, Sequence) else tuple(given)
    return tuple(given)
