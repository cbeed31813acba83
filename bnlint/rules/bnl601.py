"""BNL601: a model is exported in training mode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from bnlint.finding import Evidence, Finding, Role, Severity
from bnlint.graph import Kind
from bnlint.records import Struct
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.inference import layers_in_training_mode
from bnlint.rules.mode_fixes import evaluation_fix
from bnlint.rules.predicates import (
    evidence_at,
    grouped,
    model_title,
    sensitive_name,
    sensitive_names,
)
from bnlint.solver import ModeFact, Observation
from bnlint.trace import (
    Export,
    Forward,
    LoadState,
    ModeTrace,
    PrepareTraining,
    Purpose,
    Usage,
    Use,
)

_BOTH: Final = frozenset({Kind.BATCHNORM, Kind.DROPOUT})
_NORMS: Final = frozenset({Kind.BATCHNORM})
_DROPOUTS: Final = frozenset({Kind.DROPOUT})


class _Exporter(Struct, frozen=True):
    """What a function of torch makes of a model in training mode.

    kinds: the layers that suffer. verb: what is done. writes: it writes a file by itself.
    raises: it refuses the model.
    """

    kinds: frozenset[Kind]
    verb: str
    writes: bool = False
    raises: bool = False


_TRACED: Final = _Exporter(_BOTH, "traced")
_EXPORTED: Final = _Exporter(_BOTH, "exported")
_FUSED: Final = _Exporter(_NORMS, "fused", raises=True)
_TO_ONNX: Final = _Exporter(_DROPOUTS, "exported to ONNX", writes=True)

EXPORTERS: Final[Mapping[str, _Exporter]] = {
    "torch.jit.trace": _TRACED,
    "torch.jit.trace_module": _TRACED,
    "torch.jit.freeze": _Exporter(_BOTH, "frozen", raises=True),
    "torch.export.export": _EXPORTED,
    "torch.export.draft_export": _EXPORTED,
    "torch.onnx.dynamo_export": _TO_ONNX,
    "torch.onnx.export(dynamo=True)": _TO_ONNX,
    "torch.onnx.export(training=PRESERVE)": _Exporter(_BOTH, "exported to ONNX", writes=True),
    "torch.quantization.fuse_modules": _FUSED,
    "torch.quantization.quantize_fx.fuse_fx": _FUSED,
    "torch.quantization.quantize_fx.prepare_fx": _Exporter(_NORMS, "quantised", raises=True),
    "torch.nn.utils.fusion.fuse_conv_bn_eval": _FUSED,
    "torch.nn.utils.fuse_conv_bn_eval": _FUSED,
    "torch.fx.experimental.optimization.fuse": _FUSED,
}
"""By the `how` of an export event; each was run with torch 2.13 on a model in training mode."""


class _Mistake(Struct, frozen=True):
    """An export whose `layers` (ids) are surely in training mode, and suffer from it."""

    trace: ModeTrace
    seen: Observation
    export: Export
    exporter: _Exporter
    layers: tuple[int, ...]


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each place of an export."""
    found = [m for trace, seen in pictures.observations if (m := _mistake(trace, seen, pictures))]
    for same_place in grouped(found, lambda m: m.export.place or m.trace.entry).values():
        yield _finding(same_place[0], pictures)


def _mistake(trace: ModeTrace, seen: Observation, pictures: Pictures) -> _Mistake | None:
    export = seen.event
    if not isinstance(export, Export) or trace.is_test:
        return None
    exporter = EXPORTERS.get(export.how)
    if exporter is None:
        return None
    if not pictures.measured.is_live and not _matters(trace, export, exporter):
        return None
    if trace.of(PrepareTraining):
        return None  # quantisation-aware training: the exported model learns on
    layers = tuple(
        layer
        for layer in layers_in_training_mode(trace, seen)
        if trace.layers[layer].kind in exporter.kinds
    )
    return _Mistake(trace, seen, export, exporter, layers) if layers else None


def _matters(trace: ModeTrace, export: Export, exporter: _Exporter) -> bool:
    """Whether anybody wants the result: it is written away, or the model was loaded or trained.

    Else it may be a test of whether a network can be traced at all.
    """
    if exporter.writes or exporter.raises:
        return True
    if export.discarded:
        return False
    for event in trace.events():
        match event:
            case Forward(layers=layers) if not layers.isdisjoint(export.layers):
                if trace.purpose(event) is Purpose.TRAINING:
                    return True
            case Use(outputs, Usage.SAVED) if export.output in outputs:
                return True
            case LoadState(model) if model == export.model or _shares(trace, model, export):
                return True
    return False


def _shares(trace: ModeTrace, model: int, export: Export) -> bool:
    known = trace.models.get(model)
    return known is not None and not known.layers.isdisjoint(export.layers)


def _finding(mistake: _Mistake, pictures: Pictures) -> Finding:
    is_live = pictures.measured.is_live
    trace, export, exporter = mistake.trace, mistake.export, mistake.exporter
    layer = trace.layers[mistake.layers[0]]
    title = model_title(trace, export.model)
    calls = [call.function for call in mistake.seen.chain]
    by = f" (called through {' > '.join(calls)})" if calls else ""
    return RULE.finding(
        f"{title} is {exporter.verb} by {_function(export)}{by}, but is in training mode: "
        f"{_consequence(mistake)}; call {export.receiver or 'model'}.eval() before",
        export.place,
        _evidence(mistake),
        fix=None if is_live else evaluation_fix(export, trace, mistake.seen, pictures.traces),
        module=(layer.path or title) if is_live else None,
    )


def _function(export: Export) -> str:
    return export.how.partition("(")[0]


def _consequence(mistake: _Mistake) -> str:
    layer = mistake.trace.layers[mistake.layers[0]]
    name = sensitive_names([mistake.trace.layers[each] for each in mistake.layers])
    if mistake.exporter.raises:
        return f"it raises because of {name}, since this works in evaluation mode only"
    if layer.kind is Kind.DROPOUT:
        return f"{name} goes on dropping values at random in the exported model"
    return (
        f"{name} is fixed to normalise with the statistics of each batch, and no later eval() "
        "changes that"
    )


def _evidence(mistake: _Mistake) -> list[Evidence]:
    trace, layer = mistake.trace, mistake.trace.layers[mistake.layers[0]]
    model = trace.models.get(mistake.export.model)
    steps: list[Evidence] = []
    if model is not None:
        message = f"{model.title} is built here; new modules start in training mode"
        steps += evidence_at(model.built, message, Role.CAUSE)
    if model is None or layer.place != model.built:
        steps += evidence_at(layer.place, f"it holds {sensitive_name(layer)}", Role.CAUSE)
    for fact in sorted(mistake.seen.state.get(layer.id, ()), key=_order):
        if fact.how != "built":
            steps += evidence_at(fact.place, "this sets training mode", Role.CAUSE)
    for call in mistake.seen.chain:
        steps += evidence_at(call.place, f"{call.function}() is called here")
    return list(dict.fromkeys(steps))


def _order(fact: ModeFact) -> tuple[str, int]:
    return (fact.place.path, fact.place.line) if fact.place is not None else ("", 0)


RULE = Rule(
    code="BNL601",
    name="export-in-train-mode",
    severity=Severity.ERROR,
    summary="A model with BatchNorm or Dropout is traced, exported or fused in training mode.",
    what="""\
A model is given to a function that fixes what its layers do, and its BatchNorm or Dropout layers
are in training mode on every path that leads there. With torch 2.13, each of them tried:

| function | what a model in training mode becomes |
|---|---|
| `torch.jit.trace`, `trace_module` | BatchNorm normalises with each batch and Dropout drops, for \
good: `eval()` on the result changes nothing. Tracing with `check_trace=True`, the default, runs \
the model several times and moves its running statistics each time |
| `torch.export.export`, `draft_export` | the same; `eval()` on the result raises |
| `torch.onnx.export(dynamo=True)` (the default since torch 2.9), before it \
`torch.onnx.dynamo_export` | Dropout goes on dropping; BatchNorm uses its running statistics \
(onnxscript 0.7 calls that temporary), so a model without Dropout is not reported |
| `torch.onnx.export(dynamo=False, training=TrainingMode.PRESERVE)` | BatchNorm and Dropout in \
training mode |
| `fuse_modules`, `fuse_fx`, `prepare_fx`, `fuse_conv_bn_eval`, `torch.fx`'s `fuse` | an \
AssertionError, "Fusion only for eval!" |
| `torch.jit.freeze` | a RuntimeError |

These are right in either mode, and are not reported: `torch.onnx.export(dynamo=False)`, which
switches to evaluation for the time of the export; `torch.jit.script`, which keeps the flag;
`optimize_for_inference`, which calls `eval()` itself; `torch.fx.symbolic_trace`;
`torch.ao.quantization.prepare` and `convert` (what is judged there is the forward that calibrates,
by BNL101). `torch.onnx.export` without `dynamo=` is not reported, as its default depends on the
version.

A model is not reported when nobody wants the result: it was neither loaded nor trained and the
result is not saved, or the result is dropped or only drawn (`writer.add_graph`).
`bnlint.watch(model)` sees traces and exports (the non-strict kind) that happen in a run.""",
    why="""\
A traced or exported program has no modes: the branch that the layers took is written down as the
only one. In training mode that is normalisation by the batch, so in production the answer to one
request depends on the others in its batch, a batch of one gives nonsense (BatchNorm1d on one row:
zeros and the bias), and the trained running statistics are never used. Dropout makes answers
random. Nothing fails: `eval()` on a traced module sets its flag, which nothing reads any more.

The mistake was fixed, among others, in Ludwig's export to TorchScript; the C++ transfer learning
example of pytorch/examples traces a ResNet-18 in training mode.""",
    fine_when="""\
- The exported model is to be trained: quantisation-aware training (the source half sees
  `prepare_qat_pt2e` and the like in the same program), training by another runtime.
- Monte Carlo dropout is exported: dropout that alone was switched back on is not reported.""",
    fix_safety="""\
Unsafe: the model stays in evaluation mode. There is no fix where a training step follows that does
not set its own mode.""",
    references=(
        "PyTorch documentation, torch.jit.trace: behaviour that depends on train and eval "
        "<https://docs.pytorch.org/docs/stable/generated/torch.jit.trace.html>",
        "PyTorch documentation, torch.onnx: the training argument "
        "<https://docs.pytorch.org/docs/stable/onnx_torchscript.html>",
        "PyTorch documentation, torch.ao.quantization.fuse_modules "
        "<https://docs.pytorch.org/docs/stable/generated/"
        "torch.ao.quantization.fuse_modules.fuse_modules.html>",
        "Ludwig, the fix of to_torchscript <https://github.com/ludwig-ai/ludwig/commit/"
        "ed927727e936e351a00e7a2fdd5402769ac6a0b6>",
        "pytorch/examples, convert.py <https://github.com/pytorch/examples/blob/"
        "77f55b912142e11fcfdf5b530231fb9c52f181e8/cpp/transfer-learning/convert.py>",
    ),
    wrong=(
        Example(
            """\
import torch
from torch import nn

model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten())
model.load_state_dict(torch.load("net.pt"))
traced = torch.jit.trace(model, torch.rand(1, 3, 32, 32))  # expect: BNL601
traced.eval()
traced.save("net.torchscript")
""",
            "eval() after tracing comes too late",
        ),
        Example(
            """\
import torch
from torch import nn


def export(net, path):
    program = torch.export.export(net, (torch.rand(2, 64),))  # expect: BNL601
    torch.export.save(program, path)


def main():
    net = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5))
    net.load_state_dict(torch.load("net.pt"))
    export(net, "net.pt2")


if __name__ == "__main__":
    main()
""",
            "torch.export keeps the mode",
        ),
    ),
    right=(
        Example(
            """\
import torch
from torch import nn

model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten())
model.load_state_dict(torch.load("net.pt"))
model.eval()
torch.jit.trace(model, torch.rand(1, 3, 32, 32)).save("net.torchscript")
""",
            "eval() before tracing",
        ),
        Example(
            """\
import torch
from torch import nn

model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten())
model.load_state_dict(torch.load("net.pt"))
torch.onnx.export(model, torch.rand(1, 3, 32, 32), "net.onnx", dynamo=False)
scripted = torch.jit.script(model)
scripted.save("net.torchscript")
""",
            "Nearly wrong: this exporter switches to evaluation, and a scripted module has a mode",
        ),
    ),
    check=check,
    live=True,
)
