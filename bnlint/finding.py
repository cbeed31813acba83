"""What a rule says: a finding, its evidence, its fix, its measured numbers.

Plain frozen values without behaviour, shared by both halves and by every renderer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum, StrEnum
from typing import TypeAlias

from bnlint.records import Record, field

Number: TypeAlias = int | float | bool | str | None
Measurement: TypeAlias = Mapping[str, Number | Sequence[Number]]
"""Measured numbers of one finding, by name; units are part of the name or of the rule's page."""


class Severity(IntEnum):
    """How bad a finding is; ordered, so that a fail level is a comparison."""

    NOTE = 1
    WARNING = 2
    ERROR = 3

    @property
    def label(self) -> str:
        """The lower-case word used in every output."""
        return self.name.lower()

    @classmethod
    def parse(cls, label: str) -> Severity:
        """The severity with this label; raises ValueError for any other word."""
        try:
            return cls[label.upper()]
        except KeyError:
            raise ValueError(f"unknown severity {label!r}: use note, warning or error") from None


class Role(StrEnum):
    """What an evidence place is to its finding."""

    INSTANCE = "instance"
    """A further accused place of a grouped finding."""
    CAUSE = "cause"
    """A place that decided the finding: changing it can make or undo the mistake."""
    CONTEXT = "context"
    """Anything else that helps to understand."""


class Place(Record, frozen=True, order=True):
    """A span of source text: 1-based lines and columns (code points), the end exclusive.

    `path` is absolute or relative to the working directory, with forward slashes. `cell` is the
    index of a notebook cell counted from 0, lines then count within the cell.
    """

    path: str
    line: int
    column: int = 1
    end_line: int = 0
    end_column: int = 0
    cell: int | None = None


class Evidence(Record, frozen=True):
    """One step of the proof, in the order in which a reader should see the steps."""

    place: Place
    message: str
    role: Role = Role.CONTEXT


class ReplaceArgument(Record, frozen=True):
    """Replace the argument bound to `parameter` in the call at `call` by `text` (with keyword)."""

    call: Place
    parameter: str
    text: str


class RemoveArgument(Record, frozen=True):
    """Remove the argument bound to `parameter` from the call at `call`."""

    call: Place
    parameter: str


class SetArgument(Record, frozen=True):
    """As ReplaceArgument; where the call has no such argument, `text` is added as a keyword."""

    call: Place
    parameter: str
    text: str


class InsertBefore(Record, frozen=True):
    """Insert `text` as a statement of its own before the statement that holds `place`.

    name: the dotted name that the text uses, "" for none; nothing is inserted where the statement
    itself binds it. above: loops that the text belongs before, too, as far as they leave the name
    alone, and with them the `with` blocks on the way; None keeps it at the statement.
    """

    place: Place
    text: str
    name: str = ""
    above: tuple[Place, ...] | None = None


class SwapElements(Record, frozen=True):
    """Exchange two neighbouring elements of one argument list or literal."""

    first: Place
    second: Place


class AddCall(Record, frozen=True):
    """Turn the expression at `place` into a call without arguments."""

    place: Place


class ReplaceText(Record, frozen=True):
    """Put `text` in place of what stands at `place`, which is no code, such as a comment."""

    place: Place
    text: str


Intent: TypeAlias = (
    ReplaceArgument
    | RemoveArgument
    | SetArgument
    | InsertBefore
    | SwapElements
    | AddCall
    | ReplaceText
)


def places_of(intent: Intent) -> frozenset[Place]:
    """The places that an intent is about."""
    match intent:
        case SwapElements(first, second):
            return frozenset({first, second})
        case ReplaceArgument(call=place) | RemoveArgument(call=place) | SetArgument(call=place):
            return frozenset({place})
        case InsertBefore(place=place) | AddCall(place=place) | ReplaceText(place=place):
            return frozenset({place})


class Edit(Record, frozen=True):
    """Replace a span of the finding's file by `text`; 1-based, the end exclusive."""

    line: int
    column: int
    end_line: int
    end_column: int
    text: str


class Fix(Record, frozen=True):
    """What would repair the mistake: intents from the rule, exact edits once realised."""

    message: str
    intents: tuple[Intent, ...]
    safe: bool = False
    edits: tuple[Edit, ...] = ()


class Finding(Record, frozen=True):
    """One mistake, with its proof.

    `place` is None only for live findings on classes without source; `module` is the qualified
    module name of a live finding. `suppressed`: not to be shown, since a comment excuses it (its
    `reason`, where it gives one) or, when `baselined`, since it was there before.
    """

    code: str
    name: str
    severity: Severity
    message: str
    place: Place | None
    evidence: tuple[Evidence, ...] = ()
    fix: Fix | None = None
    module: str | None = None
    measurement: Measurement = field(default_factory=dict)
    suppressed: bool = False
    reason: str = ""
    baselined: bool = False

    @property
    def url(self) -> str:
        """The page of the finding's rule; empty for a rule of another package."""
        is_ours = self.code.startswith("BNL")
        return f"https://bnlint.readthedocs.io/rules/{self.code}/" if is_ours else ""
