"""What the rules say about a project, before and after it is chosen among by the settings."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

from bnlint.baseline import Baseline
from bnlint.finding import Finding, Place, Severity
from bnlint.records import Struct, field
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
    from bnlint.source.isolation import Isolation


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


def verdicts_of(
    links: Links, settings: Settings, rules: Iterable[Rule], *, to_keep: bool = False
) -> Verdicts:
    """Link the files that were opened and ask these rules. to_keep: what was looked at is noted,
    for later runs."""
    by_rule: dict[str, tuple[Finding, ...]] = {}
    crashes: dict[str, tuple[Crash, ...]] = {}
    facts = links.facts
    looked: Looked | None = None
    if facts:
        from bnlint.rules.base import Pictures
        from bnlint.source.isolation import Isolation
        from bnlint.source.recursion import room_to_recurse

        isolated = Isolation()
        pictures = Pictures()
        with room_to_recurse():
            with isolated("drawing the project", Place(min(facts), 1)):  # the last resort
                pictures, looked = _drawn(links, isolated, to_keep=to_keep)
                pictures = replace(pictures, options=settings.rules)
            if len(facts) >= MANY:
                gc.collect()  # what the drawing has left refers to itself
            for rule in rules:
                judgement = judge([rule], pictures)
                by_rule[rule.code] = judgement.findings
                crashes[rule.code] = judgement.crashes
        crashes[""] = tuple(isolated.crashes or ())
    drawing = tuple(crash_finding(crash) for crash in crashes.get("", ()))
    found = ((path, _cannot_parse(outcome)) for path, outcome in links.outcomes.items())
    problems = {path: finding for path, finding in found if finding is not None}
    return Verdicts(by_rule, problems, drawing, links.suppressions, crashes, looked)


def _drawn(links: Links, isolated: Isolation, *, to_keep: bool) -> tuple[Pictures, Looked | None]:
    """The pictures of the project, and what was looked at; the project itself is not needed any
    more."""
    from bnlint.source.cache.looked import looked_at
    from bnlint.source.draw import draw

    project = links.project()
    pictures = draw(project, isolated)
    return pictures, looked_at(project) if to_keep else None


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
