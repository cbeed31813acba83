"""Rules about running statistics, recalibration, several batches, and what made-up input allows."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from live_states import fingerprint
from small_networks import CORRUPTIONS, NETWORKS, corrupt, images, trained
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, TensorDataset

from bnlint.finding import Finding, Severity
from bnlint.live import progress
from bnlint.live.check import check
from bnlint.live.errors import CheckError
from bnlint.live.inputs import Loading, loading_of
from bnlint.live.report import Report


def rows(count: int = 256, seed: int = 1) -> Tensor:
    return torch.randn(count, 12, generator=torch.Generator().manual_seed(seed)) * 2 + 1


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(12, 24)
        self.bn1 = nn.BatchNorm1d(24)
        self.second = nn.Linear(24, 24)
        self.bn2 = nn.BatchNorm1d(24)
        self.third = nn.Linear(24, 24)
        self.bn3 = nn.BatchNorm1d(24)
        self.out = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.first(x)))
        x = F.relu(self.bn2(self.second(x)))
        return self.out(F.relu(self.bn3(self.third(x))))


def fitted(model: nn.Module | None = None) -> nn.Module:
    """A model whose statistics fit `rows()`, in evaluation mode."""
    torch.manual_seed(0)
    model = model if model is not None else Net()
    with torch.no_grad():
        for seed in range(2, 82):
            model(rows(128, seed))
    return model.eval()


def found(report: Report, code: str) -> Finding | None:
    return next((finding for finding in report.findings if finding.code == code), None)


def codes(report: Report) -> set[str]:
    return {finding.code for finding in report.findings}


# -- BNL503


@pytest.mark.parametrize(
    ("phase", "severity"),
    [("inference", Severity.ERROR), (None, Severity.NOTE), ("training", None)],
)
@pytest.mark.parametrize("data", [rows(), None], ids=["real", "synthetic"])
def test_never_updated(phase: str | None, severity: Severity | None, data: Tensor | None) -> None:
    report = check(Net().eval(), data, phase=phase)  # type: ignore[arg-type]
    finding = found(report, "BNL503")
    assert (finding.severity if finding else None) is severity
    if finding is not None:
        assert finding.module == "bn1"
        assert finding.measurement["layers"] == ["bn1", "bn2", "bn3"]
        assert "all 3 BatchNorm layers" in finding.message


def test_one_layer_that_was_never_updated() -> None:
    model = fitted()
    model.bn2.reset_running_stats()
    finding = found(check(model, rows(), phase="inference"), "BNL503")
    assert finding is not None
    assert finding.module == "bn2" and "1 of 3 BatchNorm layers" in finding.message


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(12, track_running_stats=False), nn.LayerNorm(12)])
def test_nothing_to_update(norm: nn.Module) -> None:
    assert not codes(check(nn.Sequential(norm, nn.Linear(12, 2)).eval(), rows(), phase="inference"))


def test_statistics_that_were_loaded_carry_no_count() -> None:
    model = fitted()
    for name in ("bn1", "bn2", "bn3"):
        getattr(model, name).num_batches_tracked.zero_()
    assert not codes(check(model, rows(), phase="inference"))


# -- BNL504 and BNL506


@pytest.fixture(scope="module", params=list(NETWORKS))
def network(request: pytest.FixtureRequest) -> nn.Sequential:
    return trained(request.param, steps=80)


@pytest.mark.slow
@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_the_guilty_layer_comes_first(network: nn.Sequential, kind: str) -> None:
    generator = torch.Generator().manual_seed(3)
    for _ in range(3):
        broken = copy.deepcopy(network)
        guilty = corrupt(broken, kind, generator)
        report = check(broken, images(64, generator)[0], phase="inference")
        assert max(report.layers, key=lambda layer: layer.d or 0).name == guilty
        finding = found(report, "BNL504")
        assert finding is not None and finding.module == guilty
        assert not codes(report) - {"BNL504", "BNL506"}


@pytest.mark.slow
@pytest.mark.parametrize("samples", [2, 8, 32, 128])
def test_clean_networks_are_left_alone(network: nn.Sequential, samples: int) -> None:
    generator = torch.Generator().manual_seed(samples)
    for phase in ("inference", None):
        for _ in range(3):
            report = check(network, images(samples, generator)[0], phase=phase)
            assert not codes(report), str(report)


@pytest.mark.parametrize("phase", ["inference", "training", None])
def test_stale_statistics_are_judged_in_every_phase(phase: str | None) -> None:
    model = fitted().train(phase == "training")
    model.bn2.running_mean += 3
    report = check(model, rows(), phase=phase)  # type: ignore[arg-type]
    finding = found(report, "BNL504")
    assert finding is not None and finding.module == "bn2"
    assert ("BNL506" in codes(report)) is (phase is not None)
    d, floor = finding.measurement["d"], finding.measurement["floor"]
    assert isinstance(d, float) and isinstance(floor, float)
    assert d > 1 > 10 * floor


def test_advice_by_the_pattern_of_the_layers() -> None:
    def message(change: Callable[[nn.Module], None], data: Tensor | None = None) -> str:
        model = fitted()
        change(model)
        finding = found(check(model, rows() if data is None else data), "BNL504")
        assert finding is not None
        return finding.message

    def stale(*names: str) -> Callable[[nn.Module], None]:
        return lambda model: [getattr(model, name).running_var.mul_(20) for name in names] and None

    assert "is the input scaled" in message(lambda model: None, rows() * 50)
    assert "nearly all layers are off" in message(stale("bn1", "bn2", "bn3"))
    assert "other classes" in message(stale("bn3"))
    assert "this one alone" in message(stale("bn2"))
    assert "2 of 3 layers are off, 'bn1' is the first" in message(stale("bn1", "bn2"))


def test_statistics_that_are_still_collected_are_not_stale() -> None:
    model = Net()
    for _ in range(3):
        model(rows())
    assert "BNL504" not in codes(check(model, rows()))
    assert "BNL504" not in codes(check(model, rows(), phase="training"))
    assert "BNL504" in codes(check(model.eval(), rows(), phase="inference"))


def test_dropout_is_no_staleness() -> None:
    layers = [nn.Linear(12, 48), nn.ReLU(), nn.Dropout(0.6), nn.Linear(48, 48), nn.BatchNorm1d(48)]
    model = fitted(nn.Sequential(*layers))
    report = check(model, rows(2048))
    (layer,) = report.layers
    assert layer.d is not None and layer.floor is not None
    with_dropout = layer.numbers["d_dropout"]
    assert isinstance(with_dropout, float)
    assert layer.d > 0.25 and layer.d > 5 * layer.floor  # off, but
    assert with_dropout < 0.1  # not with dropout on
    assert "BNL504" not in codes(report)


class Path(nn.Module):
    """DropPath that is on in every mode, as in a model under test-time dropping."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.bernoulli(torch.full((len(x), 1), 0.5)) * 2


def test_randomness_is_a_share_of_its_own_and_taken_off_the_verdict() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 24), nn.BatchNorm1d(24), Path(), nn.Linear(24, 1))
    output = check(fitted(model), rows(), phase="inference").output
    drift, share, net = (output[name] for name in ("drift", "random_share", "drift_net"))
    assert isinstance(share, float) and share > 0.3
    assert isinstance(drift, float) and drift < 0.2  # both passes start from the same seed
    assert net == 0.0
    assert not codes(check(model, rows(), phase="inference"))


# -- BNL505


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("running_mean", float("nan"), "not a number in 1 of 24"),
        ("running_var", float("inf"), "not a number in 1 of 24"),
        ("running_var", -0.5, "below zero in 1 of 24"),
        ("running_var", 0.0, "zero although the input varies in 1 of 24"),
    ],
)
@pytest.mark.parametrize("data", [rows(), None], ids=["real", "synthetic"])
def test_broken_statistics(name: str, value: float, fault: str, data: Tensor | None) -> None:
    model = fitted()
    getattr(model.bn2, name)[5] = value
    finding = found(check(model, data, phase="inference"), "BNL505")
    assert finding is not None and finding.severity is Severity.ERROR
    assert finding.module == "bn2" and fault in finding.message


def test_a_dead_channel_is_not_broken() -> None:
    model = fitted()
    with torch.no_grad():
        model.second.weight[5], model.second.bias[5] = 0, 0
    model.bn2.running_mean[5], model.bn2.running_var[5] = 0, 0
    assert not codes(check(model, rows(), phase="inference"))


# -- BNL603


class FusedNorm(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return F.silu(super().forward(x))


class LoggingNorm(nn.BatchNorm2d):
    """A subclass that computes what torch's computes."""

    calls = 0


class Fused(nn.Module):
    norm: type[nn.Module] = FusedNorm

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.bn = FusedNorm(width)
        self.inner = nn.Sequential(nn.Conv2d(width, width, 1), FusedNorm(width), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(self.bn(self.conv(x)))


class Either(Fused):
    def __init__(self, fused: bool) -> None:
        super().__init__()
        if fused:
            self.bn = FusedNorm(8)
        else:
            self.bn = nn.BatchNorm2d(8)
        self.inner = nn.Sequential(nn.Conv2d(8, 8, 1), LoggingNorm(8), nn.ReLU())


IMAGES = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
convert = nn.SyncBatchNorm.convert_sync_batchnorm


def test_a_fused_activation_that_the_conversion_dropped() -> None:
    finding = found(check(convert(Fused()), IMAGES), "BNL603")
    assert finding is not None and finding.module == "bn"
    assert finding.measurement["layers"] == ["bn", "inner.1"]
    assert "FusedNorm" in finding.message
    assert found(check(convert(Fused())), "BNL603") is not None  # made-up input will do


def test_conversions_that_lose_nothing() -> None:
    assert "BNL603" not in codes(check(Fused(), IMAGES))
    assert "BNL603" not in codes(check(convert(Either(fused=False)), IMAGES))
    plain = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3))
    assert "BNL603" not in codes(check(convert(plain), IMAGES))


# -- made-up input


def test_what_made_up_input_withholds_is_said() -> None:
    model = fitted()
    model.bn2.running_mean += 3
    report = check(model, phase="inference")
    assert report.synthetic and not codes(report)
    (withheld,) = [part for part in report.uninspected if "withheld" in part.reason]
    assert {"BNL301", "BNL504", "BNL506"} <= set(withheld.name.split(", "))
    assert "random input" in withheld.reason
    assert not any("withheld" in p.reason for p in check(model, rows()).uninspected)


# -- recalibration


def test_recalibration_is_measured_on_held_out_data_and_changes_nothing() -> None:
    model = fitted()
    model.bn2.running_mean += 3
    before = fingerprint(model)
    report = check(model, rows(), phase="inference", recalibrate=True)
    assert fingerprint(model) == before
    layer = report.layers[1]
    after = layer.numbers["d_recalibrated"]
    assert layer.d is not None and isinstance(after, float)
    assert layer.d > 1 > 5 * after > 0
    output = report.output
    assert output["drift_before"] > 3 * output["drift_recalibrated"] > 0  # type: ignore[operator]
    assert output["flip_before"] > output["flip_recalibrated"]  # type: ignore[operator]
    finding = found(report, "BNL504")
    assert finding is not None and f"{after:.2f}" in finding.message


def test_recalibration_averages_as_torch_does() -> None:
    """Against update_bn on the same batches, without dropout."""
    data = [rows(64, seed) for seed in range(6)]
    model = fitted()
    model.bn1.running_mean += 3
    averaged = copy.deepcopy(model)
    torch.optim.swa_utils.update_bn(data[:3], averaged)
    report = check(model, DataLoader(data, batch_size=None), batches=6, recalibrate=True)
    held_out = torch.cat(data[3:])
    x = averaged.first(held_out)
    d = ((x.mean(0) - averaged.bn1.running_mean) / averaged.bn1.running_var.sqrt()).abs().mean()
    after = report.layers[0].numbers["d_recalibrated"]
    assert isinstance(after, float)
    assert float(d) < after < 1.8 * float(d)  # the variance adds to the shift of the mean


def test_one_half_of_a_batch_calibrates_and_the_other_is_measured() -> None:
    """Running statistics that fit the second half alone: before it is right, afterwards wrong."""
    model = nn.Sequential(nn.BatchNorm1d(12, momentum=None)).train()
    first, second = rows(64, 1) - 5, rows(64, 2) + 5
    model(second)
    report = check(model.eval(), torch.cat((first, second)), recalibrate=True)
    before, after = report.output["drift_before"], report.output["drift_recalibrated"]
    assert isinstance(before, float) and isinstance(after, float)
    assert before < 0.05 < 0.5 < after
    d = report.layers[0].numbers["d_recalibrated"]
    exact = (first.mean(0) - second.mean(0)).abs() / first.var(0).sqrt()
    assert d == pytest.approx(float(exact.mean()), rel=0.05)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_later_half_of_several_batches_is_measured(count: int) -> None:
    model = nn.Sequential(nn.BatchNorm1d(12)).eval()
    data = [rows(64, seed) + 10 * seed for seed in range(count)]
    report = check(model, DataLoader(data, batch_size=None), batches=count, recalibrate=True)
    given, rest = torch.cat(data[: count // 2]), torch.cat(data[count // 2 :])
    variance = torch.stack([part.var(0) for part in data[: count // 2]]).mean(0)
    shift = (rest.mean(0) - given.mean(0)) / variance.sqrt()
    scale = (rest.var(0) / variance).sqrt() - 1
    exact = (shift.square() + scale.square()).sqrt().mean()
    assert report.layers[0].numbers["d_recalibrated"] == pytest.approx(float(exact), rel=0.05)


def test_outputs_without_classes_are_recalibrated_without_flips() -> None:
    model = nn.Sequential(nn.BatchNorm1d(12), nn.Linear(12, 1), nn.Flatten(0)).eval()
    output = check(model, rows(64) + 3, recalibrate=True).output
    assert isinstance(output["drift_before"], float)
    assert isinstance(output["drift_recalibrated"], float)
    assert (output["flip_before"], output["flip_recalibrated"]) == (None, None)


def test_recalibration_of_three_samples_is_reported_as_impossible() -> None:
    report = check(fitted(), rows(3), recalibrate=True)
    assert "drift_recalibrated" not in report.output
    assert any(part.name == "recalibration" for part in report.uninspected)


# -- loaders


def loader(count: int, **options: object) -> DataLoader[object]:
    labels = torch.zeros(count, dtype=torch.long)
    return DataLoader(TensorDataset(rows(count), labels), **options)  # type: ignore[arg-type]


def test_the_first_batches_of_a_loader_are_pooled() -> None:
    model = fitted()
    report = check(model, loader(256, batch_size=32))
    whole = check(model, rows()[:128])
    assert report.output["batches"] == 4 and report.output["batch"] == 32
    assert report.layers[0].values_per_channel == 128
    assert report.layers[0].d == pytest.approx(whole.layers[0].d, rel=1e-3)
    assert report.layers[0].floor == pytest.approx(whole.layers[0].floor, rel=0.05)
    assert "4 batches of 32" in str(report)
    assert check(model, loader(256, batch_size=32), batches=2).output["batches"] == 2
    assert check(model, loader(40, batch_size=32)).layers[0].values_per_channel == 40
    with pytest.raises(CheckError, match="at least one"):
        check(model, loader(40, batch_size=32), batches=0)


def test_several_batches_show_what_one_hides() -> None:
    model = fitted()
    model.bn2.running_mean += 0.15
    few = check(model, rows(8))
    many = check(model, loader(256, batch_size=8), batches=16)
    assert "BNL504" not in codes(few)
    assert found(many, "BNL504") is not None


def test_a_further_batch_that_does_not_fit_is_reported() -> None:
    data = [rows(16), torch.randn(16, 5)]
    report = check(fitted(), DataLoader(data, batch_size=None))
    assert len(report.layers) == 3
    assert any(part.name == "a further batch" for part in report.uninspected)


class Stream(IterableDataset[Tensor]):
    def __iter__(self) -> Iterator[Tensor]:
        return iter(rows(65))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (loader(65, batch_size=32), Loading(32, 1, keeps_rest=True)),
        (loader(64, batch_size=32), Loading(32, 32, keeps_rest=True)),
        (loader(65, batch_size=32, drop_last=True), Loading(32, 32, keeps_rest=False)),
        (loader(65, batch_size=32, shuffle=True), Loading(32, 1, keeps_rest=True)),
        (loader(65, batch_size=None), None),
        (DataLoader(Stream(), batch_size=32), Loading(32, None, keeps_rest=True)),
        (
            loader(65, batch_sampler=BatchSampler(range(33), 16, drop_last=False)),
            Loading(16, 1, keeps_rest=True),
        ),
        ([rows()], None),
    ],
)
def test_how_a_loader_cuts_its_data(given: object, expected: Loading | None) -> None:
    assert loading_of(given) == expected


def test_progress_is_for_terminals(monkeypatch: pytest.MonkeyPatch, capsys: object) -> None:
    with progress.progress(4) as tell:
        assert tell is None
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress.progress(1) as tell:
        assert tell is None
    with progress.progress(4) as tell:
        assert tell is not None
        tell(1, 4)
    assert "batch 2 of 4" in capsys.readouterr().err  # type: ignore[attr-defined]


# -- inputs and outputs of other forms


@dataclass
class Output:
    logits: Tensor
    loss: Tensor | None = None


class Words(nn.Module):
    def __init__(self, form: str = "dict") -> None:
        super().__init__()
        self.words = nn.Embedding(40, 12)
        self.net = Net()
        self.form = form

    def forward(self, tokens: Tensor, weights: Tensor) -> object:
        logits = self.net((self.words(tokens) * weights[..., None]).mean(1))
        match self.form:
            case "dict":
                return {"logits": logits, "tokens": tokens}
            case "tuple":
                return logits, (tokens, None)
            case _:
                return Output(logits, logits.mean())


TOKENS = torch.randint(40, (64, 9), generator=torch.Generator().manual_seed(0))
WEIGHTS = torch.rand(64, 9, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("form", ["dict", "tuple", "dataclass"])
@pytest.mark.parametrize(
    "inputs", [(TOKENS, WEIGHTS), {"tokens": TOKENS, "weights": WEIGHTS}], ids=["tuple", "dict"]
)
def test_integer_inputs_and_outputs_of_every_form(form: str, inputs: object) -> None:
    report = check(Words(form), inputs, phase="inference")
    assert len(report.layers) == 3 and not report.uninspected
    for name in ("drift", "drift_control", "flip_rate", "flip_control", "flip_excess"):
        assert isinstance(report.output[name], float), name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_and_autocast(dtype: torch.dtype) -> None:
    model = fitted()
    full = [layer.d for layer in check(model, rows()).layers]
    with torch.autocast("cpu", dtype):
        cast = [layer.d for layer in check(model, rows()).layers]
    half = [layer.d for layer in check(copy.deepcopy(model).to(dtype), rows().to(dtype)).layers]
    for found in (cast, half):
        assert found == pytest.approx(full, abs=0.03)


def test_an_empty_batch_is_refused_before_anything_runs() -> None:
    with pytest.raises(CheckError, match="empty"):
        check(fitted(), torch.zeros(0, 12))
