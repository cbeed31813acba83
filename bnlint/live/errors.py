"""What can go wrong before anything is measured."""

from __future__ import annotations

from bnlint.finding import Finding


class CheckError(ValueError):
    """The check cannot be done; the message is one line that says what to do."""


class FindingsError(AssertionError):
    """A report has findings at or above the level that the caller demanded to be clean."""


class BatchNormWarning(UserWarning):
    """What `bnlint.watch` has seen; `finding` has the details, None for what it cannot see."""

    def __init__(self, message: str, finding: Finding | None = None) -> None:
        super().__init__(message)
        self.finding = finding
