"""The live check: real forwards on batch and on running statistics, and the rules over them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Literal, Protocol

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from bnlint.finding import Finding, Severity
from bnlint.graph import Kind, LayerGraph
from bnlint.live.errors import CheckError
from bnlint.live.events import live_trace
from bnlint.live.inputs import Inputs, candidates, device_of, normalise
from bnlint.live.interrupts import Shield
from bnlint.live.measure import Measuring, measure
from bnlint.live.mode_calls import mode_calls
from bnlint.live.mode_methods import candidates as mode_candidates
from bnlint.live.mode_methods import mode_methods
from bnlint.live.modules import Names, is_distributed, is_frozen, unwrap
from bnlint.live.observe import first_line
from bnlint.live.passes import Session
from bnlint.live.places import Places
from bnlint.live.preserve import Preserve
from bnlint.live.progress import progress
from bnlint.live.ranks import ABOUT_PROCESSES, Ranks, compare, several_processes
from bnlint.live.report import Report, layer_reports
from bnlint.live.suppressed import mark_suppressed
from bnlint.live.unseen import Unseen
from bnlint.overrides import ModeMethod
from bnlint.rules import all_rules
from bnlint.rules.base import Measured, Pictures, Rule
from bnlint.settings import check_settings
from bnlint.trace import Purpose

Phase = Literal["inference", "training"]

PURPOSES = {
    None: Purpose.UNSTATED,
    "inference": Purpose.INFERENCE,
    "training": Purpose.TRAINING,
}


BATCHES = 4
"""Batches of a loader that are measured."""


WITHOUT_DATA = frozenset(
    {
        "batch",
        "values_per_channel",
        "training",
        "channels",
        "tracked",
        "initial",
        "warm",
        "nonfinite_channels",
        "negative_channels",
        "collapsed_channels",
        "replaced",
    }
)
"""Numbers of a layer that made-up input does not touch."""


class Selection(Protocol):
    """What a check reads of the settings."""

    @property
    def rules(self) -> Mapping[str, Mapping[str, int]]:
        """The options of single rules, by code and name."""

    def selects(self, rule: Rule, *, live: bool = False) -> bool:
        """Whether the rule is on, in the source half or in the live one."""


def check(
    model: nn.Module,
    inputs: Any = None,
    *,
    phase: Phase | None = None,
    recalibrate: bool = False,
    seed: int = 0,
    device: str | torch.device | None = None,
    settings: Selection | None = None,
    batches: int = BATCHES,
    distributed: bool = True,
) -> Report:
    """Run the model on batch statistics and on running statistics, and judge what is seen.

    inputs: a tensor, a tuple (positional arguments), a dict (keyword arguments), or a loader, of
    which the first `batches` batches are taken; without them they are made up from the first
    layers, and the report is marked synthetic. phase: what the forward is for; None measures and
    does not judge the mode. recalibrate: also re-estimate the statistics on half of the batches (or
    of the only one) and measure again on the other half. device: where the check runs; the model
    is moved there for its duration. distributed: where several processes run (torchrun), compare
    their layers, batches and running statistics; False: check this process alone, without waiting
    up to 30 seconds for the others.

    The model and all random number generators are bit-identical afterwards; what a forward does
    to itself behind the back of the check (on a thread of its own) and cannot be undone is warned
    of, and told in the report. Raises CheckError when the check cannot be done, SettingsError for
    settings that are none, and whatever the model itself raises.
    """
    if phase not in PURPOSES:
        raise CheckError(f"unknown phase {phase!r}: use 'inference', 'training' or None")
    if not isinstance(model, nn.Module):
        raise CheckError(f"a {type(model).__name__} is no torch.nn.Module")
    check_settings(settings)
    if batches < 1:
        raise CheckError(f"batches={batches}: check at least one")
    root = unwrap(model)
    target = _device(device)
    kept: list[Preserve] = []
    places = Places()
    with Shield() as shield, ExitStack() as restoring:
        kept.append(restoring.enter_context(Preserve(root)))
        if target is not None and target != device_of(root):
            with shield.lowered():
                root.to(target)
            kept.append(restoring.enter_context(Preserve(root)))
        session = Session(root, kept[-1], Names(root), seed, shield)
        with shield.lowered():
            given = None if inputs is None else normalise(root, inputs, target, batches)
            ranks = _compare(session.names, given) if distributed else None
        measuring = _measure(session, given, recalibrate, places)
        with shield.lowered():
            overriding = mode_methods(mode_candidates(root), kept[-1], places)
    lost = tuple(Unseen(*found) for found in dict.fromkeys(f for k in kept for f in k.lost))
    measuring = replace(measuring, uninspected=(*measuring.uninspected, *lost))
    note = (ranks,) if isinstance(ranks, Unseen) else ()
    known = ranks if isinstance(ranks, Ranks) else None
    measuring = _with_ranks(measuring, known, note)
    is_shared = known is not None or is_distributed(model)
    return _report(measuring, root, phase, settings, known, is_shared, overriding, places)


def _compare(names: Names, given: list[Inputs] | None) -> Ranks | Unseen | None:
    """What the other processes have; None where there are none."""
    if not several_processes():
        return None
    return compare(names, given[0].batch if given else None)


def _with_ranks(measuring: Measuring, ranks: Ranks | None, notes: tuple[Unseen, ...]) -> Measuring:
    """The numbers with those that concern several processes."""
    if ranks is None:
        return replace(measuring, uninspected=(*measuring.uninspected, *notes))
    layers = {
        node: {**numbers, "rank_divergence": ranks.divergence.get(measuring.graph[node].path)}
        for node, numbers in measuring.layers.items()
    }
    return replace(measuring, layers=layers, output={**measuring.output, **ranks.numbers()})


def _device(device: str | torch.device | None) -> torch.device | None:
    if device is None:
        return None
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise CheckError(f"device {str(device)!r} cannot be used: {first_line(error)}") from error


def _measure(
    session: Session, given: list[Inputs] | None, recalibrate: bool, places: Places
) -> Measuring:
    if given is not None:
        with progress(len(given)) as tell:
            return measure(session, given, recalibrate=recalibrate, places=places, tell=tell)
    failures: list[Exception] = []
    torch.manual_seed(session.seed)
    for candidate in candidates(session.model):
        try:
            return measure(session, [candidate], recalibrate=False, places=places)
        except Exception as error:  # a shape that does not fit can raise anything
            failures.append(error)
    reason = f" ({type(failures[0]).__name__}: {failures[0]})" if failures else ""
    raise CheckError(
        f"no inputs could be derived from the layers of {type(session.model).__name__}"
        f"{reason.splitlines()[0] if reason else ''}: pass inputs (bnlint check: --input SHAPE)"
    )


def _report(
    measuring: Measuring,
    root: nn.Module,
    phase: Phase | None,
    settings: Selection | None,
    ranks: Ranks | None,
    is_shared: bool,
    overriding: tuple[ModeMethod, ...],
    places: Places,
) -> Report:
    inputs = measuring.inputs
    pictures = Pictures(
        graphs=(measuring.graph,),
        traces=(
            live_trace(
                measuring.graph,
                measuring.modes,
                purpose=PURPOSES[phase],
                batch=inputs.batch,
                place=places.of_class(type(root)),
                synthetic=inputs.synthetic,
                loading=inputs.loading,
                is_shared=is_shared,
                frozen=_frozen(measuring.graph, root),
                averaged=_averaged(measuring.graph, root),
            ),
        ),
        mode_methods=overriding,
        mode_calls=tuple(mode_calls(measuring.graph, measuring.modes, Names(root))),
        measured=_evidence(measuring),
    )
    return Report(
        title=measuring.graph.title,
        phase=phase,
        findings=tuple(judge(pictures, settings)),
        layers=layer_reports(measuring.graph, measuring.layers),
        output=measuring.output,
        uninspected=(*measuring.uninspected, *_withheld(inputs.synthetic, settings)),
        synthetic=inputs.synthetic,
        registered=measuring.registered,
        ranks=ranks,
    )


def _withheld(synthetic: bool, settings: Selection | None) -> Iterator[Unseen]:
    """The rules that say nothing of made-up input."""
    codes = [rule.code for rule in all_rules() if _needs_data(rule) and is_on(rule, settings)]
    if synthetic and codes:
        yield Unseen(
            ", ".join(codes),
            "withheld: the input is made up, and on random input every good network drifts",
            of_rules=True,
        )


def _needs_data(rule: Rule) -> bool:
    return rule.live and rule.needs_data and rule.check is not None


def _frozen(graph: LayerGraph, root: nn.Module) -> frozenset[int]:
    """The nodes of BatchNorm layers that do not learn."""
    paths = {path for path, norm in Names(root).batchnorms() if is_frozen(norm)}
    return frozenset(node.id for node in graph.of_kind(Kind.BATCHNORM) if node.path in paths)


def _averaged(graph: LayerGraph, root: nn.Module) -> frozenset[int]:
    """The nodes of layers inside averaged models that do not average their buffers."""
    names = Names(root)
    inside = {
        names.path(part)
        for module in root.modules()
        if isinstance(module, AveragedModel) and not module.use_buffers and module.n_averaged > 1
        for part in module.modules()
    }
    return frozenset(node.id for node in graph.of_kind(Kind.BATCHNORM) if node.path in inside)


def _evidence(measuring: Measuring) -> Measured:
    """What the rules may use: of made-up input only sizes, since the rest says nothing."""
    if not measuring.inputs.synthetic:
        return Measured(measuring.layers, measuring.output)
    layers = {
        node: {name: value for name, value in numbers.items() if name in WITHOUT_DATA}
        for node, numbers in measuring.layers.items()
    }
    output = {name: value for name, value in measuring.output.items() if name in ABOUT_PROCESSES}
    return Measured(layers, {**output, "batch": measuring.inputs.batch}, synthetic=True)


def judge(pictures: Pictures, settings: Selection | None = None) -> list[Finding]:
    """The findings of every live rule that is on, those that a comment excuses marked.

    A rule that crashes is a finding itself.
    """
    findings: list[Finding] = []
    if settings is not None:
        pictures = replace(pictures, options=settings.rules)
    for rule in all_rules():
        if rule.check is None or not rule.live:
            continue
        if rule.needs_data and pictures.measured.synthetic:
            continue
        if not is_on(rule, settings):
            continue
        try:
            findings += list(rule.check(pictures))
        except Exception as error:  # the run goes on, whatever a rule does
            findings.append(_crashed(rule, error))
    return sorted(mark_suppressed(findings), key=lambda finding: (-finding.severity, finding.code))


def is_on(rule: Rule, settings: Selection | None) -> bool:
    """Whether a live run asks this rule."""
    return settings.selects(rule, live=True) if settings is not None else rule.is_default(live=True)


def _crashed(rule: Rule, error: Exception) -> Finding:
    return Finding(
        code="BNL903",
        name="rule-crashed",
        severity=Severity.ERROR,
        message=f"{rule.code} crashed: {type(error).__name__}: {error}",
        place=None,
    )
