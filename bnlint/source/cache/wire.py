"""Findings as msgpack can carry them: an intent is one of several records, so it carries its
name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, get_args

import msgspec
from msgspec.structs import asdict

from bnlint.finding import Edit, Evidence, Finding, Fix, Intent, Place, Severity
from bnlint.records import Struct, replace

_INTENTS: Final = {kind.__name__: kind for kind in get_args(Intent)}


class Mended(Struct, frozen=True, array_like=True):
    """A fix; each intent is a name and the fields."""

    message: str
    intents: tuple[tuple[str, dict[str, Any]], ...]
    safe: bool
    edits: tuple[Edit, ...]


class Found(Struct, frozen=True, array_like=True):
    """A finding."""

    code: str
    name: str
    severity: Severity
    message: str
    place: Place | None
    evidence: tuple[Evidence, ...]
    fix: Mended | None
    module: str | None
    measurement: dict[str, Any]
    suppressed: bool
    reason: str
    baselined: bool


def packed(findings: Iterable[Finding]) -> tuple[Found, ...]:
    """Findings in the form in which they are written."""
    return tuple(_packed(finding) for finding in findings)


def unpacked(found: Iterable[Found]) -> tuple[Finding, ...]:
    """The findings behind what was written; raises msgspec.ValidationError or LookupError."""
    return tuple(_unpacked(single) for single in found)


def _packed(finding: Finding) -> Found:
    fix = finding.fix
    mended = None
    if fix is not None:
        intents = tuple((type(intent).__name__, asdict(intent)) for intent in fix.intents)
        mended = Mended(fix.message, intents, fix.safe, fix.edits)
    return Found(
        finding.code,
        finding.name,
        finding.severity,
        finding.message,
        finding.place,
        finding.evidence,
        mended,
        finding.module,
        dict(finding.measurement),
        finding.suppressed,
        finding.reason,
        finding.baselined,
    )


def _unpacked(found: Found) -> Finding:
    finding = Finding(
        found.code,
        found.name,
        found.severity,
        found.message,
        found.place,
        found.evidence,
        None,
        found.module,
        found.measurement,
        found.suppressed,
        found.reason,
        found.baselined,
    )
    if found.fix is None:
        return finding
    intents = tuple(msgspec.convert(fields, _INTENTS[name]) for name, fields in found.fix.intents)
    return replace(finding, fix=Fix(found.fix.message, intents, found.fix.safe, found.fix.edits))
