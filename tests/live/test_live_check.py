"""check() end to end: phases, findings, synthetic input, reports."""

from __future__ import annotations

import copy
import json
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import bnlint.live.check as check_module
from bnlint.finding import Finding, Severity
from bnlint.live.check import check
from bnlint.live.errors import CheckError, FindingsError
from bnlint.live.text import render
from bnlint.rules import all_rules
from bnlint.rules.base import Pictures, Rule
from bnlint.trace import Forward, Purpose


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )


IMAGES = torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 3 + 5


def codes(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.code for finding in findings]


def test_a_fresh_model_in_training_mode_is_accused_with_its_drift() -> None:
    report = check(network(), IMAGES, phase="inference")
    (finding,) = report.findings
    assert finding.code == "BNL101" and finding.severity is Severity.ERROR
    assert isinstance(finding.measurement["drift"], float) and finding.measurement["drift"] > 0.2
    assert not report.ok()
    with pytest.raises(FindingsError, match="BNL101"):
        report.raise_for("error")


def test_eval_after_a_short_training_is_clean() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    labels = torch.randint(4, (32,))
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(IMAGES), labels).backward()
        optimizer.step()
    report = check(model.eval(), IMAGES, phase="inference")
    assert report.ok("note") and not report.findings
    assert report.layers[0].d is not None and report.layers[0].d < 0.1
    report.raise_for("note")


def test_without_a_phase_the_mode_is_not_judged() -> None:
    assert "BNL101" not in codes(check(network(), IMAGES).findings)
    assert "BNL303" not in codes(check(network(), IMAGES).findings)


def test_training_phase_has_a_step_and_inference_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Pictures] = []
    monkeypatch.setattr(
        check_module, "judge", lambda pictures, settings: seen.append(pictures) or []
    )
    for phase in ("training", "inference", None):
        check(network(), IMAGES, phase=phase)
    forwards = [e for p in seen for e in p.traces[0].events() if isinstance(e, Forward)]
    assert [f.stated for f in forwards] == [
        Purpose.TRAINING,
        Purpose.INFERENCE,
        Purpose.UNSTATED,
    ]
    assert [f.batch for f in forwards] == [32, 32, 32]
    assert [p.traces[0].has_step for p in seen] == [True, False, False]
    assert not any(p.measured.synthetic for p in seen)


def test_batch_of_one_on_a_small_map_does_not_crash() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(8), nn.ReLU())
    report = check(model, torch.randn(1, 3, 8, 8), phase="training")
    assert report.layers[0].d is None and report.layers[0].values_per_channel == 1
    assert "impossible" in report.uninspected[0].reason
    assert "BNL303" in codes(report.findings)
    assert "not measured" in str(report)


@pytest.mark.parametrize("phase", ["training", "inference", None])
def test_batch_of_one_on_a_larger_map(phase: check_module.Phase | None) -> None:
    report = check(network().eval(), IMAGES[:1], phase=phase)
    assert report.layers[0].d is not None and report.layers[0].floor is None


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm2d(8, momentum=None),
        nn.BatchNorm2d(8, affine=False),
        nn.SyncBatchNorm(8),
        nn.BatchNorm2d(8).to(torch.float64),
    ],
)
def test_variants_of_batchnorm(norm: nn.Module) -> None:
    dtype = norm.running_var.dtype
    model = nn.Sequential(nn.Conv2d(3, 8, 3), norm).to(dtype)
    (layer,) = check(model, IMAGES.to(dtype)).layers
    assert layer.d is not None and layer.d > 0.1


def test_mixed_precision_weights() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3).bfloat16(), nn.BatchNorm2d(8))
    (layer,) = check(model, IMAGES.bfloat16()).layers
    assert layer.d is not None


def test_without_running_statistics_there_is_no_drift() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, track_running_stats=False))
    report = check(model, IMAGES)
    assert report.layers[0].d is None and "drift" not in report.output
    assert "no running statistics" in report.uninspected[0].reason


def test_broken_statistics_are_numbers_that_json_can_say() -> None:
    model = network()
    model[1].running_var.fill_(float("nan"))
    report = check(model, IMAGES)
    assert report.layers[0].d is None
    assert json.loads(report.to_json())["output"]["drift"] is None


def test_synthetic_input_is_marked_and_judges_no_data() -> None:
    report = check(network(), phase="inference")
    assert report.synthetic and codes(report.findings) == ["BNL101"]
    assert "drift" not in report.findings[0].measurement
    assert "SYNTHETIC" in str(report) and "SYNTHETIC" in report._repr_html_()
    assert "flip_control" not in report.output


def test_rules_that_need_data_are_withheld(monkeypatch: pytest.MonkeyPatch) -> None:
    def accuse(pictures: Pictures) -> Iterator[Finding]:
        yield template.finding("accused", None)

    template = all_rules()[0]
    rules = [
        replace(template, code="BNL998", live=True, check=accuse, needs_data=True),
        replace(template, code="BNL997", live=True, check=accuse, default=False),
        replace(template, code="BNL996", live=False, check=accuse),
        replace(template, code="BNL995", live=True, check=accuse),
    ]
    ran: list[str] = []
    for index, rule in enumerate(rules):
        rules[index] = replace(rule, check=lambda _, code=rule.code: ran.append(code) or [])
    monkeypatch.setattr(check_module, "all_rules", lambda: tuple(rules))
    check(network(), IMAGES)
    assert ran == ["BNL998", "BNL995"]
    ran.clear()
    check(network())
    assert ran == ["BNL995"]
    ran.clear()

    class Everything:
        rules: ClassVar = {}

        def selects(self, rule: Rule, *, live: bool = False) -> bool:
            return rule.code == "BNL997"

    check(network(), IMAGES, settings=Everything())
    assert ran == ["BNL997"]


def test_a_crashing_rule_is_a_finding_and_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(pictures: Pictures) -> list[Finding]:
        raise ZeroDivisionError("oops")

    rules = list(all_rules())
    rules.append(replace(rules[0], code="BNL999", live=True, default=True, check=crash))
    monkeypatch.setattr(check_module, "all_rules", lambda: tuple(rules))
    report = check(network(), IMAGES, phase="inference")
    assert set(codes(report.findings)) == {"BNL101", "BNL903"}
    assert any("BNL999 crashed: ZeroDivisionError: oops" in f.message for f in report.findings)


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 12)
        self.act = nn.ReLU()
        self.bn = nn.BatchNorm1d(12, momentum=0.99)
        self.drop = nn.Dropout(0.5)
        self.out = nn.Linear(12, 3)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.out(self.drop(self.bn(self.act(self.fc(x)))))


ROWS = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))


def test_structure_rules_fire_at_the_line_of_the_class() -> None:
    report = check(Classifier(), ROWS)
    found = {finding.code: finding for finding in report.findings}
    assert {"BNL201", "BNL203", "BNL401"} <= set(found)
    place = found["BNL401"].place
    assert place is not None
    line = Path(__file__).read_text().splitlines()[place.line - 1]
    assert "self.bn = nn.BatchNorm1d" in line
    assert found["BNL201"].measurement["zeros_share"] == pytest.approx(0.5, abs=0.15)


def test_loader_batches_are_taken_as_forward_wants_them() -> None:
    labels = torch.zeros(64, dtype=torch.long)
    generator = torch.Generator().manual_seed(3)
    loader = DataLoader(
        TensorDataset(ROWS, labels), batch_size=16, shuffle=True, generator=generator
    )
    model = Classifier()
    state, generators = generator.get_state(), torch.get_rng_state()
    report = check(model, loader)
    assert report.output["batch"] == 16 and not report.synthetic
    assert torch.equal(generator.get_state(), state)
    assert torch.equal(torch.get_rng_state(), generators)
    dictionaries = [{"x": ROWS, "labels": labels}]
    assert check(Classifier(), DataLoader(dictionaries, batch_size=None)).output["batch"] == 64


@pytest.mark.parametrize("inputs", [[], {}, (), iter([]), 3, "text", (1, 2)])
def test_unusable_inputs_are_refused_in_one_line(inputs: object) -> None:
    with pytest.raises(CheckError) as caught:
        check(Classifier(), inputs)
    assert "\n" not in str(caught.value)


def test_wrong_arguments() -> None:
    with pytest.raises(CheckError, match="phase"):
        check(network(), IMAGES, phase="testing")  # type: ignore[arg-type]
    with pytest.raises(CheckError, match=r"torch\.nn\.Module"):
        check("model", IMAGES)  # type: ignore[arg-type]
    with pytest.raises(CheckError, match="device"):
        check(network(), IMAGES, device="nonsense")


def test_errors_of_the_model_are_its_own() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        check(Classifier(), torch.randn(8, 5))


def test_recalibration_is_the_proof() -> None:
    report = check(network(), IMAGES, recalibrate=True)
    before, after = report.output["drift_before"], report.output["drift_recalibrated"]
    assert isinstance(before, float) and isinstance(after, float)
    assert before > 3 * after


def test_flips_stand_beside_their_noise_control() -> None:
    model = Classifier()
    model.fc.bias.data += 2
    report = check(model, ROWS)
    flips, control = report.output["flip_rate"], report.output["flip_control"]
    assert isinstance(flips, float) and isinstance(control, float)
    assert flips > control
    share = report.output["dropout_share"]
    assert isinstance(share, float) and share > 0.1


def test_the_seed_decides() -> None:
    class Noisy(Classifier):
        def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
            return super().forward(x + torch.randn_like(x))

    model = Noisy()
    first, again, other = (check(model, ROWS, seed=s).to_dict() for s in (1, 1, 2))
    assert first == again != other


def test_report_in_every_form(tmp_path: Path) -> None:
    report = check(Classifier(), ROWS, phase="inference")
    data = json.loads(report.to_json())
    assert data == json.loads(json.dumps(report.to_dict()))
    assert {"code", "path", "line", "module", "measurement"} <= set(data["findings"][0])
    (layer,) = data["layers"]
    assert layer["name"] == "bn" and layer["producers"] == ["activation"]
    assert layer["consumers"] == ["dropout"]
    file = tmp_path / "report.html"
    report.to_html(file)
    assert file.read_text().startswith("<!DOCTYPE html>") and "BNL101" in file.read_text()
    text = str(report)
    for part in ("bn ", "floor", "█", "output drift", "flip", "BNL101 [error]"):
        assert part in text


def test_plot() -> None:
    pytest.importorskip("matplotlib")
    axes = check(Classifier(), ROWS).plot().axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["bn"]


def test_html_is_escaped() -> None:
    model = nn.Sequential()
    model.add_module("<b>", nn.BatchNorm1d(6))
    assert "<b></td>" not in check(model, ROWS)._repr_html_()
    assert "&lt;b&gt;" in check(model, ROWS)._repr_html_()


SYNTHETIC = {
    "image": lambda: network(),
    "large image": lambda: nn.Sequential(nn.Conv2d(1, 2, 40), nn.BatchNorm2d(2)),
    "sequence": lambda: nn.Sequential(nn.Conv1d(4, 8, 3), nn.BatchNorm1d(8)),
    "volume": lambda: nn.Sequential(nn.Conv3d(1, 2, 3), nn.BatchNorm3d(2)),
    "features": lambda: nn.Sequential(nn.Linear(20, 8), nn.BatchNorm1d(8)),
    "norm first": lambda: nn.Sequential(nn.BatchNorm1d(20), nn.Linear(20, 8)),
    "flattened image": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 28 * 28, 2)
    ),
}


@pytest.mark.parametrize("name", SYNTHETIC)
def test_inputs_are_derived_from_the_first_layers(name: str) -> None:
    report = check(SYNTHETIC[name]())
    assert report.synthetic and report.layers


class Text(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 8)
        self.rnn = nn.GRU(8, 8, batch_first=True)
        self.bn = nn.BatchNorm1d(8)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.bn(self.rnn(self.words(tokens))[0][:, -1])


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8)
        self.bn = nn.BatchNorm1d(8)

    def forward(self, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        return self.bn(self.fc(a) * b)


@pytest.mark.parametrize("model", [Text, TwoInputs])
def test_inputs_are_derived_for_more_than_images(model: type[nn.Module]) -> None:
    assert check(model()).layers


def test_underivable_inputs_are_said_in_one_line() -> None:
    class Odd(Classifier):
        def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
            raise LookupError("nothing\nfits")

    with pytest.raises(CheckError, match="pass inputs") as caught:
        check(Odd())
    assert "\n" not in str(caught.value)


def test_a_model_with_gradients_can_still_be_trained() -> None:
    model = network()
    loss = model(IMAGES).sum()
    check(copy.deepcopy(model), IMAGES)
    check(model, IMAGES)
    loss.backward()
    assert model[0].weight.grad is not None


def test_the_table_fits_the_terminal_and_tells_its_layers_apart() -> None:
    stages = [nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6)) for _ in range(3)]
    names = [f"stage_of_the_encoder_{number}" for number in range(3)]
    encoder = nn.Sequential(OrderedDict(zip(names, stages)))
    report = check(nn.Sequential(OrderedDict(features=encoder)), ROWS)
    narrow, wide = render(report, 80), render(report, 120)
    assert max(map(len, narrow.splitlines())) <= 80
    assert "layer of features" in narrow
    for name in names:
        assert f"\n{name}.1 " in narrow
        assert f"\nfeatures.{name}.1 " in wide
    assert repr(report) == str(report)


def test_a_shared_name_that_is_too_long_is_still_told_to_be_shared() -> None:
    shared = "features_of_the_encoder_that_has_a_name_beyond_all_measure"
    parts = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6))
    text = render(check(nn.Sequential(OrderedDict([(shared, parts)])), ROWS), 80)
    assert "\nlayer of …" in text and "beyond_all_measure " in text
    assert max(map(len, text.splitlines())) <= 80


class Excused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(4, momentum=0.99)  # bnlint: ignore[BNL401] only the last batch
        self.other = nn.BatchNorm1d(4, momentum=0.99)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.other(self.bn(x))


def test_comments_excuse_a_constructor() -> None:
    report = check(Excused(), torch.randn(32, 4))
    momenta = [finding for finding in report.findings if finding.code == "BNL401"]
    assert [finding.suppressed for finding in momenta] == [True, False]
    assert [finding for finding in report.shown if finding.code == "BNL401"] == momenta[1:]
    assert str(report).count("BNL401") == 1
    assert report.to_dict()["findings"][0].keys() >= {"suppressed"}
