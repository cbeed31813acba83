"""Which planted BatchNorm defects are found: by bnlint.check and bnlint.watch, and by torch-audit.

Every defect is planted in the same small network, which is clean otherwise. bnlint finds a defect
when it reports the defect's own rule. torch-audit (`pip install --no-deps torch-audit==0.3.0`)
finds it when it reports anything that it does not report of the clean network.

    python benchmarks/planted_defects.py
"""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import bnlint

EVERYTHING = bnlint.Settings(select=("ALL",))


class Net(nn.Module):
    """A clean network; `norm` and `width` are what some defects change."""

    def __init__(self, width: int = 16, **norm: Any) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width, **norm)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return self.head(x.mean(dim=(2, 3)))


class Activated(Net):
    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(F.relu(self.conv1(x)))
        x = self.bn2(F.relu(self.conv2(x)))
        return self.head(x.mean(dim=(2, 3)))


class Dropped(Net):
    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(F.dropout(self.conv1(x), 0.5, self.training)))
        return self.head(F.relu(self.bn2(self.conv2(x))).mean(dim=(2, 3)))


class Upstream(Net):
    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(F.relu(self.bn1(self.conv1(x))), 0.5, self.training)
        return self.head(F.relu(self.bn2(self.conv2(x))).mean(dim=(2, 3)))


class Biased(Net):
    def __init__(self) -> None:
        super().__init__()
        self.conv2 = nn.Conv2d(16, 16, 3, padding=1, bias=True)


class Listed(Net):
    """A bias that is redundant inside a Sequential."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(F.relu(self.bn1(self.conv1(x))))
        return self.head(F.relu(self.bn2(self.conv2(x))).mean(dim=(2, 3)))


class Shared(Net):
    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn1(self.conv2(x)))
        return self.head(x.mean(dim=(2, 3)))


class Pooled(Net):
    def __init__(self) -> None:
        super().__init__()
        self.bn3 = nn.BatchNorm1d(16)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return self.head(self.bn3(x.mean(dim=(2, 3))))


class Checkpointed(Net):
    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = checkpoint(lambda y: F.relu(self.bn2(self.conv2(y))), x, use_reentrant=False)
        return self.head(x.mean(dim=(2, 3)))


class NormRelu(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(super().forward(x))


class Fused(Net):
    def __init__(self) -> None:
        super().__init__()
        self.bn1 = NormRelu(16)
        self.bn2 = NormRelu(16)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.bn2(self.conv2(self.bn1(self.conv1(x)))).mean(dim=(2, 3)))


def data(count: int = 64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, 12, 12, generator=generator) * 1.5 + 0.5


def fitted(model: nn.Module) -> nn.Module:
    """The model with statistics of the data, in evaluation mode."""
    with torch.no_grad():
        for seed in range(1, 61):
            model(data(32, seed))
    return model.eval()


def changed(change: Callable[[Any], object]) -> nn.Module:
    model = fitted(Net())
    with torch.no_grad():
        change(model)
    return model


@dataclass(frozen=True)
class Defect:
    """A defect: what builds it, its data, and how the program uses it.

    use: "infer", "train", "load" (train on a loader): checked; "watch" (a training loop), "forgets"
    (one that evaluates after each epoch and stays there): watched.
    """

    name: str
    code: str
    build: Callable[[], nn.Module]
    use: str = "infer"
    samples: int = 64
    scale: float = 1.0

    @property
    def inputs(self) -> Tensor:
        return data(self.samples) * self.scale


DEFECTS = (
    Defect("inference in training mode", "BNL101", lambda: fitted(Net()).train()),
    Defect("training in evaluation mode", "BNL103", lambda: fitted(Net()).train(), "forgets"),
    Defect("frozen weights, moving statistics", "BNL106", lambda: frozen(Net()), "watch"),
    Defect("BatchNorm after activation", "BNL201", lambda: fitted(Activated())),
    Defect("dropout before BatchNorm", "BNL202", lambda: fitted(Dropped())),
    Defect("dropout upstream of BatchNorm", "BNL204", lambda: fitted(Upstream())),
    Defect("redundant bias", "BNL205", lambda: fitted(Biased())),
    Defect("redundant bias in a Sequential", "BNL205", lambda: fitted(Listed())),
    Defect("shared BatchNorm", "BNL208", lambda: fitted(Shared())),
    Defect("training on 2 rows", "BNL301", lambda: Pooled().train(), "train", 2),
    Defect("training on one image", "BNL301", lambda: Net().train(), "train", 1),
    Defect("last batch of one", "BNL302", lambda: Pooled().train(), "load", 33),
    Defect("one value per channel", "BNL303", lambda: Pooled().train(), "train", 1),
    Defect("Keras momentum", "BNL401", lambda: fitted(Net(momentum=0.99))),
    Defect("momentum given as eps", "BNL402", lambda: fitted(Net(eps=0.8))),
    Defect("momentum zero", "BNL403", lambda: Net(momentum=0.0).train(), "train"),
    Defect("checkpointed BatchNorm", "BNL502", lambda: Checkpointed().train(), "watch"),
    Defect("statistics never updated", "BNL503", lambda: Net().eval()),
    Defect(
        "mean of one layer shifted", "BNL504", lambda: changed(lambda m: m.bn2.running_mean.add_(1))
    ),
    Defect("input in 0..255", "BNL504", lambda: fitted(Net()), scale=100.0),
    Defect(
        "NaN in a running mean",
        "BNL505",
        lambda: changed(lambda m: m.bn1.running_mean.fill_(float("nan"))),
    ),
    Defect(
        "negative running variance",
        "BNL505",
        lambda: changed(lambda m: m.bn1.running_var[3].fill_(-1.0)),
    ),
    Defect("statistics of other weights", "BNL506", lambda: changed(reweighted)),
    Defect("conversion drops activations", "BNL603", lambda: converted(Fused())),
)


def frozen(model: nn.Module) -> nn.Module:
    for parameter in model.parameters():
        parameter.requires_grad = False
    model.head.requires_grad_(True)
    return model.train()


def reweighted(model: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    for layer in (model.conv1, model.conv2):
        layer.weight.add_(torch.randn(layer.weight.shape, generator=generator) * 0.5)


def converted(model: nn.Module) -> nn.Module:
    return fitted(nn.SyncBatchNorm.convert_sync_batchnorm(model))


def by_bnlint(defect: Defect) -> set[str]:
    """The codes that bnlint reports."""
    model, inputs = defect.build(), defect.inputs
    if defect.use in ("watch", "forgets"):
        with bnlint.watch(model, settings=EVERYTHING) as watching:
            steps(model, inputs, forgets=defect.use == "forgets")
        return {finding.code for finding in watching.findings}
    given: Any = inputs
    if defect.use == "load":
        given = torch.utils.data.DataLoader(inputs, batch_size=8)
    phase = "inference" if defect.use == "infer" else "training"
    report = bnlint.check(model, given, phase=phase, settings=EVERYTHING)
    return {finding.code for finding in report.findings}


def steps(model: nn.Module, inputs: Tensor, *, forgets: bool) -> None:
    """Two epochs of one step; with an evaluation between them that nobody takes back."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), torch.zeros(len(inputs), dtype=torch.long)).backward()
        optimizer.step()
        if forgets:
            model.eval()
            with torch.no_grad():
                model(inputs)


def by_torch_audit(defect: Defect) -> set[tuple[str, str | None]]:
    """The rules that torch-audit reports, and of which module."""
    from torch_audit import audit_dynamic

    model, inputs = defect.build(), defect.inputs
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=0.01)
    with audit_dynamic(model, optimizer=optimizer, every_n_steps=1) as auditor:
        for batch in inputs.split(8) if defect.use == "load" else [inputs] * 2:
            if not _step(auditor, batch, defect.use == "infer"):
                break
            if defect.use == "forgets":
                model.eval()
    return {(finding.rule_id, finding.module_path) for finding in auditor.finish().findings}


def _step(auditor: Any, batch: Tensor, inference: bool) -> bool:
    """One audited step; whether the model went through with it."""
    try:
        if inference:
            with torch.no_grad():
                auditor.forward(batch)
            return True
        loss = auditor.forward(batch).square().mean()
        auditor.backward(loss)
        auditor.optimizer_step()
    except ValueError:  # PyTorch's own error, for one value per channel
        return False
    return True


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable()
    has_audit = importlib.util.find_spec("torch_audit") is not None
    clean = {
        use: by_torch_audit(Defect("clean", "", build, use)) if has_audit else set()
        for use, build in (("infer", lambda: fitted(Net())), ("train", lambda: Net().train()))
    }
    print(f"{'planted defect':<36}{'rule':<9}{'bnlint':<9}torch-audit")
    ours = theirs = 0
    for defect in DEFECTS:
        torch.manual_seed(0)
        hit = defect.code in by_bnlint(defect)
        new: set[str] = set()
        if has_audit:
            torch.manual_seed(0)
            known = clean["infer" if defect.use == "infer" else "train"]
            new = {rule for rule, _ in by_torch_audit(defect) - known}
        ours, theirs = ours + hit, theirs + bool(new)
        print(
            f"{defect.name:<36}{defect.code:<9}{'found' if hit else '-':<9}"
            f"{', '.join(sorted(new)) or '-'}"
        )
    of_clean = sorted({rule for found in clean.values() for rule, _ in found})
    print(f"found: bnlint {ours}, torch-audit {theirs} of {len(DEFECTS)}")
    print(f"on the clean network: torch-audit reports {', '.join(of_clean) or 'nothing'}")
    spoken = by_bnlint(Defect("clean", "", lambda: fitted(Net())))
    print(f"on the clean network: bnlint reports {', '.join(sorted(spoken)) or 'nothing'}")


if __name__ == "__main__":
    main()
