"""Compiled, scripted and interrupted models under `bnlint.watch`; nothing of it stays."""

from __future__ import annotations

import copy
import io
import pickle
import threading
import warnings
from collections.abc import Callable

import pytest
import torch
from live_states import fingerprint
from torch import nn
from torch.nn.modules import module as torch_module
from torch.optim import optimizer as torch_optimizer
from watched import IMAGES, codes, net, optimizer, predict, step

import bnlint
from bnlint.live.errors import BatchNormWarning, CheckError

pytestmark = pytest.mark.filterwarnings("error::bnlint.live.errors.BatchNormWarning")


# -- compiled, scripted and other models that hooks do not reach


def in_place(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    return model


def around(model: nn.Module) -> nn.Module:
    return torch.compile(model, backend="eager")


def inside(model: nn.Module) -> nn.Module:
    return nn.Sequential(torch.compile(model, backend="eager"))


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
    assert {**during, "torch": None} == {**state, "torch": None}
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
