"""`bnlint.testing.assert_batchnorm`."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import bnlint
from bnlint.live.errors import CheckError, FindingsError
from bnlint.testing import assert_batchnorm

X = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))


def trained() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    for _ in range(80):
        model(X)
    return model.eval()


def test_a_model_in_order_passes_and_gives_its_report() -> None:
    report = bnlint.testing.assert_batchnorm(trained(), X, phase="inference")
    assert [layer.name for layer in report.layers] == ["1"]


def test_a_model_in_training_mode_fails_for_inference_alone() -> None:
    model = trained().train()
    assert_batchnorm(model, X)
    with pytest.raises(AssertionError, match="BNL101 error") as caught:
        assert_batchnorm(model, X, phase="inference")
    assert isinstance(caught.value, FindingsError)
    assert "1 BatchNorm" in str(caught.value)


def test_the_level_decides() -> None:
    dropping = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.BatchNorm1d(8))
    assert_batchnorm(dropping, X, level="error")
    with pytest.raises(FindingsError, match="BNL202 warning"):
        assert_batchnorm(dropping, X)
    with pytest.raises(ValueError, match="unknown severity 'fatal'"):
        assert_batchnorm(dropping, X, level="fatal")


def test_no_batchnorm_is_no_success() -> None:
    with pytest.raises(FindingsError, match="saw no BatchNorm"):
        assert_batchnorm(nn.Linear(4, 4), X)


def test_a_check_that_cannot_be_done_is_no_failed_assertion() -> None:
    with pytest.raises(CheckError, match="empty"):
        assert_batchnorm(trained(), X[:0])
