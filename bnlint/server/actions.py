"""What the server offers to do about findings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from lsprotocol import types

from bnlint.finding import Finding
from bnlint.server.convert import Converter
from bnlint.server.session import Session

FIX_ALL: Final = f"{types.CodeActionKind.SourceFixAll.value}.bnlint"


@dataclass(frozen=True, slots=True)
class Offers:
    """Code actions for the findings of one session."""

    session: Session
    converter: Converter

    def about(self, here: Sequence[Finding], in_file: Iterable[Finding]) -> list[types.CodeAction]:
        """What can be done about the findings in a range and about all in its file."""
        offers = [offer(finding) for finding in here for offer in (self._fix, self._ignore)]
        offers.append(self._fix_all(in_file))
        return [offer for offer in offers if offer is not None]

    def _fix(self, finding: Finding) -> types.CodeAction | None:
        edit = self._edit([finding])
        if edit is None or finding.fix is None:
            return None
        safety = "" if finding.fix.safe else " (unsafe)"
        return types.CodeAction(
            f"{finding.code}: {finding.fix.message}{safety}",
            types.CodeActionKind.QuickFix,
            [self.converter.diagnostic(finding)],
            is_preferred=finding.fix.safe,
            edit=edit,
        )

    def _ignore(self, finding: Finding) -> types.CodeAction | None:
        written = self.session.ignore(finding)
        if finding.place is None or written is None or finding.code.startswith("BNL9"):
            return None
        changes = _by_document(self.converter.edits(finding.place, [written]))
        if not changes:
            return None
        return types.CodeAction(
            f"{finding.code}: excuse this with a comment",
            types.CodeActionKind.QuickFix,
            [self.converter.diagnostic(finding)],
            edit=types.WorkspaceEdit(changes),
        )

    def _fix_all(self, findings: Iterable[Finding]) -> types.CodeAction | None:
        """All safe fixes of a file at once."""
        edit = self._edit([f for f in findings if f.fix is not None and f.fix.safe])
        if edit is None:
            return None
        return types.CodeAction("bnlint: make all safe fixes", FIX_ALL, edit=edit)

    def _edit(self, findings: Iterable[Finding]) -> types.WorkspaceEdit | None:
        """The fixes as one edit; of those that touch each other the first one."""
        taken: list[tuple[str, types.TextEdit]] = []
        for finding in findings:
            if finding.place is None or finding.fix is None:
                continue
            edits = self.converter.edits(finding.place, finding.fix.edits)
            if not any(_touch(edit, other) for edit in edits for other in taken):
                taken += edits
        return types.WorkspaceEdit(_by_document(taken)) if taken else None


def is_kind(kind: types.CodeActionKind | str | None, wanted: types.CodeActionKind | str) -> bool:
    """Whether a kind is the wanted one or below it: source.fixAll.bnlint is a source.fixAll."""
    have, want = (str(getattr(k, "value", k)) for k in (kind, wanted))
    return have == want or have.startswith(f"{want}.")


def touch(one: types.Range, other: types.Range) -> bool:
    """Whether two ranges of one document have a position in common."""
    return not (_key(one.end) < _key(other.start) or _key(other.end) < _key(one.start))


def _touch(one: tuple[str, types.TextEdit], other: tuple[str, types.TextEdit]) -> bool:
    return one[0] == other[0] and touch(one[1].range, other[1].range)


def _key(position: types.Position) -> tuple[int, int]:
    return position.line, position.character


def _by_document(edits: Iterable[tuple[str, types.TextEdit]]) -> dict[str, list[types.TextEdit]]:
    changes: dict[str, list[types.TextEdit]] = {}
    for uri, edit in edits:
        changes.setdefault(uri, []).append(edit)
    return changes
