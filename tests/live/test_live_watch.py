"""`bnlint.watch`: what each rule says of a loop, and where."""

from __future__ import annotations

import inspect
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.checkpoint import checkpoint
from watched import IMAGES, Maps, Net, codes, line_of, net, optimizer, predict, step

import bnlint
from bnlint.settings import Settings

pytestmark = pytest.mark.filterwarnings("error::bnlint.live.errors.BatchNormWarning")


def test_inference_in_training_mode_is_said_at_once_at_the_users_line(told: list) -> None:
    model = net()
    with bnlint.watch(model) as watching:
        predict(model)
        (warning,) = told
        assert warning.category is bnlint.BatchNormWarning
        assert warning.filename == inspect.getsourcefile(predict)
        assert warning.lineno == line_of(predict, "model(x)")
        assert "BNL101" in str(warning.message)
        assert warning.message.finding.code == "BNL101"
        for _ in range(3):
            predict(model)
    assert len(told) == 1
    assert codes(watching) == ["BNL101"]
    place = watching.findings[0].place
    assert place is not None
    text = Path(place.path).read_text().splitlines()[place.line - 1]
    assert text[place.column - 1 : place.end_column - 1] == "model(x)"


def test_two_places_are_two_findings(told: list) -> None:
    model = net()
    with bnlint.watch(model) as watching, torch.inference_mode():
        first = model(IMAGES)
        second = model(IMAGES)
    assert first.shape == second.shape
    assert codes(watching) == ["BNL101", "BNL101"]
    assert len({warning.lineno for warning in told}) == 2


def test_a_right_loop_is_silent() -> None:
    model = net()
    sgd = optimizer(model)
    with bnlint.watch(model) as watching:
        for _ in range(3):
            model.train()
            for _ in range(3):
                step(model, sgd)
            model.eval()
            for _ in range(3):
                predict(model)
    assert watching.findings == ()
    assert watching.uninspected == ()
    assert str(watching) == "no findings"


def update_statistics(model: nn.Module) -> None:
    with torch.no_grad():
        for _ in range(3):
            model(IMAGES)


def update_statistics_by_name(model: nn.Module) -> None:
    with torch.no_grad():
        for _ in range(3):
            unused = model(IMAGES)  # noqa: F841


def update_statistics_elsewhere(model: nn.Module) -> None:
    def run() -> Tensor:
        return model(IMAGES)

    with torch.no_grad():
        for _ in range(3):
            run()


def update_statistics_by_torch(model: nn.Module) -> None:
    torch.optim.swa_utils.update_bn([IMAGES, IMAGES], model)


@pytest.mark.parametrize(
    "recalibrate",
    [
        update_statistics,
        update_statistics_by_name,
        update_statistics_elsewhere,
        update_statistics_by_torch,
    ],
)
def test_recalibration_is_told_apart_by_its_unused_output(recalibrate: Callable) -> None:
    model = net()
    with bnlint.watch(model) as watching:
        recalibrate(model)
    assert watching.findings == ()


def test_pseudo_labels_in_a_training_step_are_none() -> None:
    model = net()
    sgd = optimizer(model)
    with bnlint.watch(model) as watching:
        for _ in range(5):
            with torch.no_grad():
                target = model(IMAGES)
            loss = (model(IMAGES + 0.1) - target).square().mean()
            sgd.zero_grad()
            loss.backward()
            sgd.step()
    assert watching.findings == ()


def test_a_teacher_that_is_watched_alone() -> None:
    teacher, student = net(), net()
    sgd = optimizer(student)
    with bnlint.watch(teacher) as watching:
        for _ in range(5):
            with torch.no_grad():
                target = teacher(IMAGES)
            loss = (student(IMAGES) - target).square().mean()
            sgd.zero_grad()
            loss.backward()
            sgd.step()
    assert watching.findings == ()


def test_validation_in_the_function_that_trains_is_decided_by_its_second_batch(told: list) -> None:
    model = net()
    sgd = optimizer(model)
    with bnlint.watch(model) as watching:
        for _ in range(2):
            loss = model(IMAGES).square().mean()
            sgd.zero_grad()
            loss.backward()
            sgd.step()
        with torch.no_grad():
            one = model(IMAGES)
        assert not told
        for _ in range(2):
            with torch.no_grad():
                one = model(IMAGES)
    assert one.shape == (8, 4)
    assert codes(watching) == ["BNL101", "BNL101"]


def test_an_open_question_is_decided_when_the_findings_are_read(told: list) -> None:
    model = net()
    with bnlint.watch(model) as watching:
        with torch.no_grad():
            kept = model(IMAGES)
        assert codes(watching) == ["BNL101"]
    assert len(told) == 1
    assert kept.grad_fn is None
    if not told:  # a backward pass is named in this function, so the forward may belong to it
        kept.backward()


def validate(model: nn.Module) -> None:
    model.eval()
    predict(model)


def test_evaluation_mode_that_leaks_into_training(told: list) -> None:
    model = net()
    sgd = optimizer(model)
    with bnlint.watch(model) as watching:
        step(model, sgd)
        validate(model)
        assert not told
        step(model, sgd)
        assert len(told) == 1
        step(model, sgd)
    assert codes(watching) == ["BNL103"]
    assert told[0].lineno == line_of(step, "model(x)")


@pytest.mark.parametrize("validates", [True, False])
def test_a_leak_names_what_has_left_it_behind(told: list, validates: bool) -> None:
    model = net()
    sgd = optimizer(model)
    with bnlint.watch(model) as watching:
        step(model, sgd)
        model.eval()
        if validates:
            predict(model)
        step(model, sgd)
        predict(model)
        step(model, sgd)
    assert codes(watching) == ["BNL103"] and len(told) == 1
    left = "a validation" if validates else "an earlier eval()"
    assert f"in the evaluation mode that {left} has left behind" in watching.findings[0].message


SCRIPT = """
import torch
import bnlint
from watched import IMAGES, net

model = net()
with bnlint.watch(model) as watching, torch.no_grad():
    {name} = model(IMAGES)
"""


@pytest.mark.parametrize(("name", "expected"), [("_", []), ("scores", ["BNL101"])])
def test_a_throwaway_name_of_a_script_is_read_by_nobody(
    tmp_path: Path, told: list, name: str, expected: list[str]
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(name=name))
    assert codes(runpy.run_path(str(script))["watching"]) == expected


def test_layers_that_somebody_froze_are_no_leak() -> None:
    model = net()
    sgd = optimizer(model)
    with bnlint.watch(model) as watching:
        step(model, sgd)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                module.eval()
        step(model, sgd)
    assert watching.findings == ()


def test_frozen_layers_that_go_on_updating(told: list) -> None:
    model = net()
    model.bn.requires_grad_(False)
    sgd = optimizer(model)
    with bnlint.watch(model) as watching:
        step(model, sgd)
        assert not told
        step(model, sgd)
        assert len(told) == 1
        step(model, sgd)
    assert codes(watching) == ["BNL106"]
    assert watching.findings[0].module == "bn"
    assert told[0].lineno == line_of(step, "model(x)")


def test_layers_that_are_frozen_for_one_step_only() -> None:
    model = net()
    sgd = SGD(model.parameters(), lr=0.01)
    with bnlint.watch(model) as watching:
        for _ in range(3):
            for wanted in (False, True):
                model.bn.requires_grad_(wanted)
                step(model, sgd)
    assert watching.findings == ()


def test_attribution_in_evaluation_mode_is_no_training() -> None:
    model = net()
    sgd = optimizer(model)
    with bnlint.watch(model) as watching:
        for _ in range(3):
            step(model.train(), sgd)
            x = IMAGES.clone().requires_grad_()
            model.eval()(x).sum().backward()
            assert x.grad is not None
    assert watching.findings == ()


def test_an_attack_in_evaluation_mode_before_each_step() -> None:
    model = net()
    sgd = optimizer(model)
    with bnlint.watch(model) as watching:
        for _ in range(3):
            x = IMAGES.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(model.eval()(x).sum(), x)
            step(model.train(), sgd, (x + gradient.sign()).detach())
    assert watching.findings == ()


def test_one_value_per_channel_is_said_before_pytorch_raises(told: list) -> None:
    model = net()
    sgd = optimizer(model)
    with bnlint.watch(model) as watching, pytest.raises(ValueError, match="more than 1 value"):
        step(model, sgd, IMAGES[:1])
    assert codes(watching) == ["BNL303"]
    assert told[0].lineno == line_of(step, "model(x)")
    assert watching.findings[0].module == "head"


def test_training_with_batches_of_one(told: list) -> None:
    model = Maps()
    sgd = optimizer(model)
    with bnlint.watch(model) as watching:
        for _ in range(3):
            step(model, sgd, IMAGES[:1])
    assert codes(watching) == ["BNL301"]
    assert len(told) == 1


def test_the_option_of_the_rule_holds() -> None:
    model = Maps()
    sgd = optimizer(model)
    settings = Settings(rules={"BNL301": {"small-batch": 1}})
    with bnlint.watch(model, settings=settings) as watching:
        for _ in range(3):
            step(model, sgd, IMAGES[:1])
    assert watching.findings == ()


def test_a_single_sample_at_the_end_of_an_epoch_is_not_that() -> None:
    model = Maps()
    sgd = optimizer(model)
    with bnlint.watch(model) as watching:
        for batch in (IMAGES, IMAGES[:1], IMAGES, IMAGES[:1]):
            step(model, sgd, batch)
    assert watching.findings == ()


def test_evaluation_of_single_samples_is_right() -> None:
    model = net().eval()
    with bnlint.watch(model) as watching:
        predict(model, IMAGES[:1])
    assert watching.findings == ()


class Checkpointed(Maps):
    reentrant = False

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.net, x, use_reentrant=self.reentrant)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_batchnorm(reentrant: bool, told: list) -> None:
    model = Checkpointed()
    model.reentrant = reentrant
    sgd = optimizer(model)
    x = IMAGES.clone().requires_grad_()
    with bnlint.watch(model) as watching:
        for _ in range(3):
            step(model, sgd, x)
    assert model.net[1].num_batches_tracked == 6
    assert codes(watching) == ["BNL502"]
    assert told[0].lineno == line_of(Checkpointed, "checkpoint(self.net")


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_part_that_the_loop_itself_checkpoints(reentrant: bool, told: list) -> None:
    model = Maps()
    sgd = optimizer(model)
    x = IMAGES.clone().requires_grad_()
    with bnlint.watch(model) as watching:
        for _ in range(2):
            output = checkpoint(model.net, x, use_reentrant=reentrant)
            sgd.zero_grad()
            output.square().sum().backward()
            sgd.step()
    assert codes(watching) == ["BNL502"]


@pytest.mark.parametrize("norm", [{"momentum": None}, {"track_running_stats": False}])
def test_checkpointing_does_no_harm_without_a_moving_average(norm: dict[str, Any]) -> None:
    model = Checkpointed()
    model.net[1] = nn.BatchNorm2d(4, **norm)
    sgd = optimizer(model)
    with bnlint.watch(model) as watching:
        step(model, sgd)
    assert watching.findings == ()


class Hurt(Maps):
    def forward(self, x: Tensor) -> Tensor:
        y = self.net(x)
        return y if y.isfinite().all() else y.nan_to_num()


def test_statistics_that_turn_non_finite(told: list) -> None:
    model = Hurt()
    sgd = optimizer(model)
    with bnlint.watch(model) as watching:
        step(model, sgd)
        assert not told
        bad = IMAGES.clone()
        bad[0, 0, 0, 0] = float("inf")
        model(bad)
        assert [str(w.message)[:21] for w in told] == ["bnlint.watch: BNL505 "]
        assert told[0].lineno == line_of(test_statistics_that_turn_non_finite, "model(bad)")
    assert codes(watching) == ["BNL505"]


def test_parts_of_a_model_that_are_called_by_themselves(told: list) -> None:
    model = net()
    with bnlint.watch(model) as watching, torch.no_grad():
        kept = model.features(IMAGES)
    assert kept.shape[0] == 8
    assert codes(watching) == ["BNL101"]
    assert told[0].lineno == line_of(Net, "self.bn(self.conv")


def test_settings_choose_the_rules() -> None:
    model = net()
    with bnlint.watch(model, settings=Settings(ignore=("BNL101",))) as watching:
        predict(model)
    assert watching.findings == ()


def test_comments_excuse_a_line(told: list) -> None:
    model = net()
    with bnlint.watch(model) as watching, torch.no_grad():
        first = model(IMAGES)  # bnlint: ignore[BNL101] meant
        second = model(  # bnlint: ignore[BNL101] the first line of the statement
            IMAGES,
        )
        third = model(IMAGES)  # bnlint: ignore[BNL301] another one
    assert len(first) == len(second) == len(third)
    assert [warning.lineno for warning in told] == [
        line_of(test_comments_excuse_a_line, "# bnlint: ignore[BNL301]")
    ]
    assert codes(watching) == ["BNL101"]
