"""What stays of a finding when its lines move: the file, the rule, and the accused text."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeAlias

from bnlint.finding import Finding, Place
from bnlint.paths import shown_path

Lines: TypeAlias = Callable[[Place], Sequence[str]]
"""The lines of the file (of the cell, in a notebook) that a place is in; empty when unknown."""


def context_of(place: Place, lines: Lines) -> str:
    """The accused line with its blanks normalised; empty when the source cannot be read."""
    known = lines(place)
    return " ".join(known[place.line - 1].split()) if 1 <= place.line <= len(known) else ""


def fingerprints(findings: Sequence[Finding], lines: Lines) -> list[str]:
    """One for each finding, in their order: 16 hexadecimal digits and, after a colon, the count of
    findings so far of the same rule, file and accused text.

    They do not depend on line numbers, nor on anything else in the file.
    """
    seen: Counter[str] = Counter()
    made: list[str] = []
    for finding in findings:
        place = finding.place
        said = [finding.code, finding.module or ""]
        if place is not None:
            said += [shown_path(place.path), context_of(place, lines)]
        digest = hashlib.sha256("\0".join(said).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        seen[digest] += 1
        made.append(f"{digest}:{seen[digest]}")
    return made
