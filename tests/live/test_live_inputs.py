"""Every form of inputs and every wrapper around a model: the same layers and the same numbers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from live_states import fingerprint
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from bnlint.live.check import check
from bnlint.live.report import Report

ROWS = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
LABELS = torch.zeros(64, dtype=torch.long)


class Net(nn.Module):
    """Two BatchNorm layers, the second one in a part that may be checkpointed."""

    def __init__(self, reentrant: bool | None = None) -> None:
        super().__init__()
        self.reentrant = reentrant
        self.first = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.second = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        if self.reentrant is None:
            return self.out(self.second(x))
        return self.out(checkpoint(self.second, x, use_reentrant=self.reentrant))


def net(reentrant: bool | None = None) -> Net:
    """After some training, so that its statistics are not those of a new layer."""
    torch.manual_seed(0)
    model = Net(reentrant)
    plain = model.reentrant
    model.reentrant = None
    for _ in range(20):
        model(torch.randn(32, 6) + 0.3)
    model.reentrant = plain
    return model.eval()


def numbers(report: Report) -> list[tuple[str, float | None, float | None, float | None]]:
    return [(layer.name, layer.d, layer.floor, layer.cumulative) for layer in report.layers]


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    """A process group of one process."""
    store = f"file://{tmp_path / 'store'}"
    dist.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def in_place(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    return model


WRAPPERS: dict[str, Callable[[], nn.Module]] = {
    "DataParallel": lambda: DataParallel(net()),
    "DistributedDataParallel": lambda: DistributedDataParallel(net()),
    "torch.compile": lambda: torch.compile(net(), backend="eager"),
    "compiled in place": lambda: in_place(net()),
    "compiled inside DDP": lambda: DistributedDataParallel(torch.compile(net(), backend="eager")),
    "checkpointed": lambda: net(reentrant=False),
    "checkpointed, reentrant": lambda: net(reentrant=True),
}


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapper_changes_no_number(name: str, alone: None) -> None:
    expected = check(net(), ROWS, distributed=False)
    model = WRAPPERS[name]()
    before = fingerprint(model)
    report = check(model, ROWS, distributed=False)
    assert numbers(report) == numbers(expected)
    assert report.output == pytest.approx(expected.output, nan_ok=True)
    assert [layer.name for layer in report.layers] == ["first.1", "second.1"]
    assert {layer.producers for layer in report.layers} == {frozenset({"linear"})}
    assert fingerprint(model) == before
    assert not report.uninspected


def test_a_process_group_of_one_is_no_group(alone: None) -> None:
    report = check(DistributedDataParallel(net()), ROWS)
    assert report.ranks is None and len(report.layers) == 2


FORMS: dict[str, object] = {
    "tuple": (ROWS,),
    "list": [ROWS],
    "dict": {"x": ROWS},
    "loader": DataLoader(TensorDataset(ROWS), batch_size=64),
    "loader with labels": DataLoader(TensorDataset(ROWS, LABELS), batch_size=64),
    "loader of dicts": DataLoader([{"x": ROWS, "label": LABELS}], batch_size=None),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_of_inputs_changes_no_number(form: str) -> None:
    assert numbers(check(net(), FORMS[form])) == numbers(check(net(), ROWS))


@pytest.mark.parametrize(
    ("rows", "drop_last", "codes"),
    [(49, False, ["BNL302"]), (49, True, []), (48, False, []), (50, False, [])],
)
def test_the_last_batch_of_a_loader(rows: int, drop_last: bool, codes: list[str]) -> None:
    loader = DataLoader(ROWS[:rows], batch_size=16, drop_last=drop_last)
    found = check(net().train(), loader, phase="training", batches=2).findings
    assert [f.code for f in found if f.code == "BNL302"] == codes


def test_progress_is_shown_while_a_loader_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    check(net(), DataLoader(ROWS, batch_size=16), batches=3)
    shown = capsys.readouterr().err
    assert "batch 2 of 3" in shown and "batch 3 of 3" in shown and shown.endswith("\r\033[K")


class Two(nn.Module):
    """An image that is looked up, and numbers beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 6)
        self.net = net()

    def forward(self, tokens: Tensor, rows: Tensor, *, scale: float = 1.0) -> Tensor:
        return self.net(self.words(tokens).mean(1) + scale * rows)


TOKENS = torch.randint(20, (64, 5), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "inputs",
    [
        (TOKENS, ROWS),
        {"tokens": TOKENS, "rows": ROWS, "scale": 1.0},
        DataLoader(TensorDataset(TOKENS, ROWS, LABELS), batch_size=64),
    ],
    ids=["tuple", "dict", "loader"],
)
def test_several_inputs_of_which_one_is_of_integers(inputs: object) -> None:
    torch.manual_seed(0)
    model = Two().eval()
    with torch.no_grad():
        mixed = model.words(TOKENS).mean(1) + ROWS
    assert numbers(check(model.net, mixed)) == [
        (name.removeprefix("net."), *rest) for name, *rest in numbers(check(model, inputs))
    ]


@dataclass
class Named:
    logits: Tensor
    extra: list[Tensor]


OUTPUTS: dict[str, Callable[[Tensor], object]] = {
    "tuple": lambda y: (y, y.mean()),
    "dict": lambda y: {"logits": y, "loss": None},
    "dataclass": lambda y: Named(y, []),
    "nested": lambda y: [{"scores": (y,)}],
}


@pytest.mark.parametrize("form", OUTPUTS)
def test_a_form_of_outputs_changes_no_number_of_it(form: str) -> None:
    class Formed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def forward(self, x: Tensor) -> object:
            return OUTPUTS[form](self.net(x))

    expected, found = check(net(), ROWS).output, check(Formed(), ROWS).output
    same = ("flip_rate", "flip_control", "flip_excess", "batch")
    assert {name: found[name] for name in same} == {name: expected[name] for name in same}
    if form != "tuple":  # the mean is a part of the output, too
        assert found["drift"] == pytest.approx(expected["drift"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_reaches_the_layers(dtype: torch.dtype) -> None:
    seen: list[torch.dtype] = []
    model = net()
    model.first[1].register_forward_hook(lambda _m, args, _o: seen.append(args[0].dtype))
    full = numbers(check(model, ROWS))
    assert set(seen) == {torch.float32}
    seen.clear()
    with torch.autocast("cpu", dtype):
        cast = numbers(check(model, ROWS))
    assert set(seen) == {dtype}
    for (name, *wanted), (other, *found) in zip(full, cast):
        assert name == other and found == pytest.approx(wanted, abs=0.03)
