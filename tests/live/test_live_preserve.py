"""Whatever a forward does, the model and the generators are bit-identical after a check."""

from __future__ import annotations

import contextlib
import random
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Any

import numpy
import pytest
import torch
import torch.nn.functional as F
from live_states import fingerprint
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.nn.utils import spectral_norm as old_spectral_norm
from torch.nn.utils.parametrizations import spectral_norm

from bnlint.live.check import check
from bnlint.live.errors import CheckError
from bnlint.live.preserve import Preserve


class Meter:
    def __init__(self) -> None:
        self.total = 0.0
        self.history: list[float] = []


class Base(nn.Module):
    """A small network whose forward ends in `misbehave`."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 6)
        self.bn = nn.BatchNorm1d(6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(self.fc(x))
        self.misbehave(y)
        return y.relu()

    def misbehave(self, y: Tensor) -> None:
        raise NotImplementedError


class Counter(Base):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.log: list[float] = [1.0]
        self.recent: deque[int] = deque([1, 2], maxlen=2)
        self.names = {"a"}
        self.cache: dict[str, Any] = {"nested": [1, {"deep": 2}]}
        self.meter = Meter()

    def misbehave(self, y: Tensor) -> None:
        self.calls += 1
        self.log.append(float(y.mean()))
        self.recent.append(self.calls)
        self.names.add(str(self.calls))
        self.cache["nested"][1]["deep"] += 1
        self.cache["new"] = y
        self.meter.total += 1
        self.meter.history.append(1.0)
        self.appeared = True
        del self.cache["nested"][0]


class Average(Base):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ema", torch.zeros(6))
        self.register_buffer("hidden", torch.ones(6), persistent=False)
        self.plain = torch.zeros(6)
        self.listed = [torch.zeros(2, 6)]
        self.array = numpy.zeros(3)
        self.weird = torch.tensor([float("nan"), -0.0])

    def misbehave(self, y: Tensor) -> None:
        self.ema.mul_(0.9).add_(y.mean(0))
        self.hidden = self.hidden * 2
        self.plain.data.copy_(y.mean(0))
        self.listed[0][1] = y[0]
        self.array += 1
        self.weird.zero_()


class Switcher(Base):
    def misbehave(self, y: Tensor) -> None:
        self.bn.eval()
        self.fc.weight.requires_grad_(False)
        self.bn.momentum = 0.5


class Overwriter(Base):
    def misbehave(self, y: Tensor) -> None:
        self.fc.weight.data.mul_(0.5)
        self.fc.bias.data = self.fc.bias.data + 1
        with torch.no_grad():
            self.bn.weight[0] = 7.0
            torch._foreach_add_([self.bn.bias], 1.0)


class Trainer(Base):
    def misbehave(self, y: Tensor) -> None:
        with torch.enable_grad():
            self.fc(torch.ones(2, 6)).sum().backward()


class Gambler(Base):
    def misbehave(self, y: Tensor) -> None:
        torch.rand(3)
        random.random()
        numpy.random.rand()
        torch.manual_seed(7)


class Dealer(Base):
    """Generators of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.torch_generator = torch.Generator().manual_seed(1)
        self.python_generator = random.Random(1)
        self.numpy_generator = numpy.random.default_rng(1)

    def misbehave(self, y: Tensor) -> None:
        torch.rand(1, generator=self.torch_generator)
        self.python_generator.random()
        self.numpy_generator.random()


class Hooker(Base):
    def misbehave(self, y: Tensor) -> None:
        self.bn.register_forward_hook(lambda *_: None)
        self.extra = nn.Linear(2, 2)


class Filling(Base):
    """Fills what was empty; an emptied OrderedDict can still be used."""

    def __init__(self) -> None:
        super().__init__()
        self.plain: dict[str, int] = {}
        self.ordered: OrderedDict[str, int] = OrderedDict()

    def misbehave(self, y: Tensor) -> None:
        assert not self.plain and not list(self.ordered)
        self.plain["calls"] = 1
        self.ordered["calls"] = 1
        self.ordered.move_to_end("calls")


class Restless(Base):
    def misbehave(self, y: Tensor) -> None:
        self.train(not self.training)


class Renormalising(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(10, 6, max_norm=0.1)
        self.bn = nn.BatchNorm1d(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.words(x).mean(1))


class Hidden(Base):
    def __init__(self) -> None:
        super().__init__()
        self.unregistered = [nn.BatchNorm1d(6)]

    def misbehave(self, y: Tensor) -> None:
        self.unregistered[0](y)


MISBEHAVING = [
    Counter,
    Average,
    Switcher,
    Overwriter,
    Trainer,
    Gambler,
    Dealer,
    Hooker,
    Filling,
    Restless,
    Hidden,
]


@pytest.mark.parametrize("network", MISBEHAVING)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("raises", [False, True])
def test_nothing_changes(network: type[Base], training: bool, raises: bool) -> None:
    torch.manual_seed(0)
    model = network().train(training)
    model.fc.weight.grad = torch.ones(6, 6)
    model.bn.eval()
    if raises:
        model.register_forward_hook(_explode)
    x = torch.randn(8, 6)
    before = fingerprint(model)
    if raises:
        with pytest.raises(ArithmeticError):
            check(model, x)
    else:
        assert check(model, x).layers
    assert fingerprint(model) == before


def _explode(*_: object) -> None:
    raise ArithmeticError("after all the damage")


def test_unregistered_modules_are_restored_too() -> None:
    model = Hidden()
    hidden = model.unregistered[0]
    check(model, torch.randn(8, 6))
    assert hidden.num_batches_tracked == 0
    assert torch.equal(hidden.running_mean, torch.zeros(6))


def test_embedding_that_renormalises_its_weight_in_place() -> None:
    model = Renormalising()
    x = torch.randint(10, (8, 4))
    before = fingerprint(model)
    assert check(model, x).layers
    assert fingerprint(model) == before


@pytest.mark.parametrize("norm", [spectral_norm, old_spectral_norm])
def test_spectral_norm_power_iteration(norm: Any) -> None:
    model = nn.Sequential(norm(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4))
    x = torch.randn(4, 3, 8, 8)
    model(x)
    before = fingerprint(model)
    (layer,) = check(model, x).layers
    assert {str(kind) for kind in layer.producers} == {"conv"}
    assert fingerprint(model) == before


def test_a_forward_that_writes_to_its_input() -> None:
    class Net(Base):
        def forward(self, x: Tensor) -> Tensor:
            return self.bn(self.fc(x.sub_(1)))

    x = torch.randn(8, 6)
    kept = x.clone()
    check(Net(), x)
    assert torch.equal(x, kept)


def test_every_pass_starts_from_the_same_state() -> None:
    class Alternating(nn.Module):
        """Every second call is another function; a check sees only the first kind."""

        def __init__(self) -> None:
            super().__init__()
            self.odd = False
            self.bn = nn.BatchNorm1d(4)

        def forward(self, x: Tensor) -> Tensor:
            self.odd = not self.odd
            return self.bn(x) if self.odd else self.bn(x) * 100

    model = Alternating()
    report = check(model.eval(), _standardised(64, 4))
    assert report.output["drift"] == pytest.approx(0.0, abs=1e-4)


def _standardised(samples: int, channels: int) -> Tensor:
    x = torch.randn(samples, channels)
    return (x - x.mean(0)) / x.std(0, correction=0)


def test_lazy_modules_are_refused() -> None:
    model = nn.Sequential(nn.LazyLinear(4), nn.BatchNorm1d(4))
    with pytest.raises(CheckError, match="lazy"):
        check(model, torch.randn(4, 3))


def test_meta_models_are_refused() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    with pytest.raises(CheckError, match="meta"):
        check(model, torch.randn(4, 4))


def test_only_parameters_that_are_written_are_copied() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    with Preserve(model) as preserve, torch.no_grad():
        preserve.before_write(model[0].weight[:1])
        assert len(preserve._weights._copies) == 1
        model[0].weight[:1] = 5.0
    assert not (model[0].weight == 5.0).any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_model_moved_to_a_gpu_comes_back() -> None:
    model = Counter()
    x = torch.randn(8, 6)
    before = fingerprint(model)
    cuda = torch.cuda.get_rng_state()
    report = check(model, x, device="cuda")
    assert report.layers[0].d is not None
    assert fingerprint(model) == before
    assert torch.equal(torch.cuda.get_rng_state(), cuda)


def test_functional_batch_norm_writes_no_buffer() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.zeros(4))
            self.register_buffer("var", torch.ones(4))

        def forward(self, x: Tensor) -> Tensor:
            return F.batch_norm(x, self.mean, self.var, training=True)

    model = Net()
    version = model.mean._version
    check(model, torch.randn(8, 4))
    assert model.mean._version == version


class Slotted:
    __slots__ = ("empty", "history", "total")

    def __init__(self) -> None:
        self.total = 0
        self.history: list[int] = []


class Extended(Slotted):
    def __init__(self) -> None:
        super().__init__()
        self.extra = 0


@dataclass(frozen=True, slots=True)
class Frozen:
    total: int = 0


class SlottedMeter(Base):
    def __init__(self, meter: object) -> None:
        super().__init__()
        self.meter = meter

    def misbehave(self, y: Tensor) -> None:
        object.__setattr__(self.meter, "total", 7)
        if isinstance(self.meter, Slotted):
            self.meter.empty = 1
            self.meter.history.append(1)
        if isinstance(self.meter, Extended):
            self.meter.extra = 5


@pytest.mark.parametrize("meter", [Slotted, Extended, Frozen])
def test_objects_with_slots_are_restored(meter: type) -> None:
    model = SlottedMeter(meter())
    check(model, torch.randn(8, 6))
    assert model.meter.total == 0
    assert not hasattr(model.meter, "empty")
    assert getattr(model.meter, "history", []) == []
    assert getattr(model.meter, "extra", 0) == 0


class Deep(nn.Module):
    """A convolutional network with every kind of layer that a check looks at."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.drop = nn.Dropout2d(0.3)
        self.block = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.GELU())
        self.head = nn.Sequential(nn.Flatten(), nn.LazyLinear(5), nn.BatchNorm1d(5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.stem(x))
        return self.head(x + self.block(x))


def deep() -> Deep:
    torch.manual_seed(0)
    model = Deep()
    model(torch.randn(2, 3, 6, 6))
    return model


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("error", [ArithmeticError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("layer", [name for name, _ in deep().named_modules()])
def test_an_exception_at_every_layer(layer: str, error: type, before: bool) -> None:
    model = deep()
    module = model.get_submodule(layer)

    def explode(*_: object) -> None:
        raise error

    register = module.register_forward_pre_hook if before else module.register_forward_hook
    register(explode)
    x = torch.randn(8, 3, 6, 6)
    state = fingerprint(model)
    with pytest.raises(error):
        check(model, x)
    assert fingerprint(model) == state
    assert not torch_module._global_forward_hooks
    assert not torch_module._global_forward_pre_hooks
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("number", range(1, 8))
@pytest.mark.parametrize("error", [ArithmeticError, KeyboardInterrupt])
def test_an_exception_in_every_pass(number: int, error: type) -> None:
    model = deep()
    calls = 0

    def explode(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            raise error

    model.block.register_forward_hook(explode)
    x = torch.randn(8, 3, 6, 6)
    state = fingerprint(model)
    with contextlib.suppress(error):
        check(model, x, recalibrate=True)
    assert fingerprint(model) == state
