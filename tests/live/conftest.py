"""The same numbers in every run; and one thread, since test runs fight for the cores."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
import torch

from bnlint.live.errors import BatchNormWarning


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def told() -> Iterator[list[warnings.WarningMessage]]:
    """Every BatchNormWarning that is given, in order."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", BatchNormWarning)
        yield caught
