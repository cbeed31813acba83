"""The Lightning callback, with both packages."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.utils.data import DataLoader, TensorDataset

import bnlint
from bnlint.live.errors import BatchNormWarning, FindingsError

PACKAGES = ["lightning.pytorch", "pytorch_lightning"]


@pytest.fixture(params=PACKAGES)
def pl(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    try:
        package = importlib.import_module(request.param)
    except RuntimeError as error:  # a torchvision that was made for another torch
        pytest.skip(f"{request.param} cannot be imported here: {error}")
    monkeypatch.setattr(bnlint.lightning, "_PACKAGES", (request.param,))
    bnlint.lightning._callback.cache_clear()
    return package


def loader() -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    return DataLoader(TensorDataset(torch.randn(32, 4, generator=generator)), batch_size=8)


def module(pl: ModuleType, *, wrong: str = "") -> Any:
    class Classifier(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))

        def training_step(self, batch: list[Tensor], index: int) -> Tensor:
            return self.net(batch[0]).square().mean()

        def validation_step(self, batch: list[Tensor], index: int) -> None:
            if wrong == "validation":
                self.train()
            loss = self.net(batch[0]).mean()
            self.log("loss", loss, logger=False)

        def on_train_batch_start(self, batch: object, index: int) -> None:
            if wrong == "training" and index == 2:
                self.eval()
            if wrong == "crash":
                raise ArithmeticError("in the middle")

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    return Classifier()


def trainer(pl: ModuleType, callback: object, folder: Path) -> Any:
    return pl.Trainer(
        max_epochs=2,
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        default_root_dir=folder,
    )


def fit(pl: ModuleType, callback: object, folder: Path, wrong: str = "") -> list[str]:
    """The messages of bnlint's warnings during a training."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", BatchNormWarning)
        trainer(pl, callback, folder).fit(module(pl, wrong=wrong), loader(), loader())
    return [f"{Path(w.filename).name}:{w.lineno} {w.message}" for w in caught]


def line(text: str) -> int:
    lines = Path(__file__).read_text().splitlines()
    return next(number for number, content in enumerate(lines, 1) if text in content)


def test_a_right_training_is_silent(pl: ModuleType, tmp_path: Path) -> None:
    callback = bnlint.lightning.BatchNormCallback()
    assert isinstance(callback, pl.Callback)
    assert fit(pl, callback, tmp_path) == []
    assert callback.findings == ()
    assert not torch_module._global_forward_hooks


def test_validation_in_training_mode(pl: ModuleType, tmp_path: Path) -> None:
    callback = bnlint.lightning.BatchNormCallback()
    (message,) = fit(pl, callback, tmp_path, "validation")
    where = f"test_live_lightning.py:{line('loss = self.net(batch[0]).mean()')} "
    assert message.startswith(f"{where}bnlint.watch: BNL101 error")
    assert [finding.code for finding in callback.findings] == ["BNL101"]


def test_findings_can_fail_the_run(pl: ModuleType, tmp_path: Path) -> None:
    callback = bnlint.lightning.BatchNormCallback(raises="error")
    with pytest.raises(FindingsError, match="BNL101"):
        fit(pl, callback, tmp_path, "validation")
    assert not torch_module._global_forward_hooks


def test_an_exception_of_the_training_ends_the_watch(pl: ModuleType, tmp_path: Path) -> None:
    callback = bnlint.lightning.BatchNormCallback()
    with pytest.raises(ArithmeticError):
        fit(pl, callback, tmp_path, "crash")
    assert not torch_module._global_forward_hooks
    assert fit(pl, callback, tmp_path) == []


def test_lightning_is_imported_when_it_is_used() -> None:
    code = (
        "import sys, bnlint.lightning, bnlint.testing; bnlint.lightning, bnlint.testing;"
        "assert not {'lightning', 'pytorch_lightning', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_lightning_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bnlint.lightning, "_PACKAGES", ("no_such_lightning",))
    bnlint.lightning._callback.cache_clear()
    with pytest.raises(ModuleNotFoundError, match="pip install lightning"):
        importlib.import_module("bnlint.lightning").BatchNormCallback()
    bnlint.lightning._callback.cache_clear()
