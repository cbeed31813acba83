"""BNL601 on traces made by hand, and on programs."""

from __future__ import annotations

import textwrap

import pytest
from hand_made import DROP, NORM, at, built, forward, judged, lines, trace

import bnlint
from bnlint.records import replace
from bnlint.rules import bnl601
from bnlint.rules.base import Measured
from bnlint.trace import (
    Backward,
    Branch,
    Export,
    LoadState,
    Mode,
    Model,
    PrepareTraining,
    SetMode,
    Step,
    Usage,
    Use,
)

LOAD = LoadState(0, at(25, "test.py"))
SAVED = Use(frozenset({7}), Usage.SAVED, None)
TRAINING = (
    forward(output=1, line=28, grad=True),
    Backward(frozenset({1}), None),
    Step(frozenset(), None),
)


def set_mode(mode: Mode, *layers: int) -> SetMode:
    return SetMode(frozenset(layers or {NORM, DROP}), mode, at(27, "test.py"), mode.value)


def export(how: str = "torch.jit.trace", *layers: int, discarded: bool = False) -> Export:
    place = at(30, "test.py")
    return Export(0, frozenset(layers or {NORM}), how, place, 7, "model", discarded)


DROP_TRAIN = set_mode(Mode.TRAIN, DROP)
EVAL, TRAIN, UNKNOWN = map(set_mode, (Mode.EVAL, Mode.TRAIN, Mode.UNKNOWN))


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ((built(), LOAD, export()), True),
        ((built(), export(), SAVED), True),
        ((built(), *TRAINING, export()), True),
        ((built(), export()), False),
        ((built(), LOAD, export(discarded=True)), False),
        ((built(), LOAD, EVAL, export()), False),
        ((built(), LOAD, EVAL, TRAIN, *TRAINING, export()), True),
        ((built(), LOAD, UNKNOWN, export()), False),
        ((built(), LOAD, Branch(((EVAL,), ())), export()), False),
        ((built(), LOAD, export(), PrepareTraining(None)), False),
        ((built(mode=Mode.UNKNOWN), LOAD, export()), False),
        ((built(), LOAD, export("torch.onnx.export(dynamo=True)")), False),
        ((built(DROP), export("torch.onnx.export(dynamo=True)", DROP)), True),
        ((built(DROP), LOAD, export("torch.jit.trace", DROP)), True),
        ((built(DROP), LOAD, export("torch.quantization.fuse_modules", DROP)), False),
        ((built(), export("torch.quantization.fuse_modules")), True),
        ((built(), LOAD, export("torch.jit.script")), False),
        ((built(NORM, DROP), EVAL, DROP_TRAIN, LOAD, export("torch.jit.trace", NORM, DROP)), False),
    ],
)
def test_which_exports_are_mistakes(body: tuple, wrong: bool) -> None:
    assert lines(judged(bnl601.RULE, trace(*body))) == ([30] if wrong else [])


@pytest.mark.parametrize(
    ("loaded", "wrong"),
    [(frozenset({NORM}), True), (frozenset({NORM, DROP}), True), (frozenset({DROP}), False)],
    ids=["the same layers", "more layers", "other layers"],
)
def test_weights_that_a_wrapper_has_loaded_count(loaded: frozenset[int], wrong: bool) -> None:
    drawn = trace(built(), LoadState(1, at(25, "test.py")), export())
    models = {**drawn.models, 1: Model(1, "wrapped", None, loaded)}
    assert bool(judged(bnl601.RULE, replace(drawn, models=models))) is wrong


def test_weights_of_a_model_that_nobody_knows_do_not_count() -> None:
    assert not judged(bnl601.RULE, trace(built(), LoadState(9, at(25, "test.py")), export()))


def test_unit_tests_export_as_they_like() -> None:
    assert not judged(bnl601.RULE, trace(built(), LOAD, export(), is_test=True))


def test_a_run_needs_no_proof_that_anybody_wants_the_result() -> None:
    live = Measured(output={"batch": None})
    (found,) = judged(bnl601.RULE, trace(built(), export()), measured=live)
    assert found.module == "bn"
    assert found.fix is None


def test_what_the_message_says() -> None:
    norm = judged(bnl601.RULE, trace(built(), LOAD, export()))[0]
    assert "no later eval() changes that; call model.eval() before" in norm.message
    raises = judged(bnl601.RULE, trace(built(), export("torch.jit.freeze")))[0]
    assert "by torch.jit.freeze, but" in raises.message
    assert "it raises because of BatchNorm2d 'bn'" in raises.message
    drops = judged(bnl601.RULE, trace(built(DROP), LOAD, export("torch.export.export", DROP)))[0]
    assert "goes on dropping values at random" in drops.message


PROGRAM = """\
import torch
from torch import nn, onnx
from torch.ao.quantization import fuse_modules, prepare_qat, quantize_fx
from torch.export import export

model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.1))
model.load_state_dict(torch.load("net.pt"))
x = torch.load("x.pt")
{}
"""


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("torch.jit.save(torch.jit.trace(model, x), 'net.ts')", True),
        ("traced = torch.jit.trace(func=model, example_inputs=x)", True),
        ("traced = torch.jit.trace(model.forward, x)", True),
        ("traced = torch.jit.trace_module(model, {'forward': x})", True),
        ("frozen = torch.jit.freeze(torch.jit.script(model))", True),
        ("program = export(model, (x,))", True),
        ("program = torch.export.draft_export(model, (x,))", True),
        ("onnx.export(model, x, 'net.onnx', dynamo=True)", True),
        ("torch.onnx.export(model, x, 'net.onnx', dynamo=False)", False),
        ("torch.onnx.export(model, x, 'net.onnx')", False),
        ("torch.onnx.export(model, x, 'f', training=onnx.TrainingMode.PRESERVE)", False),
        ("onnx.export(model, x, 'f', dynamo=False, training=onnx.TrainingMode.PRESERVE)", True),
        ("torch.onnx.export(model, x, 'f', dynamo=False, training=onnx.TrainingMode.EVAL)", False),
        ("fused = fuse_modules(model, [['0', '1']])", True),
        ("fused = torch.quantization.fuse_modules(model, [['0', '1']])", True),
        ("prepared = quantize_fx.prepare_fx(model, {}, (x,))", True),
        ("fused = nn.utils.fuse_conv_bn_eval(model[0], model[1])", True),
        ("fused = nn.utils.fusion.fuse_conv_bn_eval(model[0], model[1])", True),
        ("fused = fuse_modules(model, [['0', '1']])\nprepare_qat(fused)", False),
        ("scripted = torch.jit.script(model)", False),
        ("fast = torch.jit.optimize_for_inference(torch.jit.script(model))", False),
        ("torch.jit.trace(model, x)", False),
        ("writer.add_graph(torch.jit.trace(model, x), [])", False),
        ("graph = torch.jit.trace(model, x)\nwriter.add_graph(graph)", False),
        ("model.eval()\ntraced = torch.jit.trace(model, x)", False),
        ("traced = torch.jit.trace(model.eval(), x)", False),
        ("traced = torch.jit.trace(model.train(), x)", True),
        ("model.eval()\nmodel[2].train()\ntraced = torch.jit.trace(model, x)", False),
        ("traced = torch.jit.trace(lambda y: y, x)", False),
    ],
)
def test_programs(code: str, wrong: bool) -> None:
    result = bnlint.lint_source(PROGRAM.format(code), "deploy.py")
    found = {f.place.line for f in result.findings if f.code == "BNL601" and f.place is not None}
    assert found == ({9} if wrong else set()), result.findings


def test_a_model_that_was_trained_inside_a_wrapper_is_exported_without_it() -> None:
    text = textwrap.dedent("""\
        import torch
        from torch import nn

        net = nn.DataParallel(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for x, y in torch.load("batches.pt"):
            optimizer.zero_grad()
            nn.functional.mse_loss(net(x), y).backward()
            optimizer.step()
        traced = torch.jit.trace(net.module, torch.rand(2, 3))
        """)
    (found,) = bnlint.lint_source(text, "train.py").findings
    assert found.code == "BNL601"
    assert found.fix is not None
    assert [edit.text for edit in found.fix.edits] == ["net.module.eval()\n"]


def test_a_network_that_is_new_is_a_test_of_tracing_unless_it_is_saved() -> None:
    text = textwrap.dedent("""\
        import torch
        from torch import nn

        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        traced = torch.jit.trace(model, torch.rand(1, 3, 8, 8))
        print(traced(torch.rand(1, 3, 8, 8)).shape)
        """)
    assert not bnlint.lint_source(text, "try.py").findings
    (found,) = bnlint.lint_source(text + "traced.cpu().save('net.ts')\n", "try.py").findings
    assert found.code == "BNL601"
    assert found.fix is not None
    assert [edit.text for edit in found.fix.edits] == ["model.eval()\n"]
