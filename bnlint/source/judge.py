"""Rules over pictures: a rule that crashes costs what it was looking at, not the run."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from typing import Final

from bnlint.finding import Evidence, Finding, Place, Role
from bnlint.graph import LayerGraph
from bnlint.records import Struct, replace
from bnlint.rules import find_rule
from bnlint.rules.base import Pictures, Rule
from bnlint.source.result import Crash
from bnlint.trace import ModeTrace

MODE_NOT_CALLED: Final = "BNL102"
"""The rule that reads statements, not networks."""


class Judgement(Struct, frozen=True):
    """What the rules said, and which of them crashed."""

    findings: tuple[Finding, ...]
    crashes: tuple[Crash, ...]


def judge(rules: Sequence[Rule], pictures: Pictures) -> Judgement:
    """Run every rule over the pictures; each crash is also a finding (BNL903)."""
    findings: list[Finding] = []
    crashes: list[Crash] = []
    for rule in rules:
        try:
            findings += _run(rule, pictures)
        except Exception as error:  # found again picture by picture
            whole = crash_of(f"rule {rule.code}", None, error)
            findings += _run_apart(rule, pictures, whole, crashes)
    groups: dict[tuple[str, str, str], list[Crash]] = {}
    for crash in crashes:
        path = "" if crash.place is None else crash.place.path
        groups.setdefault((crash.what, crash.error, path), []).append(crash)
    findings += (crash_finding(*group) for group in groups.values())
    return Judgement(tuple(findings), tuple(crashes))


def own_finding(code: str, message: str, place: Place | None) -> Finding:
    """A finding that the engine itself makes, under the rule with this code."""
    rule = find_rule(code)
    if rule is None:
        raise LookupError(f"no rule {code}")
    return rule.finding(message, place)


def crash_of(what: str, place: Place | None, error: Exception) -> Crash:
    """The record of an exception that is being handled."""
    return Crash(what, place, f"{type(error).__name__}: {error}", traceback.format_exc())


def crash_finding(crash: Crash, *others: Crash) -> Finding:
    """A crash as a finding: BNL903. others: of the same kind, at other places of the same file."""
    blame = f"a mistake in {_owner(crash)}; --verbose shows where"
    found = own_finding("BNL903", f"{crash.what} crashed: {crash.error} ({blame})", crash.place)
    places = dict.fromkeys(
        other.place for other in others if other.place not in (None, crash.place)
    )
    also = (Evidence(p, "it crashed here, too", Role.INSTANCE) for p in places if p is not None)
    return replace(found, evidence=tuple(also))


def _owner(crash: Crash) -> str:
    """The package that the crash is a mistake of."""
    rule = find_rule(crash.what.removeprefix("rule "))
    module = "bnlint" if rule is None or rule.check is None else rule.check.__module__
    package = module.partition(".")[0]
    return "bnlint" if package == "bnlint" else f"the package {package!r}, not in bnlint"


def _run(rule: Rule, pictures: Pictures) -> list[Finding]:
    """What a rule says, but of networks in unit tests: those may be as odd as the test needs them.
    A mode that is set by mistake is one there, too."""
    found = list(rule.check(pictures)) if rule.check is not None else []
    if rule.code == MODE_NOT_CALLED or not pictures.tested:
        return found
    return [f for f in found if f.place is None or f.place.path not in pictures.tested]


def _run_apart(rule: Rule, pictures: Pictures, whole: Crash, crashes: list[Crash]) -> list[Finding]:
    """One picture at a time, so that only those that make the rule crash are lost."""
    found: dict[tuple[str, Place | None], Finding] = {}
    before = len(crashes)
    for single, place in _apart(pictures):
        try:
            for finding in _run(rule, single):
                found.setdefault((finding.code, finding.place), finding)
        except Exception as error:
            crashes.append(crash_of(f"rule {rule.code}", place, error))
    if len(crashes) == before:  # only the pictures together make it crash
        place = next((place for _, place in _apart(pictures) if place is not None), None)
        crashes.append(Crash(f"rule {rule.code}", place, whole.error, whole.trace))
    return list(found.values())


def _apart(pictures: Pictures) -> Iterator[tuple[Pictures, Place | None]]:
    none = Pictures(measured=pictures.measured, options=pictures.options, tested=pictures.tested)
    for graph in pictures.graphs:
        yield replace(none, graphs=[graph]), _place_of_graph(graph)
    for trace in pictures.traces:
        yield replace(none, traces=[trace]), _place_of_trace(trace)
    for method in pictures.mode_methods:
        yield replace(none, mode_methods=[method]), method.place
    for call in pictures.mode_calls:
        yield replace(none, mode_calls=[call]), call.place


def _place_of_graph(graph: LayerGraph) -> Place | None:
    return next((node.place for node in graph.nodes if node.place is not None), None)


def _place_of_trace(trace: ModeTrace) -> Place | None:
    return next((event.place for event in trace.events() if event.place is not None), None)
