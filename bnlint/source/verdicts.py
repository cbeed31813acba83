"""What the rules say about a project, before and after it is chosen among by the settings."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, TypeAlias

from bnlint.baseline import Baseline
from bnlint.finding import Finding, Place, Severity
from bnlint.records import Struct, field, replace
from bnlint.rules import all_rules
from bnlint.rules.base import Rule
from bnlint.settings import Settings
from bnlint.source.edits import with_edits
from bnlint.source.excerpt import Sources
from bnlint.source.facts import FileFacts
from bnlint.source.judge import crash_finding, judge, own_finding
from bnlint.source.links import Links
from bnlint.source.outcome import Outcome
from bnlint.source.reader import read_code
from bnlint.source.result import Crash, LintResult
from bnlint.source.sift import Sieve
from bnlint.suppress import FileSuppressions

if TYPE_CHECKING:
    from bnlint.rules.base import Pictures
    from bnlint.source.cache.looked import Looked
    from bnlint.source.cache.runs import Runs
    from bnlint.source.isolation import Isolation


Drawn: TypeAlias = "tuple[Pictures, Callable[[], Looked | None]]"
"""Pictures; what keeps the drawings, and gives what was looked at."""
MANY = 1_000
"""Files of a project whose linked form takes so much memory that it goes before the rules judge."""


class Verdicts(Struct, frozen=True):
    """Everything that rules have found in a whole project.

    by_rule: findings by the code of the rule, as far as it was asked; problems: of the files, by
    path; drawing: which pictures could not be drawn; suppressions: comments, by file; crashes:
    of rules, by their code, and of the run itself, by "". looked: what the drawing has looked at;
    None where that is not known.
    """

    by_rule: Mapping[str, tuple[Finding, ...]]
    problems: Mapping[str, Finding] = field(default_factory=dict)
    drawing: tuple[Finding, ...] = ()
    suppressions: Mapping[str, FileSuppressions] = field(default_factory=dict)
    crashes: Mapping[str, tuple[Crash, ...]] = field(default_factory=dict)
    looked: Looked | None = None

    def of(self, settings: Settings, given: frozenset[str]) -> list[Finding]:
        """The findings of the selected rules, and the problems of the given files."""
        codes = [rule.code for rule in source_rules(settings)]
        found = [finding for code in codes for finding in self.by_rule.get(code, ())]
        problems = [finding for path, finding in self.problems.items() if path in given]
        return [*found, *self.drawing, *problems]

    def crashes_of(self, settings: Settings) -> tuple[Crash, ...]:
        """The crashes of the selected rules, and of the run itself."""
        codes = ["", *(rule.code for rule in source_rules(settings))]
        return tuple(crash for code in codes for crash in self.crashes.get(code, ()))


def source_rules(settings: Settings | None = None) -> list[Rule]:
    """The rules that read source, as far as the settings select them; None: all."""
    return [r for r in all_rules() if r.source and (settings is None or settings.selects(r))]


class NotKeptError(Exception):
    """The drawings of an earlier run do not hold, for this reason."""


def verdicts_of(
    links: Links,
    settings: Settings,
    rules: Iterable[Rule],
    runs: Runs | None = None,
    *,
    anew: bool = True,
) -> Verdicts:
    """Link the files that were opened and ask these rules. runs: what earlier ones have left, and
    where this one leaves what was looked at. anew: see `engine.Workspace.lint`."""
    by_rule: dict[str, tuple[Finding, ...]] = {}
    crashes: dict[str, tuple[Crash, ...]] = {}
    facts = links.facts
    looked: Looked | None = None
    if facts:
        from bnlint.rules.base import Pictures
        from bnlint.source.isolation import Isolation
        from bnlint.source.recursion import room_to_recurse

        isolated = Isolation()
        drawn: Drawn | None = None
        with room_to_recurse():
            with isolated("drawing the project", Place(min(facts), 1)):  # the last resort
                drawn = _drawn_again(links, isolated, runs)
                if drawn is None and anew:
                    drawn = _drawn_anew(links, isolated, runs)
                    if len(facts) >= MANY:
                        gc.collect()  # what the drawing has left refers to itself
            if drawn is None and not anew:
                raise NotKeptError("" if runs is None else runs.objection)
            pictures, keep = drawn or (Pictures(), _nothing)
            pictures = replace(pictures, options=settings.rules)
            with isolated("keeping the drawings", Place(min(facts), 1)):
                looked = keep()
            for rule in rules:
                judgement = judge([rule], pictures)
                by_rule[rule.code] = judgement.findings
                crashes[rule.code] = judgement.crashes
        _open_accused(links, by_rule.values())
        crashes[""] = tuple(isolated.crashes or ())
    drawing = tuple(crash_finding(crash) for crash in crashes.get("", ()))
    found = ((path, _cannot_parse(outcome)) for path, outcome in links.outcomes.items())
    problems = {path: finding for path, finding in found if finding is not None}
    return Verdicts(by_rule, problems, drawing, links.suppressions, crashes, looked)


def _open_accused(links: Links, found: Iterable[tuple[Finding, ...]]) -> None:
    """Open the files with findings that were drawn in an earlier run: for their comments."""
    places = (finding.place for findings in found for finding in findings)
    for path in {place.path for place in places if place is not None}:
        if path in links.unopened and path not in links.outcomes:
            links.load(path)


def _nothing() -> None:
    """What keeps nothing."""


def _drawn_again(links: Links, isolated: Isolation, runs: Runs | None) -> Drawn | None:
    """The pictures of the project by the drawings of an earlier run, of which only that is drawn
    again that depends on what has changed; None where they do not hold."""
    if runs is None:
        return None
    from bnlint.source.cache.drawings import Drawings
    from bnlint.source.cache.left_units import left_by
    from bnlint.source.draw import draw

    begun = frozenset(links.outcomes)
    project = links.project()
    drawings = Drawings(runs, links)
    ledger = drawings.ledger(project)
    if ledger is not None:
        pictures = draw(project, isolated, ledger)
        runs.objection = ledger.failed
    if ledger is None or ledger.failed:
        links.close_all_but(begun)
        return None
    return pictures, partial(drawings.keep, left_by(project, ledger), ledger)


def _drawn_anew(links: Links, isolated: Isolation, runs: Runs | None) -> Drawn:
    """The pictures of the project, all of them drawn now."""
    from bnlint.source.draw import draw
    from bnlint.source.units import Ledger

    project = links.project()
    if runs is None:
        return draw(project, isolated), _nothing
    from bnlint.source.cache.drawings import Drawings
    from bnlint.source.cache.left_units import left_by

    ledger = Ledger()
    pictures = draw(project, isolated, ledger)
    return pictures, partial(Drawings(runs, links).keep, left_by(project, ledger), ledger)


def shown(
    verdicts: Verdicts,
    given: frozenset[str],
    settings: Settings,
    texts: Mapping[str, str],
    facts_of: Callable[[str], FileFacts | None],
) -> LintResult:
    """What is to be shown of the verdicts, in the given files."""
    crashes = verdicts.crashes_of(settings)
    text_of = cache(partial(read_code, texts=texts))
    sieve = Sieve(
        settings,
        given,
        verdicts.suppressions,
        _silenced(crashes),
        text_of,
        Sources(texts).lines,
        None if settings.baseline is None else Baseline.read(settings.baseline),
    )
    sifted = sieve.sift(verdicts.of(settings, given))
    return LintResult(
        findings=with_edits(sifted.findings, facts_of, text_of),
        files=tuple(sorted(given)),
        crashes=crashes,
        texts=texts,
        slack=sifted.slack,
    )


def _silenced(crashes: Iterable[Crash]) -> frozenset[str]:
    """The codes of the rules that could not say all they had to say."""
    crashed = {crash.what.removeprefix("rule ") for crash in crashes}
    codes = frozenset(rule.code for rule in all_rules())
    return codes if crashed - codes else frozenset(crashed)


def _cannot_parse(outcome: Outcome) -> Finding | None:
    problem = outcome.problem
    if problem is None:
        return None
    place = Place(
        outcome.path, problem.line, problem.column, problem.line, problem.column, problem.cell
    )
    finding = own_finding("BNL901", f"the file {problem.message}", place)
    return replace(finding, severity=Severity.NOTE) if problem.is_remark else finding
