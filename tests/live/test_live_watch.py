"""`bnlint.watch` on training and inference loops: what it says, where, and that nothing stays."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from live_states import fingerprint
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.optim import SGD, Optimizer
from torch.optim import optimizer as torch_optimizer
from torch.utils.checkpoint import checkpoint

import bnlint
from bnlint.live.errors import BatchNormWarning, CheckError
from bnlint.live.line import MAXIMAL_SITUATIONS
from bnlint.live.watch import Watch
from bnlint.rules import find_rule
from bnlint.settings import Settings
from bnlint.trace import Forward, ModeTrace

pytestmark = pytest.mark.filterwarnings("error::bnlint.live.errors.BatchNormWarning")

IMAGES = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A small classifier with a BatchNorm2d and, on one value per channel, a BatchNorm1d."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 4)
        self.head = nn.BatchNorm1d(4)

    def features(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)).relu()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.fc(self.features(x).mean((2, 3))))


def needs(code: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_rule(code) is None, reason=f"{code} is not there")


def net() -> Net:
    torch.manual_seed(0)
    return Net()


def optimizer(model: nn.Module) -> Optimizer:
    return SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)


def step(model: Callable[[Tensor], Tensor], optimizer: Optimizer, x: Tensor = IMAGES) -> None:
    optimizer.zero_grad()
    model(x).square().sum().backward()
    optimizer.step()


def predict(model: Callable[[Tensor], Tensor], x: Tensor = IMAGES) -> Tensor:
    with torch.no_grad():
        return model(x).argmax(1)


def line_of(function: Callable[..., object], text: str) -> int:
    lines, first = inspect.getsourcelines(function)
    return first + next(i for i, line in enumerate(lines) if text in line)


def codes(watching: Watch) -> list[str]:
    return [finding.code for finding in watching.findings]


@pytest.fixture
def told() -> Iterator[list[warnings.WarningMessage]]:
    """Every BatchNormWarning that is given, in order."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", BatchNormWarning)
        yield caught


def test_inference_in_training_mode_is_said_at_once_at_the_users_line(told: list) -> None:
    model = net()
    with bnlint.watch(model) as watching:
        predict(model)
        (warning,) = told
        assert warning.category is bnlint.BatchNormWarning
        assert warning.filename == __file__
        assert warning.lineno == line_of(predict, "model(x)")
        assert "BNL101" in str(warning.message)
        assert warning.message.finding.code == "BNL101"
        for _ in range(3):
            predict(model)
    assert len(told) == 1
    assert codes(watching) == ["BNL101"]
    place = watching.findings[0].place
    assert place is not None
    text = Path(__file__).read_text().splitlines()[place.line - 1]
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


@needs("BNL103")
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


def test_frozen_layers_that_go_on_updating_are_in_the_picture() -> None:
    model = net()
    model.bn.requires_grad_(False)
    sgd = optimizer(model)
    seen: list[ModeTrace] = []
    watching = bnlint.watch(model)
    stepped = watching._line.stepped
    watching._line.stepped = lambda ours: kept(stepped(ours), seen)  # type: ignore[method-assign]
    with watching:
        step(model, sgd)
    (forward,) = [event for event in seen[0].events() if isinstance(event, Forward)]
    assert [seen[0].layers[layer].path for layer in forward.frozen] == ["bn"]


def kept(sightings: Iterator, traces: list[ModeTrace]) -> Iterator:
    for sighting in sightings:
        traces.append(sighting.trace)
        yield sighting


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


class Maps(nn.Module):
    """On maps a batch of one does not raise."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def test_training_with_batches_of_one(told: list) -> None:
    model = Maps()
    sgd = optimizer(model)
    with bnlint.watch(model) as watching:
        for _ in range(3):
            step(model, sgd, IMAGES[:1])
    assert codes(watching) == ["BNL301"]
    assert len(told) == 1


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


@needs("BNL502")
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


@needs("BNL502")
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


@needs("BNL505")
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


# -- training loops of many kinds, all of them right


class Generator(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.ConvTranspose2d(5, 4, 4), nn.BatchNorm2d(4), nn.ReLU())


def gan(watched: Callable[[nn.Module], Watch]) -> Iterator[Watch]:
    """Samples of fixed noise are saved in training mode, as the papers' code does."""
    generator, critic = Generator(), nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    sgd, other = optimizer(generator), optimizer(critic)
    noise = torch.randn(8, 5, 1, 1)
    yield (watching := watched(generator))
    with watching:
        for _ in range(3):
            other.zero_grad()
            critic(generator(noise).detach()).sum().backward()
            other.step()
            step(lambda x: critic(generator(x)), sgd, torch.randn(8, 5, 1, 1))
            for _ in range(2):
                predict(generator, noise)


def closure(watched: Callable[[nn.Module], Watch]) -> Iterator[Watch]:
    """An optimizer that calls the model itself."""
    model = net()
    lbfgs = torch.optim.LBFGS(model.parameters(), lr=0.01, max_iter=3)

    def loss() -> Tensor:
        lbfgs.zero_grad()
        value = model(IMAGES).square().mean()
        value.backward()
        return value

    yield (watching := watched(model))
    with watching:
        for _ in range(2):
            lbfgs.step(loss)
            predict(model.eval())
            model.train()


def accumulation(watched: Callable[[nn.Module], Watch]) -> Iterator[Watch]:
    model = net()
    sgd = optimizer(model)
    yield (watching := watched(model))
    with watching:
        for number in range(8):
            model(IMAGES).square().mean().backward()
            if number % 4 == 3:
                sgd.step()
                sgd.zero_grad()


def mixed_precision(watched: Callable[[nn.Module], Watch]) -> Iterator[Watch]:
    model = net()
    sgd = optimizer(model)
    scaler = torch.amp.GradScaler("cpu")
    yield (watching := watched(model))
    with watching:
        for _ in range(3):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = model(IMAGES).square().mean()
            sgd.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(sgd)
            scaler.update()


def frozen_backbone(watched: Callable[[nn.Module], Watch]) -> Iterator[Watch]:
    """Fine-tuning of the head: the rest is frozen and in evaluation mode."""
    model = net()
    for module in (model.conv, model.bn):
        module.requires_grad_(False)
    sgd = optimizer(model)
    yield (watching := watched(model))
    with watching:
        for _ in range(3):
            model.train()
            model.bn.eval()
            step(model, sgd)
            predict(model.eval())


def two_views(watched: Callable[[nn.Module], Watch]) -> Iterator[Watch]:
    """Several forwards in one step, of which one takes no gradient."""
    model = net()
    sgd = optimizer(model)
    yield (watching := watched(model))
    with watching:
        for _ in range(3):
            first = model(IMAGES)
            with torch.no_grad():
                second = model(IMAGES + 0.1)
            loss = (first - second).square().mean() + model(IMAGES - 0.1).square().mean()
            sgd.zero_grad()
            loss.backward()
            sgd.step()


def moving_average(watched: Callable[[nn.Module], Watch]) -> Iterator[Watch]:
    model = net()
    average = torch.optim.swa_utils.AveragedModel(model)
    sgd = optimizer(model)
    yield (watching := watched(average))
    with watching:
        for _ in range(3):
            step(model, sgd)
            average.update_parameters(model)
        torch.optim.swa_utils.update_bn([IMAGES], average)
        predict(average.eval())


def monte_carlo_dropout(watched: Callable[[nn.Module], Watch]) -> Iterator[Watch]:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    model.eval()[2].train()
    yield (watching := watched(model))
    with watching:
        for _ in range(3):
            predict(model, torch.randn(8, 4))


def parameters_from_outside(watched: Callable[[nn.Module], Watch]) -> Iterator[Watch]:
    """One step of meta-learning with functional calls."""
    model = net()
    sgd = optimizer(model)
    yield (watching := watched(model))
    with watching:
        for _ in range(2):
            weights = dict(model.named_parameters())
            inner = torch.func.functional_call(model, weights, (IMAGES,)).square().mean()
            gradients = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
            moved = {k: w - 0.1 * g for (k, w), g in zip(weights.items(), gradients)}
            sgd.zero_grad()
            torch.func.functional_call(model, moved, (IMAGES,)).square().mean().backward()
            sgd.step()


LOOPS = [
    gan,
    closure,
    accumulation,
    mixed_precision,
    frozen_backbone,
    two_views,
    moving_average,
    monte_carlo_dropout,
    parameters_from_outside,
]


@pytest.mark.parametrize("loop", LOOPS)
def test_right_loops_are_silent(loop: Callable) -> None:
    (watching,) = loop(bnlint.watch)
    assert watching.findings == ()
    assert watching.uninspected == ()


def test_a_generator_that_is_only_run_is_judged(told: list) -> None:
    generator = Generator()
    with bnlint.watch(generator) as watching:
        predict(generator, torch.randn(8, 5, 1, 1))
    assert codes(watching) == ["BNL101"]


# -- compiled, scripted and other models that hooks do not reach


def in_place(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    return model


def around(model: nn.Module) -> nn.Module:
    return torch.compile(model, backend="eager")


def inside(model: nn.Module) -> nn.Module:
    return nn.Sequential(torch.compile(model, backend="eager"))


@needs("BNL103")
@pytest.mark.parametrize("compiled", [in_place, around, inside])
@pytest.mark.parametrize("ran_before", [False, True])
def test_compiled_models_are_watched_from_outside(
    compiled: Callable, ran_before: bool, told: list
) -> None:
    torch._dynamo.reset()
    model = compiled(net())
    sgd = optimizer(model)
    if ran_before:
        step(model, sgd)
    call = vars(model).get("_compiled_call_impl")
    with bnlint.watch(model) as watching:
        step(model, sgd)
        model.eval()
        predict(model)
        assert not told
        step(model, sgd)
        model.train()
        predict(model)
    assert codes(watching) == ["BNL103", "BNL101"]
    assert [w.category for w in told] == [BatchNormWarning] * 2
    assert {part.reason for part in watching.uninspected} == {
        "compiled: its mode is watched, not its calls and their sizes"
    }
    assert vars(model).get("_compiled_call_impl") is call


def test_a_model_that_is_compiled_while_it_is_watched() -> None:
    torch._dynamo.reset()
    model = net()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with bnlint.watch(model) as watching:
            compiled = torch.compile(model, backend="eager", fullgraph=True)
            step(compiled, optimizer(model))
    assert watching.findings == ()
    assert {part.name for part in watching.uninspected} == {"bn", "head"}


def test_scripted_models_are_reported_as_uninspected() -> None:
    model = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    with pytest.warns(BatchNormWarning, match="TorchScript"), bnlint.watch(model) as watching:
        predict(model)
    assert [part.reason for part in watching.uninspected] == ["it is compiled TorchScript"]


def test_a_model_without_batchnorm_is_said() -> None:
    with (
        pytest.warns(BatchNormWarning, match="nothing to watch") as told,
        bnlint.watch(nn.Sequential(nn.Linear(2, 2))),
    ):
        pass
    assert told[0].filename == __file__


def test_a_model_that_never_runs_does_not_read_as_clean() -> None:
    with pytest.warns(BatchNormWarning, match="was seen to run"), bnlint.watch(net()) as watching:
        predict(net().eval())
    assert [part.name for part in watching.uninspected] == ["bn", "head"]
    assert "NOT INSPECTED bn" in str(watching)


def test_data_parallel_on_the_cpu() -> None:
    model = nn.DataParallel(net())
    with pytest.warns(BatchNormWarning, match="BNL101"), bnlint.watch(model):
        predict(model)


def test_a_loop_on_another_thread(told: list) -> None:
    model = net()
    with bnlint.watch(model) as watching:
        thread = threading.Thread(target=predict, args=(model,))
        thread.start()
        thread.join()
    assert codes(watching) == ["BNL101"]


def test_a_check_inside_a_watch_is_not_the_users() -> None:
    model = net()
    with bnlint.watch(model) as watching:
        model(IMAGES)
        bnlint.check(model, IMAGES)
    assert watching.findings == ()


def test_tracing_is_not_running() -> None:
    model = net().eval()
    with bnlint.watch(model) as watching:
        model(IMAGES)
        torch.jit.trace(model.train(), IMAGES, check_trace=False)
    assert watching.findings == ()


# -- no trace


def test_nothing_is_left_on_the_model_nor_in_torch() -> None:
    model = net()
    hooks = (
        torch_module._global_forward_hooks,
        torch_module._global_forward_pre_hooks,
        torch_module._global_forward_hooks_always_called,
        torch_optimizer._global_optimizer_post_hooks,
    )
    before = [dict(table) for table in hooks], list(warnings.filters)
    model.eval()
    state = fingerprint(model)
    with bnlint.watch(model):
        during = fingerprint(model)
        predict(model)
        copied = copy.deepcopy(model)
    assert during == state
    assert fingerprint(model) == state
    assert not copied._forward_hooks
    assert ([dict(table) for table in hooks], list(warnings.filters)) == before


def test_checkpoints_saved_inside_a_watch_hold_nothing_of_it() -> None:
    model = in_place(net())
    with bnlint.watch(model.eval()):
        predict(model)
        buffer = io.BytesIO()
        torch.save(model, buffer)
        assert b"bnlint" not in pickle.dumps(model.state_dict())
    assert b"bnlint.live" not in buffer.getvalue()


def test_exceptions_of_the_user_pass_and_hooks_are_removed() -> None:
    model = net()
    for error in (ArithmeticError, KeyboardInterrupt):
        with pytest.raises(error), bnlint.watch(model):
            handle = model.fc.register_forward_hook(_raiser(error))
            try:
                model(IMAGES)
            finally:
                handle.remove()
        assert not torch_module._global_forward_hooks


def _raiser(error: type[BaseException]) -> Callable[..., None]:
    def explode(*_: object) -> None:
        raise error

    return explode


def test_an_interrupted_forward_does_not_confuse_the_next(told: list) -> None:
    model = net()
    with bnlint.watch(model) as watching:
        handle = model.fc.register_forward_hook(_raiser(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            model(IMAGES)
        handle.remove()
        predict(model)
    assert codes(watching) == ["BNL101"]


def test_warnings_as_errors_stop_the_users_line() -> None:
    model = net()
    with pytest.raises(BatchNormWarning, match="BNL101"), bnlint.watch(model):
        predict(model)
    assert not torch_module._global_forward_hooks


def test_start_and_stop_without_a_with(told: list) -> None:
    model = net()
    watching = bnlint.watch(model).start()
    with pytest.raises(RuntimeError, match="running"):
        watching.start()
    predict(model)
    watching.stop()
    watching.stop()
    predict(model.train(), IMAGES[:4])
    assert codes(watching) == ["BNL101"]


def test_two_watches_at_once(told: list) -> None:
    first, second = net(), net().eval()
    with bnlint.watch(first) as one, bnlint.watch(second) as other:
        predict(first)
        predict(second)
    assert (codes(one), codes(other)) == (["BNL101"], [])


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(CheckError, match="a function is"):
        bnlint.watch(lambda x: x)  # type: ignore[arg-type]


# -- a long loop


def test_a_long_loop_stays_small() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    sgd = optimizer(model)
    x = torch.randn(4, 2)
    with bnlint.watch(model) as watching:
        for number in range(2 * MAXIMAL_SITUATIONS):
            model[0].bias.requires_grad_(number % 2 == 0)
            step(model, sgd, x)
            predict(model.eval(), x)
            model.train()
        line = watching._line
        assert len(line._settled._kept) < 10
        assert not line._waiting and not line._taught
        assert len(line._trained) == 1
    assert watching.findings == ()


def test_situations_are_forgotten_in_the_end() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2))
    source = "def run(model, x):\n" + "    kept = model(x)\n    assert len(kept)\n" * 600
    space: dict[str, Callable] = {}
    exec(compile(source, "generated.py", "exec"), space)
    settings = Settings(ignore=("BNL101",))
    with bnlint.watch(model, settings=settings) as watching, torch.no_grad():
        space["run"](model, torch.randn(4, 2))
        assert len(watching._line._settled._kept) == MAXIMAL_SITUATIONS
