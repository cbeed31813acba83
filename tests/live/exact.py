"""Numbers in double precision, for tests against independent calculations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

DOUBLE = torch.float64
EPS = 0.25


def exact(*values: float) -> Tensor:
    return torch.tensor(values, dtype=DOUBLE)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def near(value: object) -> object:
    return pytest.approx(value, rel=1e-9, abs=1e-12)
