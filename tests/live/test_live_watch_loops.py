"""Training loops of many kinds, all of them right: `bnlint.watch` is silent and stays small."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from watched import IMAGES, codes, net, optimizer, predict, step

import bnlint
from bnlint.live.line import MAXIMAL_SITUATIONS
from bnlint.live.watch import Watch
from bnlint.settings import Settings

pytestmark = pytest.mark.filterwarnings("error::bnlint.live.errors.BatchNormWarning")


# -- training loops of many kinds, all of them right


class Generator(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.ConvTranspose2d(5, 4, 4), nn.BatchNorm2d(4), nn.ReLU())


def gan(watched: Callable[[nn.Module], Watch]) -> Watch:
    """Samples of fixed noise are saved in training mode, as the papers' code does."""
    generator, critic = Generator(), nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    sgd, other = optimizer(generator), optimizer(critic)
    noise = torch.randn(8, 5, 1, 1)
    with watched(generator) as watching:
        for _ in range(3):
            other.zero_grad()
            critic(generator(noise).detach()).sum().backward()
            other.step()
            step(lambda x: critic(generator(x)), sgd, torch.randn(8, 5, 1, 1))
            for _ in range(2):
                predict(generator, noise)
    return watching


def closure(watched: Callable[[nn.Module], Watch]) -> Watch:
    """An optimizer that calls the model itself."""
    model = net()
    lbfgs = torch.optim.LBFGS(model.parameters(), lr=0.01, max_iter=3)

    def loss() -> Tensor:
        lbfgs.zero_grad()
        value = model(IMAGES).square().mean()
        value.backward()
        return value

    with watched(model) as watching:
        for _ in range(2):
            lbfgs.step(loss)
            predict(model.eval())
            model.train()
    return watching


def accumulation(watched: Callable[[nn.Module], Watch]) -> Watch:
    model = net()
    sgd = optimizer(model)
    with watched(model) as watching:
        for number in range(8):
            model(IMAGES).square().mean().backward()
            if number % 4 == 3:
                sgd.step()
                sgd.zero_grad()
    return watching


def mixed_precision(watched: Callable[[nn.Module], Watch]) -> Watch:
    model = net()
    sgd = optimizer(model)
    scaler = torch.amp.GradScaler("cpu")
    with watched(model) as watching:
        for _ in range(3):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = model(IMAGES).square().mean()
            sgd.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(sgd)
            scaler.update()
    return watching


def frozen_backbone(watched: Callable[[nn.Module], Watch]) -> Watch:
    """Fine-tuning of the head: the rest is frozen and in evaluation mode."""
    model = net()
    for module in (model.conv, model.bn):
        module.requires_grad_(False)
    sgd = optimizer(model)
    with watched(model) as watching:
        for _ in range(3):
            model.train()
            model.bn.eval()
            step(model, sgd)
            predict(model.eval())
    return watching


def two_views(watched: Callable[[nn.Module], Watch]) -> Watch:
    """Several forwards in one step, of which one takes no gradient."""
    model = net()
    sgd = optimizer(model)
    with watched(model) as watching:
        for _ in range(3):
            first = model(IMAGES)
            with torch.no_grad():
                second = model(IMAGES + 0.1)
            loss = (first - second).square().mean() + model(IMAGES - 0.1).square().mean()
            sgd.zero_grad()
            loss.backward()
            sgd.step()
    return watching


def moving_average(watched: Callable[[nn.Module], Watch]) -> Watch:
    model = net()
    average = torch.optim.swa_utils.AveragedModel(model)
    sgd = optimizer(model)
    with watched(average) as watching:
        for _ in range(3):
            step(model, sgd)
            average.update_parameters(model)
        torch.optim.swa_utils.update_bn([IMAGES], average)
        predict(average.eval())
    return watching


def monte_carlo_dropout(watched: Callable[[nn.Module], Watch]) -> Watch:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    model.eval()[2].train()
    with watched(model) as watching:
        for _ in range(3):
            predict(model, torch.randn(8, 4))
    return watching


def parameters_from_outside(watched: Callable[[nn.Module], Watch]) -> Watch:
    """One step of meta-learning with functional calls."""
    model = net()
    sgd = optimizer(model)
    with watched(model) as watching:
        for _ in range(2):
            weights = dict(model.named_parameters())
            inner = torch.func.functional_call(model, weights, (IMAGES,)).square().mean()
            gradients = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
            moved = {k: w - 0.1 * g for (k, w), g in zip(weights.items(), gradients)}
            sgd.zero_grad()
            torch.func.functional_call(model, moved, (IMAGES,)).square().mean().backward()
            sgd.step()
    return watching


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
    watching = loop(bnlint.watch)
    assert watching.findings == ()
    assert watching.uninspected == ()


def test_a_generator_that_is_only_run_is_judged(told: list) -> None:
    generator = Generator()
    with bnlint.watch(generator) as watching:
        predict(generator, torch.randn(8, 5, 1, 1))
    assert codes(watching) == ["BNL101"]


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
