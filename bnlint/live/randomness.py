"""The random number generators that a forward can draw from."""

from __future__ import annotations

import random
import sys
from typing import Any

import torch


class RandomState:
    """The state of every generator at the moment of construction; `restore` goes back to it."""

    def __init__(self) -> None:
        self._python = random.getstate()
        self._torch = torch.get_rng_state()
        self._cuda: list[torch.Tensor] = []
        if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            self._cuda = torch.cuda.get_rng_state_all()
        numpy = sys.modules.get("numpy")
        self._numpy: Any = numpy.random.get_state() if numpy is not None else None

    def restore(self) -> None:
        """Put every generator back."""
        random.setstate(self._python)
        torch.set_rng_state(self._torch)
        if self._cuda:
            torch.cuda.set_rng_state_all(self._cuda)
        if self._numpy is not None:
            sys.modules["numpy"].random.set_state(self._numpy)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RandomState):
            return NotImplemented
        if self._python != other._python or not torch.equal(self._torch, other._torch):
            return False
        if len(self._cuda) != len(other._cuda):
            return False
        if not all(torch.equal(a, b) for a, b in zip(self._cuda, other._cuda)):
            return False
        return repr(self._numpy_key()) == repr(other._numpy_key())

    __hash__ = None  # type: ignore[assignment]

    def _numpy_key(self) -> object:
        if self._numpy is None:
            return None
        return (self._numpy[1].tobytes(), *self._numpy[2:])


def seed_everything(seed: int) -> None:
    """Seed every generator that exists."""
    random.seed(seed)
    torch.manual_seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed % 2**32)
