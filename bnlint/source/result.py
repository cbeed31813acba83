"""What a run found, ready to be printed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bnlint.finding import Finding, Place, Severity
from bnlint.records import Record, field

if TYPE_CHECKING:
    from bnlint.baseline import Entry


class LintError(Record, frozen=True):
    """Something that kept the run from being complete: a file that the system would not open."""

    path: str
    message: str


class Crash(Record, frozen=True):
    """A rule (or a stage of the run) that raised an exception; place: what it was looking at."""

    what: str
    place: Place | None
    error: str
    trace: str


class LintResult(Record, frozen=True):
    """What a run found.

    findings: sorted, the suppressed ones included and marked. errors: what could not be read.
    files: absolute paths that were linted. crashes: tracebacks behind BNL903 and "gave up".
    texts: documents that are not on disk (standard input), by path. slack: entries of the baseline
    that are no longer found, and how often.
    """

    findings: tuple[Finding, ...]
    errors: tuple[LintError, ...] = ()
    files: tuple[str, ...] = ()
    crashes: tuple[Crash, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    slack: Mapping[Entry, int] = field(default_factory=dict)

    @property
    def worst(self) -> int:
        """The highest severity of a finding that is not suppressed; 0 when there is none."""
        return max((f.severity for f in self.findings if not f.suppressed), default=0)

    def reaches(self, level: Severity) -> bool:
        """Whether a finding that is not suppressed is at least this severe."""
        return self.worst >= level
