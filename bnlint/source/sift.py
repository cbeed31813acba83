"""From what the rules say to what is shown: files that were asked for, rules that are wanted there,
comments, unused comments, and the baseline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache, cached_property
from pathlib import Path

from bnlint.baseline import Baseline, Entry
from bnlint.finding import Finding, Role
from bnlint.fingerprint import Lines
from bnlint.paths import shown_path
from bnlint.records import Struct, field, replace
from bnlint.rules import all_rules
from bnlint.settings import CRASH, Settings, specificity
from bnlint.source.discover import per_file_ignores
from bnlint.source.unused import Ran, unused_suppressions
from bnlint.suppress import FileSuppressions, apply_suppressions


class Sifted(Struct, frozen=True):
    """findings: sorted, the suppressed ones included and marked; slack: see `baseline.Marked`."""

    findings: tuple[Finding, ...]
    slack: Mapping[Entry, int] = field(default_factory=dict)


class Sieve(Struct, frozen=True, dict=True):
    """What a run wants to see.

    given: the files that were asked for. silent: codes of rules that crashed, so that nothing is
    known of what they did not find. text_of: the text of a file (of a notebook: of its joined code
    cells).
    """

    settings: Settings
    given: frozenset[str]
    suppressions: Mapping[str, FileSuppressions]
    silent: frozenset[str]
    text_of: Callable[[str], str | None]
    lines: Lines
    baseline: Baseline | None = None

    def sift(self, findings: Iterable[Finding]) -> Sifted:
        """The findings to be shown."""
        enabled = cache(self._enabled)
        wanted = [kept for f in findings if (kept := concerning(f, self.given)) is not None]
        wanted = [f for f in wanted if f.code in enabled(f.place.path if f.place else "")]
        applied = apply_suppressions(wanted, self.suppressions)
        unused = [
            finding
            for path in sorted(self.given & self.suppressions.keys())
            if "BNL902" in enabled(path)
            for finding in unused_suppressions(
                path,
                self.suppressions[path],
                applied.used,
                Ran(enabled(path) - self.silent),
                self.text_of,
            )
        ]
        by_name = {path: file.without_blanket() for path, file in self.suppressions.items()}
        excused = apply_suppressions(unused, by_name).findings
        shown = tuple(sorted((*applied.findings, *excused), key=sort_key))
        if self.baseline is None:
            return Sifted(shown)
        marked = self.baseline.mark(shown, self.given, self.lines)
        return Sifted(tuple(sorted(marked.findings, key=sort_key)), marked.slack)

    def _enabled(self, path: str) -> frozenset[str]:
        """The codes of the rules that are wanted in a file."""
        ignored = self._per_file(path)
        return frozenset(
            rule.code
            for rule in all_rules()
            if (rule.source or rule.check is None)
            and self.settings.selects(rule)
            and (rule.code == CRASH or not any(specificity(s, rule) for s in ignored))
        )

    @cached_property
    def _per_file(self) -> Callable[[str], list[str]]:
        return per_file_ignores(self.settings, Path.cwd())


def concerning(finding: Finding, given: frozenset[str]) -> Finding | None:
    """The finding when it concerns a given file, else None.

    When its own place lies in another file, the message names the given file that decides it.
    """
    if finding.place is None or finding.place.path in given:
        return finding
    deciding = (Role.INSTANCE, Role.CAUSE)
    for evidence in finding.evidence:
        place = evidence.place
        if evidence.role in deciding and place.path in given:
            where = f"{shown_path(place.path)}:{place.line}"
            return replace(finding, message=f"{finding.message} (decided in {where})")
    return None


def sort_key(finding: Finding) -> tuple[str, int, int, int, str]:
    """Path, cell, line, column, code; findings without a place come first."""
    place = finding.place
    if place is None:
        return ("", -1, 0, 0, finding.code)
    cell = -1 if place.cell is None else place.cell
    return (place.path, cell, place.line, place.column, finding.code)
