"""Activation checkpointing: functions that are run once more in the backward pass."""

from __future__ import annotations

from bnlint.source.evaluate.core import Core
from bnlint.source.evaluate.module_classes import is_container
from bnlint.source.values import (
    ANYTHING,
    Arguments,
    Element,
    Frame,
    HeapObject,
    Known,
    Value,
    flat,
    hard,
    is_exact,
    items_of,
)

_SEQUENTIAL = "torch.utils.checkpoint.checkpoint_sequential"
CHECKPOINTS = frozenset({"torch.utils.checkpoint.checkpoint", _SEQUENTIAL})
OPTIONS = frozenset(
    "use_reentrant preserve_rng_state context_fn determinism_check debug early_stop".split()
)
"""Keywords of `checkpoint` itself; all others go to the function."""


class Checkpoints(Core):
    """Calls through torch.utils.checkpoint."""

    def call_checkpointed(self, name: str, arguments: Arguments, frame: Frame) -> Value:
        """`checkpoint(function, *args)` or `checkpoint_sequential(functions, segments, input)`."""
        if name == _SEQUENTIAL:
            return self._sequential(arguments, frame)
        function = arguments.get(0, "function") or ANYTHING
        keywords = {k: v for k, v in arguments.keywords.items() if k not in OPTIONS | {"function"}}
        given = arguments.positional[1:] if "function" not in arguments.keywords else []
        inner = Arguments(given, keywords, arguments.unknown, arguments.place)
        with self.checkpointed(arguments.place):
            return self.call(function, inner, frame)

    def _sequential(self, arguments: Arguments, frame: Frame) -> Value:
        """The elements one after the other; all but the last segment are checkpointed."""
        functions = arguments.get(0, "functions") or ANYTHING
        value = arguments.get(2, "input") or ANYTHING
        found = self._functions(functions)
        if found is None:
            return self.call_unknown(functions, arguments, frame)
        recomputed = _recomputed(found, hard(arguments.get(1, "segments") or ANYTHING))
        for index, function in enumerate(flat(found)):
            given = Arguments([value], place=arguments.place)
            with self.checkpointed(arguments.place if index < recomputed else None):
                value = self.call(function, given, frame)
        return value

    def _functions(self, functions: Value) -> tuple[Element, ...] | None:
        if is_container(functions) and isinstance(functions, HeapObject):
            return items_of(functions)
        return self.elements(functions)


def _recomputed(functions: tuple[Element, ...], segments: Value) -> int:
    """How many functions, from the first on, are in a checkpointed segment: none of the last."""
    count = segments.value if isinstance(segments, Known) else None
    if not isinstance(count, int) or count < 1 or not is_exact(functions):
        return 0
    return len(functions) // count * (count - 1)
